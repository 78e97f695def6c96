"""A claim that asks for more than it has (KEP-1790): what is to be done next, and how its status says so. Pure.

First the engine makes the volume larger (stages ControllerResize...), in ``controllers.provisioner.resizer``: the volume's capacity
is the new one, and the claim waits for the node. Then the node lets what is on the volume take it up (stages NodeResize...), at once
where it is mounted or else with the next mount, and says so in ``status.capacity``. Whoever asked for too much asks for less again,
but not for less than he has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, quantity

IN_PROGRESS, INFEASIBLE = "ControllerResizeInProgress", "ControllerResizeInfeasible"
NODE_PENDING, NODE_IN_PROGRESS, NODE_INFEASIBLE = "NodeResizePending", "NodeResizeInProgress", "NodeResizeInfeasible"
STAGES = (INFEASIBLE, IN_PROGRESS, NODE_INFEASIBLE, NODE_IN_PROGRESS, NODE_PENDING)
RESIZING, FS_PENDING = "Resizing", "FileSystemResizePending"
CONTROLLER_ERROR, NODE_ERROR = "ControllerResizeError", "NodeResizeError"
CONDITIONS = (RESIZING, FS_PENDING, CONTROLLER_ERROR, NODE_ERROR)
_ON_THE_NODE = (NODE_PENDING, NODE_IN_PROGRESS)
WAITS_FOR_POD = "Waiting for user to (re-)start a pod to finish file system resize of volume on node."


# The engine's half


@dataclass(frozen=True)
class Grow:
    """``size``: a quantity. ``begun``: that it is wanted stands in the claim's status already."""

    size: str
    begun: bool


def _storage(amounts: Obj | None) -> str:
    return str((amounts or {}).get("storage") or "")


def stage_of(claim: Obj) -> str:
    return _storage((claim.get("status") or {}).get("allocatedResourceStatuses"))


def wanted(claim: Obj, volume: Obj) -> Grow | None:
    """What the engine is to do for a claim that is bound to ``volume``; None when nothing, or when it is the node's turn."""
    status, reference = claim.get("status") or {}, volume["spec"].get("claimRef") or {}
    if status.get("phase") != "Bound" or reference.get("uid") != meta.uid(claim):
        return None
    asked, has = _storage((claim["spec"].get("resources") or {}).get("requests")), _storage(status.get("capacity"))
    if not asked or not has or quantity.parse(asked) <= quantity.parse(has):
        return None
    size = _next(
        asked, _storage(status.get("allocatedResources")), stage_of(claim), quantity.parse(_storage(volume["spec"]["capacity"]))
    )
    if not size:
        return None
    allocated = _storage(status.get("allocatedResources"))
    return Grow(size, bool(allocated) and quantity.parse(allocated) == quantity.parse(size) and stage_of(claim) != "")


def _next(asked: str, allocated: str, stage: str, capacity: Fraction) -> str:
    """A growth that was begun is finished before another is begun: nobody knows how far it came."""
    large = quantity.parse(asked) <= capacity
    if stage in _ON_THE_NODE:
        unfinished = not large and allocated and quantity.parse(allocated) > capacity
        return allocated if unfinished else ""
    if stage in (IN_PROGRESS, NODE_INFEASIBLE) or (large and stage in ("", INFEASIBLE)):
        return allocated or asked
    return asked


def _conditions(claim: Obj, new: Iterable[Obj], *, keep: bool) -> list[Obj]:
    """Others' stay; those of a growth only with ``keep``."""
    fresh = {entry["type"]: entry for entry in new}
    found = []
    for entry in (claim.get("status") or {}).get("conditions") or []:
        if entry["type"] in fresh:
            found.append(fresh.pop(entry["type"]))
        elif keep or entry["type"] not in CONDITIONS:
            found.append(entry)
    return [*found, *fresh.values()]


def _condition(kind: str, stamp: str, message: str = "") -> Obj:
    entry = {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": stamp}
    return {**entry, "message": message} if message else entry


def begun(claim: Obj, step: Grow, stamp: str) -> Obj:
    status: Obj = {"conditions": _conditions(claim, [_condition(RESIZING, stamp)], keep=step.begun)}
    status["allocatedResources"] = {"storage": step.size}
    if not step.begun:
        status["allocatedResourceStatuses"] = {"storage": IN_PROGRESS}
    return status


def failed(claim: Obj, why: str, stamp: str) -> Obj:
    entry = _condition(CONTROLLER_ERROR, stamp, f"failed to expand pvc with {why}")
    return {"conditions": _conditions(claim, [entry], keep=True), "allocatedResourceStatuses": {"storage": INFEASIBLE}}


def on_the_node(claim: Obj, stamp: str) -> Obj:
    """The volume is larger; what is on it is not yet."""
    entry = _condition(FS_PENDING, stamp, WAITS_FOR_POD)
    left = {**claim, "status": {**(claim.get("status") or {})}}
    left["status"]["conditions"] = [c for c in left["status"].get("conditions") or [] if c["type"] != CONTROLLER_ERROR]
    return {"conditions": _conditions(left, [entry], keep=True), "allocatedResourceStatuses": {"storage": NODE_PENDING}}


# The node's half


def due_on_node(claim: Obj, volume: Obj) -> str:
    """The capacity that what is on a volume is to have, when it has less; "" when there is nothing to do."""
    has, lies = _storage((claim.get("status") or {}).get("capacity")), _storage(volume["spec"].get("capacity"))
    if stage_of(claim) not in (*_ON_THE_NODE, NODE_INFEASIBLE) or not has or not lies:
        return ""
    return lies if quantity.parse(lies) > quantity.parse(has) else ""


def node_begun() -> Obj:
    return {"allocatedResourceStatuses": {"storage": NODE_IN_PROGRESS}}


def grown(claim: Obj, capacity: str) -> Obj:
    """It has its new size, and all is over; ``allocatedResources`` stays as the last size that was given."""
    return {"capacity": {"storage": capacity}, "conditions": _conditions(claim, [], keep=False), "allocatedResourceStatuses": None}


def node_failed(claim: Obj, why: str, stamp: str) -> Obj:
    entry = _condition(NODE_ERROR, stamp, f"failed to expand pvc with {why}")
    return {"conditions": _conditions(claim, [entry], keep=True), "allocatedResourceStatuses": {"storage": NODE_INFEASIBLE}}
