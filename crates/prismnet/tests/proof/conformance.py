"""Schemathesis over PrismNET's own OpenAPI document.

Environment: PRISMNET_URL, of a process in dev mode; and that of `contract`.

It asks with ids that exist, mixed with generated ones, so that it gets beyond 404. The run fails if so many requests were refused
that it says nothing.
"""

import itertools
import os
import sys

import contract
import requests
import schemathesis

URL = os.environ["PRISMNET_URL"]

HOME = {"org_id": "acme", "project_id": "shop"}


def send(method, path, body=None):
    answer = requests.request(method, URL + path, json=body, timeout=60)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer


def make(path, **body):
    return send("POST", f"/api/v1/{path}", body).json()["data"]["id"]


def furnish():
    """Makes one or two of everything; answers with what requests are made of."""
    vpcs = [make("vpcs", name="net", cidr_block="10.0.0.0/16", **HOME) for _ in range(1 + SPARES)]
    subnets = [make("subnets", name="a", vpc_id=vpc, cidr_block="10.0.1.0/24") for vpc in vpcs]
    ports = [make("ports", subnet_id=subnets[0]) for _ in range(1 + SPARES)]
    groups = [make("security-groups", name=f"g{n}", **HOME) for n in range(1 + SPARES)]
    rules = [make(f"security-groups/{groups[0]}/rules", direction="ingress", protocol="tcp", port_min=n, port_max=n) for n in range(1, 9)]
    routes = [
        make("routes", vpc_id=vpcs[0], destination=f"172.16.{n}.0/24", next_hop="10.0.1.200") for n in range(1 + SPARES)
    ]
    networks = [make("external-networks", name="x", cidr_block=f"192.0.{n}.0/24") for n in range(2, 3 + SPARES)]
    floating = [make("floating-ips", external_network_id=networks[0], **HOME) for _ in range(1 + SPARES)]
    return {
        "vpc": vpcs[:1],
        "subnet": subnets[:1],
        "port": ports[:1],
        "group": groups[:1],
        "rule": rules,
        "route": routes[:1],
        "network": networks[:1],
        "floating": floating[:1],
        "org": ["acme"],
        "project": ["shop"],
        "block": ["10.0.0.0/16", "10.64.0.0/12", "172.20.0.0/16"],
        "subnet_block": [f"10.0.{n}.0/24" for n in range(2, 60)],
        "outside": [f"198.51.{n}.0/24" for n in range(60)],
        "destination": [f"172.17.{n}.0/24" for n in range(60)],
        "address": [f"10.0.1.{n}" for n in range(100, 160)],
        "gateway": ["10.0.1.1"],
        "outside_address": [f"192.0.2.{n}" for n in range(100, 160)],
        "mac": [f"06:00:00:00:00:{n:02x}" for n in range(60)],
        "host": ["h1", "h2"],
        "direction": ["ingress", "egress"],
        "protocol": ["tcp", "udp"],
        "port_number": ["80"],
        "port_kind": ["guest", "pod", "service"],
        "cursor": [""],
        "spares": {
            "/api/v1/vpcs/{id}": vpcs[1:],
            "/api/v1/subnets/{id}": subnets[1:],
            "/api/v1/ports/{id}": ports[1:],
            "/api/v1/security-groups/{id}": groups[1:],
            "/api/v1/routes/{id}": routes[1:],
            "/api/v1/external-networks/{id}": networks[1:],
            "/api/v1/floating-ips/{id}": floating[1:],
        },
    }


OWNER = {"query.org_id": "org", "query.project_id": "project", "body.org_id": "org", "body.project_id": "project"}

# Which of them goes where, by operation: a pattern of paths, then parameters and members of bodies.
PLACES = {
    "^/api/v1/vpcs": {**OWNER, "path.id": "vpc", "body.cidr_block": "block"},
    "^/api/v1/subnets": {
        **OWNER,
        "path.id": "subnet",
        "query.vpc_id": "vpc",
        "body.vpc_id": "vpc",
        "body.cidr_block": "subnet_block",
    },
    "^/api/v1/ports": {
        **OWNER,
        "path.id": "port",
        "query.vpc_id": "vpc",
        "query.subnet_id": "subnet",
        "query.security_group_id": "group",
        "query.ip_address": "address",
        "query.host_id": "host",
        "body.subnet_id": "subnet",
        "body.ip_address": "address",
        "body.mac_address": "mac",
        "body.security_group_ids[*]": "group",
        "body.host_id": "host",
        "body.kind": "port_kind",
    },
    "^/api/v1/security-groups": {
        **OWNER,
        "path.id": "group",
        "path.rule": "rule",
        "body.direction": "direction",
        "body.protocol": "protocol",
        "body.remote_cidr": "block",
        "body.remote_group_id": "group",
    },
    "^/api/v1/routes": {
        **OWNER,
        "path.id": "route",
        "query.vpc_id": "vpc",
        "body.vpc_id": "vpc",
        "body.destination": "destination",
        "body.next_hop": "address",
    },
    "^/api/v1/external-networks": {"path.id": "network", "body.cidr_block": "outside"},
    "^/api/v1/floating-ips": {
        **OWNER,
        "path.id": "floating",
        "query.external_network_id": "network",
        "query.port_id": "port",
        "query.address": "outside_address",
        "body.external_network_id": "network",
        "body.address": "outside_address",
        "body.port_id": "port",
    },
}


# Deleted instead of what requests are made with.
SPARES = 4
spares = {}
deleted = itertools.count()
# Ids of what was made before the run; it stays.
FURNISHED = set()

@schemathesis.auth()
class Nobody:
    """Dev mode takes whoever brings no credential for the operator; a made-up one is refused."""

    def get(self, case, context):
        return "nobody"

    def set(self, case, data, context):
        if case.headers:
            case.headers.pop("Authorization", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps the run from ending at once what most requests are made with."""
    path = case.path_parameters or {}
    if case.method.upper() == "DELETE" and path.get("id") in FURNISHED and case.operation.path in spares:
        left = spares[case.operation.path]
        path["id"] = left[next(deleted) % len(left)]


known = furnish()
spares.update(known.pop("spares"))
for name in ("vpc", "subnet", "port", "group", "route", "network", "floating"):
    FURNISHED.update(known[name])
document = send("GET", "/openapi.json").text
config = contract.configuration(known, PLACES)
phases = "examples,coverage,fuzzing,stateful"
code = contract.explore(URL, document, config, contract.CHECKS + contract.METHODS, phases)
if code:
    sys.exit(code)
contract.judge_answers(least_good=0.12)
# A few depend on what was drawn.
contract.judge_reach(document, most=4)
