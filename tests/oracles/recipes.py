"""Holds the recipes' snapshots against other people's code.

    python recipes.py SERVER_DIR NODE_DIR

NODE_DIR: where `node_modules` with `@atlaskit/adf-schema` is.

Slack: `slack_sdk` parses the blocks and checks their lengths. PagerDuty: PagerDuty's own client makes a body for the same alert; ours may
have no member that it has not. Jira: Atlassian's JSON schema of the Atlassian Document Format judges the description. Okta and Workato
publish no checker: their members are compared with those of the vendors' samples.
"""

import json
import pathlib
import sys

import jsonschema
import pagerduty
from slack_sdk.models.blocks import Block
from slack_sdk.models.blocks.basic_components import MarkdownTextObject

snapshots = pathlib.Path(sys.argv[1]) / "recipes" / "snapshots"
adf = pathlib.Path(sys.argv[2]) / "node_modules/@atlaskit/adf-schema/dist/json-schema/v1/full.json"


def bodies(recipe):
    found = {path.name: json.loads(path.read_text()) for path in sorted(snapshots.glob(f"{recipe}.*.json"))}
    assert found, recipe
    return found.items()


def slack(body):
    assert set(body) == {"text", "blocks"} and body["text"]
    assert 1 <= len(body["blocks"]) <= 50
    for raw in body["blocks"]:
        block = Block.parse(raw)
        assert block is not None, raw
        block.validate_json()
        assert block.to_dict() == raw, (block.to_dict(), raw)
        for text in raw.get("fields", []) + raw.get("elements", []):
            MarkdownTextObject(text=text["text"]).validate_json()
            assert len(text["text"]) <= 2000
        assert len(raw.get("fields", [])) <= 10
        if raw["type"] == "header":
            assert raw["text"]["type"] == "plain_text" and len(raw["text"]["text"]) <= 150


def pagerduty_(body):
    taken = {}
    client = pagerduty.EventsApiV2Client("0" * 32)
    client.post = lambda path, json=None, **_: taken.update(json) or Answer()
    alert = body["payload"]
    client.trigger(alert["summary"], alert["source"], dedup_key=body["dedup_key"], severity=alert["severity"], payload=alert)
    # The client adds the key on its way; `client` is of the API's documentation.
    assert set(body) == set(taken) | {"routing_key", "client"}, set(body) ^ set(taken)
    assert taken["payload"] == alert
    assert body["event_action"] in ("trigger", "acknowledge", "resolve") and len(body["dedup_key"]) <= 255
    assert alert["severity"] in ("critical", "error", "warning", "info") and len(alert["summary"]) <= 1024
    assert set(alert) <= {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


class Answer:
    is_success = ok = True
    status_code, headers, text = 202, {}, "{}"

    def json(self):
        return {"status": "success", "dedup_key": ""}


def jira(body):
    fields = body["fields"]
    assert {"project", "issuetype", "summary", "description"} <= set(fields)
    assert len(fields["summary"]) <= 255 and "\n" not in fields["summary"]
    assert all(" " not in label for label in fields["labels"])
    jsonschema.Draft4Validator(json.loads(adf.read_text())).validate(fields["description"])


def okta(body):
    assert set(body) == {"eventType", "eventTypeVersion", "cloudEventsVersion", "contentType", "source", "eventId", "eventTime", "data"}
    for event in body["data"]["events"]:
        known = {"uuid", "published", "eventType", "version", "displayMessage", "severity", "actor", "outcome", "target", "debugContext"}
        assert set(event) == known
        for entity in [event["actor"], *event["target"]]:
            assert set(entity) == {"id", "type", "alternateId", "displayName"} and all(entity.values()), entity


def workato(body):
    # Datapills are made of a sample: every body must have the same members, of the same kinds or null.
    kinds = {"permission_ids": list, "data": dict}
    assert all(value is None or isinstance(value, kinds.get(key, str)) for key, value in body.items()), body


checks = {"slack": slack, "pagerduty": pagerduty_, "jira": jira, "okta-workflows": okta, "workato": workato}
for recipe, check in checks.items():
    members = set()
    for name, body in bodies(recipe):
        check(body)
        members.add(frozenset(body))
        print("ok", name)
    assert len(members) == 1, recipe
