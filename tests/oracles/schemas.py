"""Checks the schemas of event types with Python's `jsonschema`.

Reads one JSON object a line: `{"type": name, "schema": text, "example": text}`. Every schema must be valid draft 2020-12, stand alone and
name its type, its one example must satisfy it, and no longer when any required member is taken out. Prints
`{"schemas": n, "examples": n, "refused_without_a_member": n}`; ends with 1 and the reason at the first that does not hold.
"""

import json
import sys
from datetime import datetime

from jsonschema import Draft202012Validator, FormatChecker

FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value):
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value).tzinfo is not None)


def references(value):
    """Every `$ref` in a schema."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inside in value.values():
            yield from references(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from references(inside)


def check(line):
    """The number of required members whose absence is noticed."""
    entry = json.loads(line)
    schema, example = json.loads(entry["schema"]), json.loads(entry["example"])
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema", "another draft"
    assert schema["title"] == entry["type"], "another title"
    if "$id" in schema:
        assert schema["$id"].endswith(f"/events/{entry['type']}/1.json"), "another $id"
    assert schema["examples"] == [example], "another example"
    used = {reference.removeprefix("#/$defs/") for reference in references(schema)}
    assert used == set(schema.get("$defs", {})), "definitions that are missing or that nothing uses"
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    validator.validate(example)
    for name in schema["required"]:
        without = {key: value for key, value in example.items() if key != name}
        errors = [error.message for error in validator.iter_errors(without)]
        assert errors == [f"'{name}' is a required property"], f"without {name}: {errors}"
    return len(schema["required"])


def main():
    schemas = members = 0
    for line in sys.stdin:
        try:
            members += check(line)
        except Exception as error:
            print(f"{json.loads(line)['type']}: {error}", file=sys.stderr)
            return 1
        schemas += 1
    print(json.dumps({"schemas": schemas, "examples": schemas, "refused_without_a_member": members}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
