"""Authlib as an OAuth client: client credentials, refresh, introspection, revocation, and how it is refused."""

import os

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # it is loopback

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session

URL = os.environ["IAM_URL"]
KEY = os.environ["IAM_CLIENT_KEY"]

about = requests.get(f"{URL}/.well-known/oauth-authorization-server", timeout=30).json()
endpoint = about["token_endpoint"]


def session(**changes):
    settings = {
        "client_id": "build",
        "client_secret": KEY,
        "scope": "project:shop offline_access",
        "token_endpoint": endpoint,
        **changes,
    }
    return OAuth2Session(**settings)


def whoami(token):
    answer = requests.get(
        f"{URL}/api/v1/whoami", headers={"Authorization": f"Bearer {token['access_token']}"}, timeout=30
    )
    return answer.status_code


def refused(code, work):
    try:
        work()
    except OAuthError as error:
        assert error.error == code, error
        return
    raise AssertionError(f"not refused as {code}")


# Both ways to prove oneself that are advertised.
for method in about["token_endpoint_auth_methods_supported"]:
    client = session(token_endpoint_auth_method=method)
    assert client.fetch_token(endpoint, grant_type="client_credentials")["token_type"] == "Bearer"

client = session()
first = client.fetch_token(endpoint, grant_type="client_credentials")
assert first["expires_in"] == 3600, first
assert whoami(first) == 200

second = client.refresh_token(endpoint, refresh_token=first["refresh_token"])
assert second["refresh_token"] != first["refresh_token"]
assert whoami(second) == 200

seen = client.introspect_token(
    about["introspection_endpoint"], token=second["access_token"], token_type_hint="access_token"
).json()
assert seen["active"] and seen["client_id"] == "build" and seen["scope"] == "project:shop", seen

gone = client.revoke_token(
    about["revocation_endpoint"], token=second["access_token"], token_type_hint="access_token"
)
assert gone.status_code == 200, gone.text
assert whoami(second) == 401
seen = client.introspect_token(about["introspection_endpoint"], token=second["access_token"]).json()
assert seen == {"active": False}, seen

# The first refresh token was used: showing it again ends the second, too.
refused("invalid_grant", lambda: client.refresh_token(endpoint, refresh_token=first["refresh_token"]))
refused("invalid_grant", lambda: client.refresh_token(endpoint, refresh_token=second["refresh_token"]))

refused(
    "invalid_client",
    lambda: session(client_secret="wrong").fetch_token(endpoint, grant_type="client_credentials"),
)
refused(
    "invalid_scope",
    lambda: session(scope="system").fetch_token(endpoint, grant_type="client_credentials"),
)
