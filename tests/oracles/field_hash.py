"""Computes the keyed hashes of a field policy with Python's `hmac` and `json`.

Reads JSON lines `{"key_base64", "value"}`, `value` being a JSON text, and prints one hash each. With `"expect"` in a line it
compares instead, prints how many agreed, and ends with 1 when one did not.
"""

import base64
import hashlib
import hmac
import json
import sys


class Number(str):
    """A number by its text, which no Python number would keep."""


def canonical(value):
    """JSON without insignificant space, members in order of their names' code points."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(canonical(element) for element in value) + "]"
    if isinstance(value, tuple):
        members = sorted(value, key=lambda member: member[0])
        return "{" + ",".join(canonical(name) + ":" + canonical(element) for name, element in members) + "}"
    return json.dumps(value, ensure_ascii=False)


def tagged(value):
    if isinstance(value, Number):
        return "n" + value
    if isinstance(value, str):
        return "s" + value
    tag = "z" if value is None else "b" if isinstance(value, bool) else "a" if isinstance(value, list) else "o"
    return tag + canonical(value)


def keyed_hash(key, text):
    # A tuple of pairs keeps members of one name apart.
    value = json.loads(text, object_pairs_hook=tuple, parse_int=Number, parse_float=Number)
    mac = hmac.new(key, tagged(value).encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return "hmac-sha256:" + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def main():
    agreed = 0
    failures = []
    for line in sys.stdin:
        case = json.loads(line)
        found = keyed_hash(base64.b64decode(case["key_base64"]), case["value"])
        if "expect" not in case:
            print(found)
        elif found == case["expect"]:
            agreed += 1
        else:
            failures.append(f"{case['value']}: {found}, not {case['expect']}")
    if agreed or failures:
        print(json.dumps({"agreed": agreed}))
    for failure in failures[:20]:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
