"""Schemathesis over IAM's own OpenAPI document.

Environment: IAM_URL; IAM_ADMIN_TOKEN, a bearer who may do everything; WITH_CREDENTIAL, `yes` to send it, `no` for a run
without any; and that of `contract`.

It asks with ids and secrets that exist, mixed with generated ones, so that it gets beyond 404. What would lock it out is
left out: nothing is done to its own user and the key of its token, and deny rules about everybody are for one project only.
The run fails if so many requests were refused that it says nothing.
"""

import itertools
import os
import sys

import contract
import jwt
import requests
import schemathesis
from contract import seen

URL = os.environ["IAM_URL"]
ADMIN = os.environ["IAM_ADMIN_TOKEN"]
WITH_CREDENTIAL = {"yes": True, "no": False}[os.environ["WITH_CREDENTIAL"]]

# Whoever asks. Nothing may be done to it.
ASKER = "admin"
# What its token is signed with: once it is ended, the token counts no more.
OWN_KEY = jwt.get_unverified_header(ADMIN)["kid"]

CHECKS = contract.CHECKS + ("ignored_auth",)
# Without a credential a method that there is not is 401, like everything else.
if WITH_CREDENTIAL:
    CHECKS += contract.METHODS


def send(method, path, body=None):
    bearer = {"Authorization": f"Bearer {ADMIN}"}
    answer = requests.request(method, URL + path, json=body, headers=bearer, timeout=60)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer


def call(method, path, body=None):
    return send(method, path, body).json()["data"]


def furnish():
    """Makes one or two of everything; answers with the ids and secrets that requests are made of."""
    call("POST", "/api/v1/orgs", {"id": "acme", "name": "Acme"})
    for project in ("shop", "lab"):
        call("POST", "/api/v1/projects", {"id": project, "name": project, "org_id": "acme"})
    for user in ("alice", "bob"):
        call("POST", "/api/v1/users", {"id": user, "name": user, "org_id": "acme"})
    password = "correct horse battery staple"
    call("PUT", "/api/v1/users/alice/password", {"password": password})
    call("POST", "/api/v1/service-accounts", {"id": "build", "name": "Build", "project_id": "shop"})
    for spare in map(str, range(SPARES)):
        call("POST", "/api/v1/orgs", {"id": f"acme-{spare}", "name": "Spare"})
        call("POST", "/api/v1/projects", {"id": f"shop-{spare}", "name": f"Spare {spare}", "org_id": "acme"})
        call("POST", "/api/v1/users", {"id": f"alice-{spare}", "name": "Spare"})
        call("POST", "/api/v1/service-accounts", {"id": f"build-{spare}", "name": "Spare", "project_id": "shop"})
        call("POST", "/api/v1/groups", {"id": f"ops-{spare}"})
        call("POST", "/api/v1/roles", {"id": f"operator-{spare}", "permissions": ["plasmavmc.vms.*"]})
    for group in ("ops", "all"):
        call("POST", "/api/v1/groups", {"id": group, "org_id": "acme"})
    call("POST", "/api/v1/roles", {"id": "operator", "org_id": "acme", "permissions": ["plasmavmc.vms.*"]})
    bindings = [
        call("POST", "/api/v1/bindings", {"principal": principal, "role": role, "scope": scope})["id"]
        for principal, role, scope in (
            ("user:alice", "viewer", "project:shop"),
            ("service_account:build", "editor", "project:shop"),
            ("group:ops", "operator", "org:acme"),
        )
    ]
    rule = call("POST", "/api/v1/deny-rules", {"permissions": ["plasmavmc.vms.delete"], "scope": "project:lab"})["id"]
    keys = [
        call("POST", "/api/v1/credentials", {"kind": "api_key", "principal": f"service_account:{account}"})
        for account in ("build", "build")
    ]
    hosts = [call("POST", "/api/v1/host-tokens", {"host": f"host-{n}"}) for n in (1, 2)]
    token = call("POST", "/api/v1/auth/token", {"principal_id": "alice", "scope_id": "shop"})["token"]
    return {
        "org": ["acme"],
        "project": ["shop", "lab"],
        "user": ["alice", "bob"],
        "account": ["build"],
        "group": ["ops", "all"],
        "role": ["viewer", "editor", "operator"],
        "binding": bindings,
        "rule": [rule],
        "credential": [key["id"] for key in keys],
        "secret": [key["secret"] for key in keys],
        "host_token": [host["id"] for host in hosts],
        "host_secret": [host["token"] for host in hosts],
        "member": ["alice", "bob", "build"],
        "kind": ["user", "service_account"],
        "scope_id": ["shop", "acme", "system"],
        "scope": ["project:shop", "org:acme", "system"],
        "principal": ["user:alice", "user:bob", "service_account:build", "group:ops"],
        "permission": ["plasmavmc.vms.create", "iam.users.list"],
        "pattern": ["plasmavmc.vms.*", "prismnet.*.get"],
        "password": [password],
        "token": [token],
        "grant": ["client_credentials", "refresh_token"],
        "form_scope": ["project:shop", "project:shop offline_access"],
        "credential_kind": ["api_key", "password"],
        "moment": ["2030-01-01T00:00:00Z"],
        "subject_kind": ["user", "service_account"],
        "resource_kind": ["project", "org"],
    }


