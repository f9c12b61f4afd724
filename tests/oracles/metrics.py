"""Reads OpenMetrics from its input with Python's `prometheus_client` and prints every sample as JSON.

`{"families": {name: type}, "samples": [[name, {label: value}, value]]}`; ends with 1 and the parser's words when the text is wrong.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def main():
    try:
        families = list(text_string_to_metric_families(sys.stdin.read()))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    samples = [[sample.name, sample.labels, sample.value] for family in families for sample in family.samples]
    print(json.dumps({"families": {family.name: family.type for family in families}, "samples": samples}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
