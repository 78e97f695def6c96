"""What a set's status says: its pods counted anew each time, and whether the last attempt to make or delete some failed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.controllers import pods as state
from holdfast.controllers.replicaset.decide import surplus
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

FAILURE = "ReplicaFailure"


def count(owner: Obj, pods: Sequence[Obj], failure: str, now: float, *, terminating: bool = True) -> Obj:
    """The status as it should be. ``failure``: why pods could not be made or deleted; "" = nothing failed.

    ``terminating``: whether the kind counts those that are on their way out (a ReplicationController does not).
    """
    active = [pod for pod in pods if state.is_active(pod)]
    labels = ((owner["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
    wait = int(owner["spec"].get("minReadySeconds") or 0)
    counts: Obj = {
        "fullyLabeledReplicas": sum(labels <= meta.labels_of(pod).items() for pod in active),
        "readyReplicas": sum(map(state.is_ready, active)),
        "availableReplicas": sum(state.available_in(pod, wait, now) == 0 for pod in active),
        "observedGeneration": owner["metadata"].get("generation", 0),
    }
    out: Obj = {"replicas": len(active), **{name: number for name, number in counts.items() if number}}
    if terminating:
        out["terminatingReplicas"] = sum(meta.is_terminating(pod) and not state.has_ended(pod) for pod in pods)
    conditions = _conditions(owner, surplus(owner, pods), failure, now)
    return {**out, "conditions": conditions} if conditions else out


def _conditions(owner: Obj, excess: int, failure: str, now: float) -> list[Obj]:
    """One of a failure stays as it was said first, until nothing fails."""
    before = meta.condition(owner, FAILURE)
    kept = [c for c in (owner.get("status") or {}).get("conditions") or [] if c.get("type") != FAILURE]
    if not failure:
        return kept
    reason = "FailedCreate" if excess < 0 else "FailedDelete" if excess > 0 else ""
    new = {"type": FAILURE, "status": "True", "lastTransitionTime": rfc3339(now), "reason": reason, "message": failure}
    return [*kept, before or new]
