"""The conditions of a set: Available, Progressing and Stalled, always; two more that remember, with a progress deadline. Pure.

Available is what a Deployment means by it; Progressing is True at rest too, as a Deployment's. A controller that starts
anew knows nothing but what the objects say, so what the deadline needs is kept in conditions of our own: ``Progressed``
(its time is when the set last came nearer to its spec) and ``Complete`` (its message names the last revision all members ran).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.options import Options
from holdfast.controllers.statefulset.waits import OUTDATED, Wait
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta

PROGRESSED = "holdfast.dev/Progressed"
COMPLETE = "holdfast.dev/Complete"
EXCEEDED = "ProgressDeadlineExceeded"
DONE = "Complete"
RECREATING, RECREATED = "RecreateInProgress", "RecreateComplete"
"""Upstream's reasons under Recreate (KEP-3541): from the first deletion until all members are there again, and from then on."""
_OURS = ("Available", "Progressing", "Stalled", PROGRESSED, COMPLETE)
_LEFT = re.compile(r"(\d+) ")


@dataclass
class Situation:
    """``left``: members that are not yet as they should be, and those that are too many; ``counts``: the new status."""

    owner: Obj
    counts: Obj
    left: int
    waits: list[Wait]
    options: Options
    now: float
    clearing: bool = False
    """Under Recreate: members of an older revision are still there."""

    @property
    def since(self) -> str:
        """When the set last came nearer to its spec (with a deadline only)."""
        if not self._closer():
            return str((meta.condition(self.owner, PROGRESSED) or {}).get("lastTransitionTime"))
        return rfc3339(self.now)

    def _closer(self) -> bool:
        kept = meta.condition(self.owner, PROGRESSED)
        if kept is None or (self.owner.get("status") or {}).get("observedGeneration") != self.counts.get("observedGeneration"):
            return True
        best = self.best
        return self.left < best or (best == 0 and self.left > 0)

    @property
    def best(self) -> int:
        match = _LEFT.match((meta.condition(self.owner, PROGRESSED) or {}).get("message") or "")
        return int(match[1]) if match else 0

    @property
    def overdue_in(self) -> float:
        """Seconds until the deadline; 0 when it has passed; infinite without one or with nothing to do."""
        if not self.options.deadline or not self.left:
            return float("inf")
        return max(parse_rfc3339(self.since) + self.options.deadline - self.now, 0.0)


def of(situation: Situation) -> list[Obj]:
    """All conditions as they should be; those of others are kept."""
    owner, options = situation.owner, situation.options
    wanted = [_available(situation), _progressing(situation), _stalled(situation)]
    found = [_dated(owner, entry, situation.now) for entry in wanted]
    if options.deadline:
        left = situation.left if situation._closer() else situation.best
        entry = _entry(PROGRESSED, True, "Progressed", f"{left} members left to do at best")
        found.append({**entry, "lastTransitionTime": situation.since})
    name = last_complete(owner, situation)
    if options.rollback and name:
        found.append(_dated(owner, _entry(COMPLETE, True, "RevisionComplete", name), situation.now))
    others = [c for c in (owner.get("status") or {}).get("conditions") or [] if c.get("type") not in _OURS]
    return found + others


def last_complete(owner: Obj, situation: Situation | None = None) -> str:
    """The last revision that all members ran and were available with; "" when none is known."""
    before = owner.get("status") or {}
    if situation is not None and whole(owner, situation.counts, situation.left):
        return str(situation.counts["updateRevision"])
    kept = meta.condition(owner, COMPLETE)
    if kept is not None:
        return str(kept.get("message") or "")
    progressing = meta.condition(owner, "Progressing") or {}
    # The set opts in together with a new template: what it was complete with a moment ago is in the status still.
    complete = progressing.get("reason") in (DONE, RECREATED) and whole(owner, before, 0)
    return str(before.get("updateRevision") or "") if complete else ""


def whole(owner: Obj, counts: Obj, left: int) -> bool:
    """Whether every member runs the update revision and is available; none at all proves nothing."""
    wanted = int(counts.get("replicas") or 0)
    return not left and 0 < wanted == counts.get("updatedReplicas") == counts.get("availableReplicas")


def _entry(kind: str, status: bool, reason: str, message: str) -> Obj:
    return {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}


def _dated(owner: Obj, entry: Obj, now: float) -> Obj:
    before = meta.condition(owner, entry["type"])
    moved = before is None or before.get("status") != entry["status"]
    return {**entry, "lastTransitionTime": rfc3339(now) if before is None or moved else before.get("lastTransitionTime")}


def minimum(owner: Obj) -> int:
    """How many members must be available: all but maxUnavailable (one, when nothing is said), and one at least."""
    wanted = objects.replicas(owner)
    bound = ((owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable")
    return max(wanted - objects.at_most(1 if bound is None else bound, wanted), min(wanted, 1))


def _available(situation: Situation) -> Obj:
    least, there = minimum(situation.owner), int(situation.counts.get("availableReplicas") or 0)
    if there >= least:
        return _entry("Available", True, "MinimumReplicasAvailable", f"StatefulSet has minimum availability: {least}")
    text = f"StatefulSet does not have minimum availability: {there} of {least}"
    return _entry("Available", False, "MinimumReplicasUnavailable", text)


def _first(situation: Situation) -> str:
    return situation.waits[0].message if situation.waits else f"{situation.left} members are not yet as they should be"


def _progressing(situation: Situation) -> Obj:
    counts = situation.counts
    if meta.is_terminating(situation.owner):
        return _entry("Progressing", True, "Terminating", _first(situation))
    if not situation.left:
        updated, there = counts.get("updatedReplicas") or 0, counts.get("replicas") or 0
        text = f"All {there} members are available, {updated} of them of revision {counts.get('updateRevision')}"
        return _entry("Progressing", True, RECREATED if _recreates(situation) else DONE, text)
    if not situation.overdue_in:
        return _entry("Progressing", False, EXCEEDED, _first(situation))
    return _entry("Progressing", True, RECREATING if _recreates(situation) else "Reconciling", _first(situation))


def _recreates(situation: Situation) -> bool:
    """Whether a replacement of all members is going on, or was what came to its end last."""
    owner, counts = situation.owner, situation.counts
    if (owner["spec"].get("updateStrategy") or {}).get("type") != "Recreate":
        return False
    told = (meta.condition(owner, "Progressing") or {}).get("reason")
    before = (owner.get("status") or {}).get("currentRevision")
    changes = counts.get("currentRevision") != counts.get("updateRevision") or before not in (None, "", counts.get("updateRevision"))
    return situation.clearing or changes or told == RECREATING or (told == RECREATED and not situation.left)


def _stalled(situation: Situation) -> Obj:
    if not situation.overdue_in:
        return _entry("Stalled", True, EXCEEDED, f"No progress since {situation.since}: {_first(situation)}")
    stuck = next((wait for wait in situation.waits if wait.reason == OUTDATED), None)
    if stuck is not None:
        return _entry("Stalled", True, OUTDATED, f"{stuck.message}. {stuck.remedy}")
    return _entry("Stalled", False, DONE if not situation.left else "Reconciling", "Nothing is known to be in the way for good")
