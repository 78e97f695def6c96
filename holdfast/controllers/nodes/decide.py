"""The health of a node and what follows for its pods. Pure. (KEP-589 leases, KEP-166 taint eviction, KEP-2268 out-of-service.)

A node lives while its Lease is renewed. Silence counts from the moment *we* saw the last renewal: clocks of nodes are
not compared with ours. Pods of a silent node are asked to go; they count as gone only when their node, or the removal
of the Node, or an out-of-service taint says so (P-1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

GRACE_SECONDS = 50.0
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_OURS = (NOT_READY, UNREACHABLE)
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(frozen=True)
class Heartbeat:
    """What a node last said (its Lease's renewTime and Ready heartbeat) and when we saw that it said something new,
    by a clock that never jumps: or a corrected clock would silence all nodes at once."""

    said: str
    seen: float


def is_silent(heartbeat: Heartbeat, moment: float) -> bool:
    return moment - heartbeat.seen > GRACE_SECONDS


def silent_conditions(node: Obj, stamp: str) -> list[Obj]:
    """The conditions of a node that nobody hears: Unknown."""
    held = {c["type"]: c for c in (node.get("status") or {}).get("conditions") or []}
    for kind in _CONDITIONS:
        old = held.get(kind) or {"type": kind}
        if old.get("status") == "Unknown":
            continue
        reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
        held[kind] = {**old, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": stamp}
    return list(held.values())


def taints(node: Obj, stamp: str) -> list[Obj]:
    """The taints that a node's Ready condition asks for, beside those of others."""
    ready = (meta.condition(node, "Ready") or {}).get("status", "Unknown")
    key = {"True": "", "False": NOT_READY}.get(ready, UNREACHABLE)
    held = node["spec"].get("taints") or []
    kept = [t for t in held if t["key"] not in _OURS or t["key"] == key]
    if key:
        present = {(t["key"], t["effect"]) for t in kept}
        wanted: list[Obj] = [{"key": key, "effect": "NoSchedule"}, {"key": key, "effect": "NoExecute", "timeAdded": stamp}]
        kept += [taint for taint in wanted if (key, taint["effect"]) not in present]
    return kept


def tolerates(pod: Obj, taint: Obj) -> tuple[bool, float | None]:
    """(tolerated, seconds or None for ever)."""
    seconds: list[float] = []
    found = False
    for toleration in pod["spec"].get("tolerations") or []:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        if toleration.get("operator", "Equal") == "Exists":
            matches = toleration.get("key") in (None, "", taint["key"])
        else:
            matches = toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")
        if matches:
            found = True
            if toleration.get("tolerationSeconds") is not None:
                seconds.append(float(toleration["tolerationSeconds"]))
    return found, min(seconds) if seconds else None


def eviction_delay(pod: Obj, node_taints: Iterable[Obj]) -> float | None:
    """Seconds from a taint's beginning until the pod must go; None = it may stay."""
    delays: list[float] = []
    for taint in node_taints:
        if taint.get("effect") != "NoExecute":
            continue
        tolerated, seconds = tolerates(pod, taint)
        if not tolerated:
            return 0.0
        if seconds is not None:
            delays.append(max(seconds, 0.0))
    return min(delays) if delays else None


def is_out_of_service(pod: Obj, node: Obj) -> bool:
    """Whether somebody has said that the node is down for good and the pod does not put up with it."""
    said = [t for t in node["spec"].get("taints") or [] if t["key"] == OUT_OF_SERVICE and t.get("effect") == "NoExecute"]
    return bool(said) and not meta.condition_true(node, "Ready") and not all(tolerates(pod, taint)[0] for taint in said)
