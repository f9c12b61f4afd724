"""Verifies signed webhooks with Python's `standardwebhooks`.

Reads JSON lines `{"id", "timestamp", "signature", "secret", "body_base64"}`, prints how many were verified and how many were refused
once one byte had changed, and ends with 1 when a signature is bad or a changed request is taken.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def accepts(webhook, body, headers):
    try:
        webhook.verify(body, headers, json_parse=False)
        return True
    except WebhookVerificationError:
        return False


def changed(body, at):
    """The body with one bit of one byte turned."""
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def main():
    verified = refused = 0
    failures = []
    for number, line in enumerate(sys.stdin):
        request = json.loads(line)
        webhook = Webhook(request["secret"])
        body = base64.b64decode(request["body_base64"])
        headers = {
            "webhook-id": request["id"],
            "webhook-timestamp": request["timestamp"],
            "webhook-signature": request["signature"],
        }
        if accepts(webhook, body, headers):
            verified += 1
        else:
            failures.append(f"{request['id']}: the signature is refused")
        tampered = [
            (changed(body, number % len(body)), headers),
            (body, headers | {"webhook-id": request["id"] + "0"}),
            (body, headers | {"webhook-timestamp": str(int(request["timestamp"]) - 1)}),
        ]
        taken = [what for what, (b, h) in zip(("body", "id", "timestamp"), tampered) if accepts(webhook, b, h)]
        if taken:
            failures.append(f"{request['id']}: taken although changed: {', '.join(taken)}")
        else:
            refused += 1
    print(json.dumps({"verified": verified, "refused_when_changed": refused}))
    for failure in failures[:20]:
        print(failure, file=sys.stderr)
    return 1 if failures or not verified else 0


if __name__ == "__main__":
    sys.exit(main())
