"""The counters and conditions of a Deployment, in upstream's words. Pure.

``Progressing`` remembers when there was progress last (``lastUpdateTime``): the deadline is counted from there, by any controller
that comes to look.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.controllers.deployment import objects
from holdfast.controllers.deployment.scaling import max_unavailable
from holdfast.controllers.replicaset.decide import replicas
from holdfast.controllers.replicaset.status import FAILURE
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta

PROGRESSING, AVAILABLE = "Progressing", "Available"
CREATED, FOUND, NOT_CREATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetCreateError"
UPDATED, DONE, EXCEEDED = "ReplicaSetUpdated", "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


def deadline(owner: Obj) -> int | None:
    """Seconds without progress until a rollout has failed; None = never."""
    found = owner["spec"].get("progressDeadlineSeconds")
    return None if found is None or found == 2**31 - 1 else int(found)


def counts(owner: Obj, sets: Sequence[Obj], new: Obj | None, wanted: int) -> Obj:
    """The counters. ``wanted``: how many pods all the ReplicaSets shall have."""
    before = owner.get("status") or {}
    available = objects.total(sets, "availableReplicas")
    found = {
        "observedGeneration": owner["metadata"].get("generation", 0),
        "replicas": objects.total(sets, "replicas"),
        "updatedReplicas": objects.count(new, "replicas") if new is not None else 0,
        "readyReplicas": objects.total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(wanted - available, 0),
    }
    out: Obj = {name: number for name, number in found.items() if number}
    if all("terminatingReplicas" in (each.get("status") or {}) for each in sets):
        out["terminatingReplicas"] = objects.total(sets, "terminatingReplicas")
    if before.get("collisionCount") is not None:
        out["collisionCount"] = before["collisionCount"]
    return out


def is_complete(owner: Obj, status: Obj) -> bool:
    wanted = replicas(owner)
    same = [status.get(name, 0) == wanted for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return all(same) and status.get("observedGeneration", 0) >= owner["metadata"].get("generation", 0)


class Conditions:
    """The conditions of one Deployment on their way to what they should be."""

    def __init__(self, owner: Obj, now: float) -> None:
        self._owner = owner
        self._now = now
        self.all: list[Obj] = [*((owner.get("status") or {}).get("conditions") or [])]

    def get(self, kind: str) -> Obj | None:
        return next((c for c in self.all if c.get("type") == kind), None)

    def remove(self, kind: str) -> None:
        self.all = [c for c in self.all if c.get("type") != kind]

    def set(self, kind: str, status: str, reason: str, message: str, *, again: bool = False) -> None:
        """One that says the same already stays as it is, unless it is to be said ``again``."""
        before = self.get(kind)
        if before is not None and (before["status"], before.get("reason")) == (status, reason) and not again:
            return
        stamp = rfc3339(self._now)
        since = before.get("lastTransitionTime") if before is not None and before["status"] == status else stamp
        self.remove(kind)
        times = {"lastUpdateTime": stamp, "lastTransitionTime": since}
        self.all.append({"type": kind, "status": status, **times, "reason": reason, "message": message})

    # What each of them means

    def pause(self) -> None:
        """Lack of progress is not held against a Deployment for the time in which it was paused."""
        reason = (self.get(PROGRESSING) or {}).get("reason")
        if deadline(self._owner) is None or reason == EXCEEDED:
            return
        if self._owner["spec"].get("paused"):
            self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused")
        elif reason == PAUSED:
            self.set(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed")

    def found(self, new: Obj) -> None:
        if deadline(self._owner) is not None and self.get(PROGRESSING) is None:
            self.set(PROGRESSING, "True", FOUND, f'Found new replica set "{meta.name(new)}"')

    def created(self, new: Obj) -> None:
        if deadline(self._owner) is not None:
            self.set(PROGRESSING, "True", CREATED, f'Created new replica set "{meta.name(new)}"')

    def not_created(self, message: str) -> None:
        if deadline(self._owner) is not None:
            self.set(PROGRESSING, "False", NOT_CREATED, message)

    def availability(self, status: Obj) -> None:
        if status.get("availableReplicas", 0) >= replicas(self._owner) - max_unavailable(self._owner):
            self.set(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        else:
            self.set(AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")

    def progress(self, status: Obj, new: Obj | None) -> None:
        if deadline(self._owner) is None:
            self.remove(PROGRESSING)
            return
        current = self.get(PROGRESSING) or {}
        if status.get("replicas", 0) == status.get("updatedReplicas", 0) and current.get("reason") == DONE:
            return
        what = f'ReplicaSet "{meta.name(new)}"' if new is not None else f'Deployment "{meta.name(self._owner)}"'
        if is_complete(self._owner, status):
            self.set(PROGRESSING, "True", DONE, f"{what} has successfully progressed.")
        elif _has_progressed(self._owner.get("status") or {}, status):
            self.set(PROGRESSING, "True", UPDATED, f"{what} is progressing.", again=True)
        elif self.overdue_in(status) < 0:
            self.set(PROGRESSING, "False", EXCEEDED, f"{what} has timed out progressing.")

    def overdue_in(self, status: Obj) -> float:
        """Seconds until the deadline, less than 0 when it has passed; infinite when none is being waited for."""
        limit, current = deadline(self._owner), self.get(PROGRESSING)
        if limit is None or current is None or current.get("reason") in (DONE, EXCEEDED) or is_complete(self._owner, status):
            return float("inf")
        return parse_rfc3339(current["lastUpdateTime"]) + limit - self._now

    def failures(self, sets: Sequence[Obj], new: Obj | None) -> None:
        """A ReplicaSet that cannot make its pods is the Deployment's failure; the new one's comes first."""
        told = [c for each in ([new] if new is not None else []) + [*sets] if (c := meta.condition(each, FAILURE))]
        if told:
            self._take_over(told[0])
        else:
            self.remove(FAILURE)

    def _take_over(self, failure: Obj) -> None:
        before = self.get(FAILURE)
        if before is not None and (before["status"], before.get("reason")) == (failure["status"], failure.get("reason")):
            return
        self.remove(FAILURE)
        self.all.append({**failure, "lastUpdateTime": failure.get("lastTransitionTime")})


def _has_progressed(before: Obj, now: Obj) -> bool:
    """More that is new, ready or available, or less that is old."""

    def old(status: Obj) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(now) < old(before) or any(now.get(name, 0) > before.get(name, 0) for name in more)
