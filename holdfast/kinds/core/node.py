"""Node: a machine that runs pods, as its agent reports it."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kinds.columns import AGE, NAME, NONE, at, joined
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.plain import node_defaults
from holdfast.kinds.kind import Column, Kind, Obj, Subresource, proxied
from holdfast.kinds.resources import NODES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, duplicate, forbidden, index

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


def _kernel(obj: Obj, _now: float) -> str:
    info = (obj.get("status") or {}).get("nodeInfo") or {}
    machine = f" ({info['architecture']})" if info.get("architecture") else ""
    return f"{info['kernelVersion']}{machine}" if info.get("kernelVersion") else "<unknown>"


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """Addresses and identity stay once they are known: pods on the node rely on them."""
    found: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate((new.get("spec") or {}).get("taints") or []):
        identity = (str(taint.get("key")), str(taint.get("effect")))
        if identity in seen:
            found.append(duplicate(index("spec.taints", position), taint))
        seen.add(identity)
    before, after = ((obj or {}).get("spec") or {} for obj in (old, new))
    if before.get("podCIDRs") and before["podCIDRs"] != after.get("podCIDRs"):
        found.append(forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
    if before.get("providerID") and before["providerID"] != after.get("providerID"):
        found.append(forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid'))
    return found


def _prepare(new: Obj, old: Obj | None) -> None:
    """A node joins with its status, or with an empty one that its agent fills."""
    if old is None:
        node_defaults(new)


KIND = Kind(
    resource=NODES,
    schema=schema_of(CORE + "Node"),
    singular="node",
    short_names=("no",),
    storage="nodes",
    prepare=(_prepare,),
    checks=(_check,),
    subresources={"status": Subresource("status", ("get", "patch", "update")), "proxy": proxied("NodeProxyOptions")},
    columns=(
        NAME,
        Column("Status", _status, description="Whether it takes pods."),
        Column("Roles", _roles, description="Its roles."),
        AGE,
        Column("Version", at("status", "nodeInfo", "kubeletVersion"), description="Version of its agent."),
        Column("Internal-IP", _address("InternalIP"), priority=1, description="Its address."),
        Column("External-IP", _address("ExternalIP"), priority=1, description="Its address outside."),
        Column("OS-Image", at("status", "nodeInfo", "osImage", default="<unknown>"), priority=1, description="Its system."),
        Column("Kernel-Version", _kernel, priority=1, description="Its kernel."),
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
