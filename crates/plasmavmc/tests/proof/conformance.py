"""Schemathesis over PlasmaVMC's own OpenAPI document.

Environment: PLASMAVMC_URL, of a process in dev mode with a host without a hypervisor; and that of `contract`.

It asks with ids that exist, mixed with generated ones, so that it gets beyond 404. The run fails if so many requests were refused
that it says nothing.
"""

import itertools
import os
import sys
import time

import contract
import requests
import schemathesis

URL = os.environ["PLASMAVMC_URL"]

HOME = {"org_id": "acme", "project_id": "shop"}


def send(method, path, body=None, **more):
    answer = requests.request(method, URL + path, json=body, timeout=60, **more)
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer


def make(path, **body):
    return send("POST", f"/api/v1/{path}", body).json()["data"]["id"]


def settled(vm):
    """Waits until a VM is made."""
    until = time.monotonic() + 60
    while send("GET", f"/api/v1/vms/{vm}").json()["data"]["state"] == "Creating":
        assert time.monotonic() < until, vm
        time.sleep(0.05)
    return vm


def furnish():
    """Makes some of everything; answers with what requests are made of."""
    small = {"vcpus": 1, "memory_mib": 16, **HOME}
    vms = [settled(make("vms", name=f"vm{n}", start=n == 0, **small)) for n in range(2 + SPARES)]
    operation = make_and_watch(small)
    images = [make("images", name=f"image{n}", format="raw", **HOME) for n in range(2 + SPARES)]
    volumes = [made_volume(n) for n in range(2 + SPARES)]
    # Without a disk a VM has no place for one.
    with_disk = settled(make("vms", name="disk", disk_size_gb=1, **small))
    snapshots = [made_snapshot(with_disk, n) for n in range(2 + SPARES)]
    octets = {"Content-Type": "application/octet-stream"}
    send("PUT", f"/api/v1/images/{images[0]}/data", data=b"disk" * 128, headers=octets)
    return {
        "vm": vms[:2],
        "image": images[:2],
        "volume": volumes[:2],
        "snapshot": snapshots[:2],
        "pool": ["local"],
        "disk_vm": [with_disk],
        "image_name": [images[0], "image0", "photon-mini"],
        "operation": [operation],
        "org": ["acme"],
        "project": ["shop"],
        "vcpus": [1, 2],
        "memory": [16, 64],
        "disk": [1, 2],
        "hypervisor": ["kvm", "qemu"],
        "vm_name": ["web"],
        "name": [f"name{n}" for n in range(60)],
        "format": ["raw", "qcow2", "kernel"],
        "visibility": ["project", "public"],
        "cursor": [""],
        "spares": {
            "/api/v1/vms/{id}": vms[2:],
            "/api/v1/images/{id}": images[2:],
            "/api/v1/volumes/{id}": volumes[2:],
            "/api/v1/snapshots/{id}": snapshots[2:],
        },
    }


def until(path, state):
    """Waits until a volume or a snapshot is so."""
    end = time.monotonic() + 60
    while send("GET", path).json()["data"]["state"] != state:
        assert time.monotonic() < end, path
        time.sleep(0.05)


def made_volume(number):
    volume = make("volumes", name=f"volume{number}", size_gb=1, **HOME)
    until(f"/api/v1/volumes/{volume}", "Available")
    return volume


def made_snapshot(vm, number):
    snapshot = make("snapshots", name=f"snapshot{number}", vm_id=vm)
    until(f"/api/v1/snapshots/{snapshot}", "Ready")
    return snapshot


def make_and_watch(body):
    """An operation that is over."""
    made = send("POST", "/api/v1/vms", {"name": "watched", **body}).json()["data"]
    settled(made["id"])
    return made["operation_id"]


OWNER = {"query.org_id": "org", "query.project_id": "project", "body.org_id": "org", "body.project_id": "project"}

# Which of them goes where, by operation: a pattern of paths, then parameters and members of bodies.
PLACES = {
    "^/api/v1/vms": {
        **OWNER,
        "path.id": "vm",
        "body.name": "vm_name",
        "body.vcpus": "vcpus",
        "body.memory_mib": "memory",
        "body.disk_size_gb": "disk",
        "body.hypervisor": "hypervisor",
        "body.image_id": "image_name",
    },
    "^/api/v1/images": {
        **OWNER,
        "path.id": "image",
        "body.name": "name",
        "body.format": "format",
        "body.visibility": "visibility",
        "body.aliases[*]": "name",
    },
    "^/api/v1/volumes": {
        **OWNER,
        "path.id": "volume",
        "query.vm_id": "vm",
        "body.name": "name",
        "body.size_gb": "disk",
        "body.pool": "pool",
        "body.vm_id": "vm",
    },
    "^/api/v1/snapshots": {
        **OWNER,
        "path.id": "snapshot",
        "query.vm_id": "disk_vm",
        "body.name": "name",
        "body.vm_id": "disk_vm",
    },
    "^/api/v1/pools": {"path.name": "pool"},
    "^/api/v1/operations": {**OWNER, "path.id": "operation"},
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
for name in ("vm", "image", "volume", "snapshot"):
    FURNISHED.update(known[name])
document = send("GET", "/openapi.json").text
config = contract.configuration(known, PLACES)
phases = "examples,coverage,fuzzing,stateful"
code = contract.explore(URL, document, config, contract.CHECKS + contract.METHODS, phases)
if code:
    sys.exit(code)
contract.judge_answers(least_good=0.08)
# A WebSocket, and a few that depend on what was drawn.
contract.judge_reach(document, most=8)