# Which of them goes where, by operation: a pattern of paths, then parameters and members of bodies.
PLACES = {
    "^/access/": {
        "body.subject.type": "subject_kind",
        "body.subject.id": "member",
        "body.action.name": "permission",
        "body.resource.type": "resource_kind",
        "body.resource.id": "project",
    },
    "^/api/v1/audit": {"query.scope": "scope", "query.from": "moment", "query.to": "moment"},
    "^/api/v1/auth/token": {
        "body.principal_id": "member",
        "body.principal_type": "subject_kind",
        "body.scope_id": "scope_id",
        "body.password": "password",
        "body.api_key": "secret",
    },
    "^/api/v1/auth/verify": {"body.token": "token"},
    "^/api/v1/auth/revoke": {
        "body.token": "token",
        "body.principal_id": "member",
        "body.principal_type": "subject_kind",
        "body.project_id": "project",
    },
    "^/api/v1/bindings": {
        "path.id": "binding",
        "query.principal": "principal",
        "query.scope": "scope",
        "query.role": "role",
        "body.principal": "principal",
        "body.role": "role",
        "body.scope": "scope",
        "body.expires_at": "moment",
    },
    "^/api/v1/credentials": {
        "path.id": "credential",
        "query.principal": "principal",
        "body.principal": "principal",
        "body.kind": "credential_kind",
        "body.password": "password",
        "body.expires_at": "moment",
    },
    "^/api/v1/deny-rules": {
        "path.id": "rule",
        "query.principal": "principal",
        "query.scope": "scope",
        "body.principal": "principal",
        "body.scope": "scope",
        "body.permissions[*]": "pattern",
    },
    "^/api/v1/groups": {
        "path.id": "group",
        "path.kind": "kind",
        "path.member": "member",
        "query.org_id": "org",
        "body.org_id": "org",
        "body.members[*]": "principal",
    },
    "^/api/v1/host-tokens": {"path.id": "host_token", "body.token": "host_secret"},
    "^/api/v1/orgs": {"path.id": "org"},
    "^/api/v1/projects": {"path.id": "project", "query.org_id": "org", "body.org_id": "org"},
    "^/api/v1/roles": {
        "path.id": "role",
        "query.org_id": "org",
        "body.org_id": "org",
        "body.permissions[*]": "pattern",
    },
    "^/api/v1/service-accounts": {
        "path.id": "account",
        "query.project_id": "project",
        "body.project_id": "project",
    },
    "^/api/v1/users": {
        "path.id": "user",
        "query.scope_id": "scope_id",
        "body.org_id": "org",
        "body.password": "password",
        "body.current": "password",
    },
    "^/oauth2/token": {
        "body.client_id": "account",
        "body.client_secret": "secret",
        "body.grant_type": "grant",
        "body.scope": "form_scope",
    },
    "^/oauth2/(introspect|revoke)": {"body.token": "token"},
}


# Who is deleted instead of what requests are made with.
SPARES = 3
deleted = itertools.count()

# Ids of what was made before the run; it stays.
FURNISHED = set()
# API keys of the service account.
KEYS = []


if WITH_CREDENTIAL:

    @schemathesis.auth()
    class Bearer:
        def get(self, case, context):
            return ADMIN

        def set(self, case, data, context):
            # A client proves itself to this one in the form, and in one way only.
            if (case.method.upper(), case.operation.path) != ("POST", "/oauth2/token"):
                case.headers["Authorization"] = f"Bearer {data}"


def harmless(text):
    """The asker's id is another's."""
    return text.replace(ASKER, "bob") if isinstance(text, str) and ASKER in text else text


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps the run from locking itself out, and from ending at once what most requests are made with."""
    path = case.path_parameters or {}
    for name, value in path.items():
        path[name] = harmless(value)
    if path.get("kid") == OWN_KEY:
        path["kid"] = "another"
    furnished = path.get("id") in FURNISHED
    if case.method.upper() == "DELETE" and furnished and case.operation.path.endswith("/{id}"):
        path["id"] += f"-{next(deleted) % SPARES}"
    body = case.body
    if not isinstance(body, dict):
        return
    for name in ("principal_id", "principal"):
        if name in body:
            body[name] = harmless(body[name])
    if case.operation.path == "/oauth2/token" and KEYS:
        body.setdefault("client_id", "build")
        body.setdefault("client_secret", KEYS[0])
    if furnished and body.get("disabled") is True:
        body["disabled"] = False
    if case.operation.path == "/api/v1/deny-rules" and body.get("scope") != "project:lab" and not body.get("principal"):
        body["principal"] = "user:bob"


known = furnish() if WITH_CREDENTIAL else {}
for name in ("org", "project", "user", "account", "group", "role", "binding", "rule", "credential", "host_token"):
    FURNISHED.update(known.get(name, ()))
KEYS.extend(known.get("secret", ()))
own = f"?principal=user:{ASKER}"
FURNISHED.update(row["id"] for row in call("GET", f"/api/v1/bindings{own}")["bindings"])
FURNISHED.update(row["id"] for row in call("GET", f"/api/v1/credentials{own}")["credentials"])
document = send("GET", "/openapi.json").text
config = contract.configuration(known, PLACES)
phases = "examples,coverage,fuzzing,stateful" if WITH_CREDENTIAL else "examples,coverage"
code = contract.explore(URL, document, config, CHECKS, phases)
if code:
    sys.exit(code)
total = sum(seen.values())
if WITH_CREDENTIAL:
    contract.judge_answers(least_good=0.12)
    assert call("GET", "/api/v1/whoami")["principal"] == f"user:{ASKER}", "it locked itself out"
    assert seen[401] <= total * 0.25, f"{seen[401]} of {total} were 401"
    # Certificates take a key's proof that is not made up, and a few depend on what was drawn.
    contract.judge_reach(document, most=8)
else:
    contract.judge_answers(least_good=0)
    assert seen[401] >= total * 0.5, f"only {seen[401]} of {total} were 401 without a credential"
