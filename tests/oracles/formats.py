"""Reads rendered requests with other people's parsers: Python's `cloudevents` and `joserfc`.

Reads JSON lines `{"format", "type", "headers", "body_base64", "expect", "jwks"?}`. `format` is a name such as `CLOUDEVENTS_BINARY`;
`expect` holds what must be read, by attribute, claim or member; `jwks` are the keys of a `SET`. Prints a JSON line for each with
what was read or what is wrong, and ends with 1 when anything is.
"""

import base64
import json
import sys
from datetime import timezone

from cloudevents.core.bindings import http
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


def read_standard(request):
    content_type(request, "application/json")
    envelope = json.loads(request["body"])
    members = {"id", "type", "timestamp", "tenant", "subject", "sequence", "txn", "schema_version", "data"}
    require(set(envelope) == members, f"members are {sorted(envelope)}")
    return envelope


def read_cloud_event(request):
    structured = request["format"] == "CLOUDEVENTS_STRUCTURED"
    content_type(request, "application/cloudevents+json" if structured else "application/json")
    event = http.from_http_event(http.HTTPMessage(headers=request["headers"], body=request["body"]))
    read = dict(event.get_attributes()) | {"data": event.get_data()}
    require("data_base64" not in read, "data is base64")
    time = read["time"].astimezone(timezone.utc)
    return read | {"time": f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"}


def read_token(request):
    content_type(request, "application/secevent+jwt")
    require(request["headers"].get("accept") == "application/json", "accept is not application/json")
    compact = request["body"].decode("ascii")
    keys = KeySet.import_key_set(request["jwks"])
    token = jwt.decode(compact, keys, algorithms=["RS256"])
    require(token.header.get("typ") == "secevent+jwt", f"typ is {token.header.get('typ')}")
    require(token.header.get("alg") == "RS256" and "kid" in token.header, "alg or kid is wrong")
    audience = request["expect"]["aud"]
    wanted = {"value": audience} if isinstance(audience, str) else {"values": audience}
    registry = jwt.JWTClaimsRegistry(
        leeway=300,
        iss={"essential": True, "value": request["expect"]["iss"]},
        aud={"essential": True, **wanted},
        jti={"essential": True},
        iat={"essential": True},
    )
    registry.validate(token.claims)
    claims = token.claims
    require("sub" not in claims and "exp" not in claims, "sub or exp is there")
    require(len(claims["events"]) == 1, "not one event")
    require(all(isinstance(event, dict) for event in claims["events"].values()), "the event is no object")
    require(isinstance(claims["sub_id"].get("format"), str), "sub_id has no format")
    require(all(type(claims[name]) is int for name in ("iat", "toe")), "a time is no integer")
    require(refuses_changed(compact, keys), "a changed token is taken")
    return claims


def refuses_changed(compact, keys):
    """Whether the token without its last event, under the same signature, is refused."""
    header, payload, signature = compact.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | {"events": {}}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    try:
        jwt.decode(f"{header}.{forged}.{signature}", keys, algorithms=["RS256"])
    except JoseError:
        return True
    return False


def read_siem(request):
    content_type(request, "application/json")
    body = json.loads(request["body"])
    require(set(body) == {"event"} and len(body["event"]) == 8, "not one event of eight members")
    require(len(body["event"]["event_metadata"]) == 10, "not ten metadata keys")
    return body["event"]


READERS = {
    "STANDARD": read_standard,
    "CLOUDEVENTS_STRUCTURED": read_cloud_event,
    "CLOUDEVENTS_BINARY": read_cloud_event,
    "SET": read_token,
    "LUMOS_SIEM": read_siem,
}


class Wrong(Exception):
    """What was rendered is not what its format says."""


def require(holds, otherwise):
    if not holds:
        raise Wrong(otherwise)


def content_type(request, expected):
    found = request["headers"].get("content-type")
    require(found == expected, f"content-type is {found}")


def read(request):
    """What the request says, once it is what was expected."""
    request["body"] = base64.b64decode(request["body_base64"])
    found = READERS[request["format"]](request)
    for name, value in request["expect"].items():
        require(found.get(name) == value, f"{name} is {json.dumps(found.get(name))}, not {json.dumps(value)}")
    return found


def main():
    total = wrong = 0
    for line in sys.stdin:
        request = json.loads(line)
        result = {"format": request["format"], "type": request["type"]}
        try:
            result["read"] = read(request)
        # A parser may fail as it likes: each failure is a result.
        except Exception as error:
            result["error"] = f"{type(error).__name__}: {error}"
            wrong += 1
        total += 1
        print(json.dumps(result))
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    sys.exit(main())
