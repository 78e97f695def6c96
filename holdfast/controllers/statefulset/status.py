"""The counters of a set's status, counted from its pods (P-17)."""

from __future__ import annotations

from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.roster import Health, Roster
from holdfast.kinds.kind import Obj


def count(owner: Obj, roster: Roster, health: Health, current: str, update: str, collisions: int) -> Obj:
    """The status as it should be; Terminating pods are neither current nor updated."""
    out: Obj = {
        "observedGeneration": owner["metadata"].get("generation", 0),
        "replicas": 0,
        "readyReplicas": 0,
        "currentReplicas": 0,
        "updatedReplicas": 0,
        "availableReplicas": 0,
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": collisions,
    }
    for look, numbers in roster.groups():
        if not look.phase:
            continue
        out["replicas"] += len(numbers)
        if look.ready:
            out["readyReplicas"] += len(numbers)
            out["availableReplicas"] += health.count_available(numbers)
        if not look.terminating:
            out["currentReplicas"] += len(numbers) * (look.revision == current)
            out["updatedReplicas"] += len(numbers) * (look.revision == update)
    _complete(owner, out)
    return {k: v for k, v in out.items() if v or k in ("replicas", "availableReplicas", "collisionCount", "observedGeneration")}


def _complete(owner: Obj, out: Obj) -> None:
    """An update that has reached every member makes the update revision the current one; not under OnDelete, as upstream."""
    by_itself = (owner["spec"].get("updateStrategy") or {}).get("type") != "OnDelete"
    wanted = objects.replicas(owner)
    if by_itself and out["updatedReplicas"] == out["replicas"] == out["readyReplicas"] == wanted:
        out["currentRevision"] = out["updateRevision"]
        out["currentReplicas"] = out["updatedReplicas"]
