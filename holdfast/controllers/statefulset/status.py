"""The counters of a set's status, recounted from its pods each time (P-17)."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.controllers.statefulset import objects
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta


def count(owner: Obj, pods: Iterable[Obj], current: str, update: str, collisions: int, now: float) -> Obj:
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
    for pod in pods:
        if not objects.is_created(pod):
            continue
        out["replicas"] += 1
        if objects.is_ready(pod):
            out["readyReplicas"] += 1
            out["availableReplicas"] += objects.is_available(owner, pod, now)
        if not meta.is_terminating(pod):
            revision = objects.revision_of(pod)
            out["currentReplicas"] += revision == current
            out["updatedReplicas"] += revision == update
    _complete(owner, out)
    return {k: v for k, v in out.items() if v or k in ("replicas", "availableReplicas", "collisionCount", "observedGeneration")}


def _complete(owner: Obj, out: Obj) -> None:
    """An update that has reached every member makes the update revision the current one; not under OnDelete, as upstream."""
    by_itself = (owner["spec"].get("updateStrategy") or {}).get("type") != "OnDelete"
    wanted = objects.replicas(owner)
    if by_itself and out["updatedReplicas"] == out["replicas"] == out["readyReplicas"] == wanted:
        out["currentRevision"] = out["updateRevision"]
        out["currentReplicas"] = out["updatedReplicas"]
