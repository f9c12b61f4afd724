"""Decrypts JWEs with Python's `joserfc` and `jwcrypto`, and makes the key pairs for that.

`jwe.py generate [KIND...]` prints one JSON line `{"library", "kind", "private_jwk", "public_jwk"}` for each library and kind of
key. Without an argument it reads JSON lines `{"jwe", "private_jwk", "expect_base64"}`, has each library decrypt each, prints a line
per message and ends with 1 when one is not what was expected or is taken although it was changed.
"""

import base64
import json
import sys

from joserfc import jwe as joserfc_jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from jwcrypto import jwe as jwcrypto_jwe
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto.common import JWException

ALGORITHMS = ["ECDH-ES", "ECDH-ES+A256KW", "RSA-OAEP-256", "A256GCM"]
KINDS = {
    "P-256": ("EC", "P-256"),
    "X25519": ("OKP", "X25519"),
    "RSA-2048": ("RSA", 2048),
    "RSA-4096": ("RSA", 4096),
}


def generate(wanted):
    makers = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    for kind in wanted or KINDS:
        kty, which = KINDS[kind]
        key = makers[kty].generate_key(which)
        yield "joserfc", kind, key.as_dict(private=True), key.as_dict(private=False)
        size = {"size": which} if kty == "RSA" else {"crv": which}
        key = jwcrypto_jwk.JWK.generate(kty=kty, **size)
        yield "jwcrypto", kind, key.export_private(as_dict=True), key.export_public(as_dict=True)


class Registry(joserfc_jwe.JWERegistry):
    """`joserfc` refuses more than 64 KiB of ciphertext unless it is told to take it."""

    max_ciphertext_length = 1 << 20


REGISTRY = Registry(algorithms=ALGORITHMS)


def by_joserfc(message, private_jwk):
    """The plaintext; `None` when the message is refused."""
    key = import_key({name: value for name, value in private_jwk.items() if name not in ("alg", "use")})
    try:
        return joserfc_jwe.decrypt_compact(message, key, registry=REGISTRY).plaintext
    except (JoseError, ValueError):
        return None


def by_jwcrypto(message, private_jwk):
    """The plaintext; `None` when the message is refused."""
    key = jwcrypto_jwk.JWK(**{name: value for name, value in private_jwk.items() if name not in ("alg", "use")})
    token = jwcrypto_jwe.JWE(algs=ALGORITHMS)
    try:
        token.deserialize(message, key)
        return token.payload
    except (JWException, ValueError):
        # `jwcrypto` decrypts an empty plaintext and then takes it for none.
        return b"" if token.plaintext == b"" and token.decryptlog == ["Success"] else None


def changed(message, number):
    """The message with one bit of one of its last three parts turned."""
    parts = message.split(".")
    at = 2 + number % 3
    at = at if parts[at] else 4
    content = bytearray(base64.urlsafe_b64decode(parts[at] + "=="))
    content[number % len(content)] ^= 1
    parts[at] = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
    return ".".join(parts)


def verdict(found, expected, tampered):
    if found is None:
        return "not decrypted"
    if found != expected:
        return "other bytes"
    return "ok" if tampered is None else "taken although changed"


def main():
    if sys.argv[1:2] == ["generate"]:
        for library, kind, private, public in generate(sys.argv[2:]):
            print(json.dumps({"library": library, "kind": kind, "private_jwk": private, "public_jwk": public}))
        return 0
    messages = failures = 0
    for number, line in enumerate(sys.stdin):
        case = json.loads(line)
        messages += 1
        expected = base64.b64decode(case["expect_base64"])
        outcome = {"message": number, "bytes": len(expected)}
        for library, decrypt in (("joserfc", by_joserfc), ("jwcrypto", by_jwcrypto)):
            found = decrypt(case["jwe"], case["private_jwk"])
            tampered = decrypt(changed(case["jwe"], number), case["private_jwk"])
            outcome[library] = verdict(found, expected, tampered)
        failures += outcome["joserfc"] != "ok" or outcome["jwcrypto"] != "ok"
        print(json.dumps(outcome))
    return 1 if failures or not messages else 0


if __name__ == "__main__":
    sys.exit(main())
