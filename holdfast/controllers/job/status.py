"""The conditions of a job, with upstream's reasons and texts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

SUCCEEDS, FAILS = "SuccessCriteriaMet", "FailureTarget"
"""Decided, while pods of it are still there; ``Complete`` or ``Failed`` follows with the same reason."""
LAST = {SUCCEEDS: "Complete", FAILS: "Failed"}


@dataclass(frozen=True)
class Verdict:
    """What becomes of the job, and why."""

    kind: str
    reason: str
    message: str

    @property
    def fails(self) -> bool:
        return self.kind == FAILS


COMPLETE = Verdict(SUCCEEDS, "CompletionsReached", "Reached expected number of succeeded pods")
TOO_OFTEN = Verdict(FAILS, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
TOO_LONG = Verdict(FAILS, "DeadlineExceeded", "Job was active longer than specified deadline")
TOO_MANY_INDEXES = Verdict(FAILS, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
SOME_INDEXES = Verdict(FAILS, "FailedIndexes", "Job has failed indexes")


def decided(job: Obj) -> Verdict | None:
    """What was decided in an earlier pass: that stands."""
    for kind in (SUCCEEDS, FAILS):
        found = meta.condition(job, kind)
        if found is not None and found.get("status") == "True":
            return Verdict(kind, found.get("reason") or "", found.get("message") or "")
    return None


def set_condition(status: Obj, kind: str, reason: str, message: str, now: float, *, true: bool = True) -> bool:
    """Whether that changed anything. A condition that was never there does not become False."""
    conditions: list[Obj] = status.setdefault("conditions", [])
    stamp, wanted = rfc3339(now), "True" if true else "False"
    made = {"type": kind, "status": wanted, "lastProbeTime": stamp, "lastTransitionTime": stamp, "reason": reason, "message": message}
    for position, found in enumerate(conditions):
        if found["type"] == kind:
            same = (found["status"], found.get("reason"), found.get("message")) == (wanted, reason, message)
            if not same:
                conditions[position] = made
            return not same
    if true:
        conditions.append(made)
    return true
