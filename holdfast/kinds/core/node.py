"""Node: a machine that runs pods, as its agent reports it."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kinds.columns import AGE, NAME, NONE, at, joined
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import NODES
from holdfast.kinds.schemas import schema_of

_ROLE = "node-role.kubernetes.io/"


def _status(obj: Obj, _now: float) -> str:
    conditions = {c["type"]: c["status"] for c in (obj.get("status") or {}).get("conditions") or []}
    words = ["Unknown"] if "Ready" not in conditions else ["Ready" if conditions["Ready"] == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Obj, _now: float) -> str:
    labels = obj["metadata"].get("labels") or {}
    return joined(sorted(label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE)))


def _address(kind: str) -> Callable[[Obj, float], str]:
    def cell(obj: Obj, _now: float) -> str:
        for address in (obj.get("status") or {}).get("addresses") or []:
            if address["type"] == kind:
                return str(address["address"])
        return NONE

    return cell


KIND = Kind(
    resource=NODES,
    schema=schema_of(CORE + "Node"),
    singular="node",
    short_names=("no",),
    storage="nodes",
    subresources={"status": Subresource("status", ("get", "patch", "update"))},
    columns=(
        NAME,
        Column("Status", _status, description="Whether it takes pods."),
        Column("Roles", _roles, description="Its roles."),
        AGE,
        Column("Version", at("status", "nodeInfo", "kubeletVersion"), description="Version of its agent."),
        Column("Internal-IP", _address("InternalIP"), priority=1, description="Its address."),
        Column("External-IP", _address("ExternalIP"), priority=1, description="Its address outside."),
        Column("OS-Image", at("status", "nodeInfo", "osImage", default="<unknown>"), priority=1, description="Its system."),
        Column("Kernel-Version", at("status", "nodeInfo", "kernelVersion", default="<unknown>"), priority=1, description="Its kernel."),
        Column(
            "Container-Runtime",
            at("status", "nodeInfo", "containerRuntimeVersion", default="<unknown>"),
            priority=1,
            description="What runs containers on it.",
        ),
    ),
    selectable={"spec.unschedulable": lambda obj: "true" if (obj.get("spec") or {}).get("unschedulable") else "false"},
    has_generation=False,
)
