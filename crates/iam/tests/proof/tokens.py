"""PyJWT finds our keys by discovery and verifies our tokens, over a rotation; and refuses what is not for it."""

import os

import jwt
import requests

URL = os.environ["IAM_URL"]
ADMIN = os.environ["IAM_ADMIN_TOKEN"]
ISSUER = "https://iam.photon.internal"


def token():
    answer = requests.post(
        f"{URL}/api/v1/auth/token",
        headers={"Authorization": f"Bearer {ADMIN}"},
        json={"principal_id": "alice", "scope_id": "shop"},
        timeout=30,
    )
    answer.raise_for_status()
    return answer.json()["data"]["token"]


def verify(client, text, **changes):
    expected = {"audience": "photon", "issuer": ISSUER, **changes}
    key = client.get_signing_key_from_jwt(text)
    return jwt.decode(text, key.key, algorithms=["ES256"], **expected)


def refused(error, *arguments, **changes):
    try:
        verify(*arguments, **changes)
    except error:
        return
    raise AssertionError(f"not refused as {error.__name__}")


about = requests.get(f"{URL}/.well-known/openid-configuration", timeout=30).json()
assert about["issuer"] == ISSUER, about
assert "ES256" in about["id_token_signing_alg_values_supported"], about
client = jwt.PyJWKClient(about["jwks_uri"])

first = token()
claims = verify(client, first)
assert claims["sub"] == "alice", claims
assert claims["scope_id"] == "shop", claims
assert claims["exp"] - claims["iat"] <= 3600, claims
assert jwt.get_unverified_header(first)["typ"] == "at+jwt"
refused(jwt.InvalidAudienceError, client, first, audience="others")
refused(jwt.InvalidIssuerError, client, first, issuer="https://elsewhere")
head, payload, signature = first.split(".")
changed = ("B" if signature[0] != "B" else "C") + signature[1:]
refused(jwt.InvalidSignatureError, client, f"{head}.{payload}.{changed}")

def rotate(body):
    answer = requests.post(
        f"{URL}/api/v1/signing-keys", headers={"Authorization": f"Bearer {ADMIN}"}, json=body, timeout=30
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["kid"]


# A rotation in order: the next key is published, and whoever asks for the key set until it signs need not ask again.
kid = rotate({})
prepared = jwt.PyJWKClient(about["jwks_uri"], cooldown_duration=3600)
assert verify(prepared, first)["sub"] == "alice"
assert rotate({"signs_after_seconds": 0}) == kid
second = token()
assert jwt.get_unverified_header(second)["kid"] == kid
assert jwt.get_unverified_header(first)["kid"] != kid
assert verify(prepared, second)["sub"] == "alice"
assert verify(prepared, first)["sub"] == "alice"

# A key that signs at once, unannounced: a client that does not know its kid asks again.
surprised = jwt.PyJWKClient(about["jwks_uri"], cooldown_duration=0)
verify(surprised, first)
rotate({"signs_after_seconds": 0})
third = token()
for text in (first, second, third):
    assert verify(surprised, text)["sub"] == "alice"
