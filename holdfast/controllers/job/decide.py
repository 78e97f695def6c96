"""What to do next for one job, and what to report of it (upstream's syncJob, in its order). Pure.

Exactly once (KEP-2307): a pod that ended is named in ``uncountedTerminatedPods``, then loses its finalizer, then moves into
the counter; only the first and the last are writes of the status. So the status is written before anything is done, and
after a crash at any point the finalizers and that list say together what is counted.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from holdfast.controllers import pods as state
from holdfast.controllers.job import backoff, objects, policy, status
from holdfast.controllers.job.backoff import Backoff
from holdfast.controllers.job.indexes import Indexes
from holdfast.controllers.job.status import Verdict
from holdfast.controllers.replicaset.ranking import first_to_go
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta

MOST_UNCOUNTED = MOST_AT_ONCE = 500


@dataclass(frozen=True)
class CreatePod:
    pod: Obj


@dataclass(frozen=True)
class DeletePod:
    """It is counted when it goes."""

    pod: Obj


@dataclass(frozen=True)
class LetGo:
    """Deleted without being counted: there are too many, or the job rests."""

    pod: Obj


@dataclass(frozen=True)
class Untrack:
    """Its finalizer goes: the status tells of it."""

    pod: Obj


Intent = CreatePod | DeletePod | LetGo | Untrack


@dataclass(frozen=True)
class Seen:
    job: Obj
    pods: list[Obj]
    """Those that are the job's."""
    taken: Collection[str]
    """Names of all pods of the namespace."""
    backoff: Backoff = field(default_factory=Backoff)
    failed_at: Mapping[str, float] = field(default_factory=dict)
    """The moment each failure was seen at, by uid."""


@dataclass
class Plan:
    status: Obj
    intents: list[Intent] = field(default_factory=list)
    counted: list[Obj] = field(default_factory=list)
    """Pods that this status names as uncounted for the first time: they must still be tracked, by a live read."""
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """(type, reason, message), once the status is written."""
    backoff: Backoff = field(default_factory=Backoff)
    again_after: float = 0.0
    """Look again after so many seconds; 0 = an event will tell."""


def decide(seen: Seen, now: float, moment: float) -> Plan:
    """``now``: unix seconds; ``moment``: the clock that never jumps."""
    return _Work(seen, now, moment).run()


class _Work:
    def __init__(self, seen: Seen, now: float, moment: float) -> None:
        self.seen, self.now, self.moment = seen, now, moment
        self.job, self.spec = seen.job, seen.job["spec"]
        self.status: Obj = copy.deepcopy(seen.job.get("status") or {})
        self.plan = Plan(self.status, backoff=seen.backoff)
        self.indexed = objects.is_indexed(self.job)
        self.completions: int | None = self.spec.get("completions")
        self.per_index: int | None = self.spec.get("backoffLimitPerIndex") if self.indexed else None
        self.before = status.decided(self.job)
        self.active = [pod for pod in seen.pods if state.is_active(pod)]
        self.leaving = [pod for pod in seen.pods if objects.is_leaving(pod)]
        self.tracked = sorted((pod for pod in seen.pods if objects.is_tracked(pod)), key=self._by_index)
        uncounted = self.status.get("uncountedTerminatedPods") or {}
        self.uncounted = {kind: [*(uncounted.get(kind) or [])] for kind in ("succeeded", "failed")}

    @staticmethod
    def _by_index(pod: Obj) -> tuple[int, str]:
        return objects.index_of(pod), meta.name(pod)

    def run(self) -> Plan:
        self._settle()
        self._start()
        self._tally()
        verdict = self.before or self._failure() or self._success_policy()
        if verdict is not None:
            self.plan.intents += [DeletePod(pod) for pod in self.active]
        else:
            if not meta.is_terminating(self.job):
                self._manage()
            if self._is_complete():
                verdict = status.COMPLETE
            elif not meta.is_terminating(self.job):
                self._tell_whether_suspended()
        self._account(verdict)
        self._report()
        if verdict is not None:
            self._conclude(verdict)
        return self.plan

    # What is known already

    def _settle(self) -> None:
        """Those that are no longer tracked move from the list into the counters."""
        tracked = {meta.uid(pod) for pod in self.tracked}
        for kind, uids in self.uncounted.items():
            self.status[kind] = int(self.status.get(kind) or 0) + sum(uid not in tracked for uid in uids)
            self.uncounted[kind] = [uid for uid in uids if uid in tracked]

    def _start(self) -> None:
        if not self.status.get("startTime") and not objects.is_suspended(self.job):
            self.status["startTime"] = rfc3339(self.now)

    def _has_place(self, pod: Obj) -> bool:
        """An indexed job counts pods of its indexes only."""
        return not self.indexed or 0 <= objects.index_of(pod) < (self.completions or 0)

    def _has_failed(self, pod: Obj) -> bool:
        """A pod that is deleted has failed, since it may never get to say so; unless it must be waited for."""
        if state.phase(pod) == "Failed":
            return True
        waits = objects.only_failed_are_replaced(self.job) or (self.before is not None and not self.before.fails)
        return not waits and objects.is_leaving(pod)

    def _tally(self) -> None:
        known = {*self.uncounted["succeeded"], *self.uncounted["failed"]}
        ended = [pod for pod in self.tracked if meta.uid(pod) not in known and self._has_place(pod)]
        succeeded = [pod for pod in ended if state.phase(pod) == "Succeeded"]
        failed = [pod for pod in ended if self._has_failed(pod)]
        self.failed = self.status["failed"] + len(self.uncounted["failed"])
        self.failed += sum(policy.of_failure(self.job, pod).counts for pod in failed)
        self.succeeded = self.status["succeeded"] + len(self.uncounted["succeeded"]) + len(succeeded)
        self.ended = self.failed + self.succeeded
        if self.indexed:
            done = Indexes.parse(self.status.get("completedIndexes") or "", self.completions or 0)
            self.done = done.with_each(objects.index_of(pod) for pod in succeeded)
            self.succeeded = len(self.done)
        self.lost = Indexes()
        self.held: dict[int, Obj] = {}
        if self.per_index is not None:
            self._tally_indexes()
        else:
            self.plan.backoff = self.seen.backoff.after(succeeded, failed, self.seen.failed_at)

    def _tally_indexes(self) -> None:
        """Which indexes have failed for good; and the last failure of each of the others, which is held until its heir is there."""
        lost = Indexes.parse(self.status.get("failedIndexes") or "", self.completions or 0)
        failed = [pod for pod in self.tracked if self._has_place(pod) and self._has_failed(pod)]
        self.lost = lost.with_each(objects.index_of(pod) for pod in failed if self._loses_index(pod))
        active = {objects.index_of(pod) for pod in self.active}
        for pod in failed:
            index = objects.index_of(pod)
            if index in self.done or index in self.lost or index in active:
                continue
            held = self.held.get(index)
            if held is None or self._rank(held) <= self._rank(pod):
                self.held[index] = pod

    @staticmethod
    def _rank(pod: Obj) -> tuple[int, float]:
        return sum(objects.failures_before(pod)), objects.finished_at(pod)

    def _loses_index(self, pod: Obj) -> bool:
        meaning = policy.of_failure(self.job, pod)
        return meaning.action == "FailIndex" or (meaning.counts and objects.failures_before(pod)[0] >= (self.per_index or 0))

    # What becomes of the job

    def _failure(self) -> Verdict | None:
        for pod in self.seen.pods:
            message = policy.of_failure(self.job, pod).message if self._has_failed(pod) else ""
            if message:
                return Verdict(status.FAILS, "PodFailurePolicy", message)
        if self.failed > self.spec["backoffLimit"] or self._restarts_too_often():
            return status.TOO_OFTEN
        deadline = self.spec.get("activeDeadlineSeconds")
        if deadline is not None and not objects.is_suspended(self.job):
            left = parse_rfc3339(self.status["startTime"]) + deadline - self.now
            if left <= 0:
                return status.TOO_LONG
            self._again(left)
        if self.per_index is None:
            return None
        most = self.spec.get("maxFailedIndexes")
        if most is not None and len(self.lost) > most:
            return status.TOO_MANY_INDEXES
        every = len(self.lost) + self.succeeded >= (self.completions or 0)
        return status.SOME_INDEXES if len(self.lost) and every else None

    def _restarts_too_often(self) -> bool:
        if self.spec["template"]["spec"].get("restartPolicy") != "OnFailure":
            return False
        total = sum(objects.restarts(pod) for pod in self.seen.pods if state.phase(pod) in ("Running", "Pending"))
        return bool(total >= max(self.spec["backoffLimit"], 1))

    def _success_policy(self) -> Verdict | None:
        message = policy.success(self.job, self.done) if self.indexed else ""
        return Verdict(status.SUCCEEDS, "SuccessPolicy", message) if message else None

    def _is_complete(self) -> bool:
        if self.completions is None:
            return self.succeeded > 0 and not self.active
        return self.succeeded >= self.completions and not self.active

    def _again(self, seconds: float) -> None:
        self.plan.again_after = min(seconds, self.plan.again_after or seconds)

    # How many pods there are

    def _manage(self) -> None:
        stray = [pod for pod in self.active if not objects.is_tracked(pod)]  # being let go, but not gone
        staying = [pod for pod in self.active if objects.is_tracked(pod)]
        wanted = self._wanted(len(staying))
        surplus = self._surplus(staying, max(len(staying) - wanted, 0))
        if stray or surplus:
            self.plan.intents += [LetGo(pod) for pod in [*stray, *surplus][:MOST_AT_ONCE]]
            return
        waiting = len(self.leaving) if objects.only_failed_are_replaced(self.job) else 0
        lacking = min(wanted - waiting - len(staying), MOST_AT_ONCE)
        if lacking <= 0:
            return
        if self.per_index is None:
            left = backoff.remaining(self.plan.backoff.failures, self.plan.backoff.last, self.moment)
            if left > 0:
                self._again(left)
                return
        self._create(lacking)

    def _wanted(self, there: int) -> int:
        parallelism = int(self.spec["parallelism"])
        if objects.is_suspended(self.job):
            return 0
        if self.completions is None:
            return there if self.succeeded else parallelism
        left: int = self.completions - self.succeeded
        return max(min(left, parallelism), 0)

    def _surplus(self, pods: list[Obj], at_least: int) -> list[Obj]:
        """Pods of no index, those that share one, then those with which the least is lost."""
        cheap = first_to_go(pods, {}, self.now)
        going: list[Obj] = []
        if self.indexed:
            taken: set[int] = set()
            for pod in reversed(cheap):
                index = objects.index_of(pod)
                if not self._has_place(pod) or index in taken:
                    going.append(pod)
                taken.add(index)
        gone = {meta.uid(pod) for pod in going}
        rest = [pod for pod in cheap if meta.uid(pod) not in gone]
        return going + rest[: max(at_least - len(going), 0)]

    def _create(self, count: int) -> None:
        taken = set(self.seen.taken)
        for index in self._pending(count) if self.indexed else [objects.UNKNOWN] * count:
            failures = None
            if self.per_index is not None:
                failures = self._failures_of(index)
                if (left := self._until_tried_again(index)) > 0:
                    self._again(left)
                    continue
            name = objects.free_name(self.job, index, self.status["startTime"], self.ended, taken)
            taken.add(name)
            self.plan.intents.append(CreatePod(objects.build_pod(self.job, name, index, failures)))

    def _pending(self, count: int) -> list[int]:
        busy = self.active + (self.leaving if objects.only_failed_are_replaced(self.job) else [])
        other = self.done.with_each(objects.index_of(pod) for pod in busy if objects.index_of(pod) >= 0).joined(self.lost.intervals)
        return [index for _, index in zip(range(count), other.missing(self.completions or 0), strict=False)]

    def _failures_of(self, index: int) -> tuple[int, int]:
        last = self.held.get(index)
        if last is None:
            return 0, 0
        counted, ignored = objects.failures_before(last)
        counts = policy.of_failure(self.job, last).counts
        return counted + counts, ignored + (not counts)

    def _until_tried_again(self, index: int) -> float:
        last = self.held.get(index)
        if last is None:
            return 0.0
        return backoff.remaining(sum(objects.failures_before(last)) + 1, self.seen.failed_at[meta.uid(last)], self.moment)

    # What is reported

    def _tell_whether_suspended(self) -> None:
        if objects.is_suspended(self.job):
            if status.set_condition(self.status, "Suspended", "JobSuspended", "Job suspended", self.now):
                self.plan.events.append(("Normal", "Suspended", "Job suspended"))
            if not self.active:
                self.status.pop("startTime", None)  # the deadline counts from the resumption
        elif status.set_condition(self.status, "Suspended", "JobResumed", "Job resumed", self.now, true=False):
            self.plan.events.append(("Normal", "Resumed", "Job resumed"))
            self.status["startTime"] = rfc3339(self.now)

    def _account(self, verdict: Verdict | None) -> None:
        """Names pods that have ended, and lets go of those that are named."""
        named = {*self.uncounted["succeeded"], *self.uncounted["failed"]}
        for pod in self.tracked:
            failed = self._has_failed(pod)
            if not self._may_be_untracked(pod, verdict, failed=failed):
                continue
            kind = "" if meta.uid(pod) in named else self._counts_as(pod, verdict, failed=failed)
            if kind and len(named) + len(self.plan.counted) >= MOST_UNCOUNTED:
                continue  # when those that are named are counted
            self.plan.intents.append(Untrack(pod))
            if kind:
                self.uncounted[kind].append(meta.uid(pod))
                self.plan.counted.append(pod)

    def _may_be_untracked(self, pod: Obj, verdict: Verdict | None, *, failed: bool) -> bool:
        if meta.is_terminating(self.job) and verdict is None:
            return True
        if verdict is not None and not meta.is_terminating(self.job) and state.is_active(pod):
            return False  # it is to be deleted first
        if state.phase(pod) == "Succeeded" or verdict is not None:
            return True
        held = self.held.get(objects.index_of(pod))
        return failed and (held is None or meta.uid(held) != meta.uid(pod))

    def _counts_as(self, pod: Obj, verdict: Verdict | None, *, failed: bool) -> str:
        """ "" when it is not counted by its uid: an index that is done is in the text of those."""
        if not self._has_place(pod):
            return ""
        if state.phase(pod) == "Succeeded":
            return "" if self.indexed else "succeeded"
        if not failed and (verdict is None or not verdict.fails):
            return ""
        return "failed" if policy.of_failure(self.job, pod).counts else ""

    def _report(self) -> None:
        self.status["active"] = len(self.active)
        self.status["ready"] = sum(state.is_ready(pod) for pod in self.active)
        self.status["terminating"] = len(self.leaving)
        self.status["uncountedTerminatedPods"] = {kind: uids for kind, uids in self.uncounted.items() if uids}
        if self.indexed:
            self.status["succeeded"] = len(self.done)
            self.status["completedIndexes"] = str(self.done)
        if self.per_index is not None:
            self.status["failedIndexes"] = str(self.lost)
        for name in ("active", "succeeded", "failed", "completedIndexes", "conditions"):
            if not self.status.get(name):
                self.status.pop(name, None)

    def _conclude(self, verdict: Verdict) -> None:
        """The decision at once; the end when no pod is left to end or to count."""
        status.set_condition(self.status, verdict.kind, verdict.reason, verdict.message, self.now)
        if self.plan.intents or self.active or self.leaving or self.status["uncountedTerminatedPods"]:
            return
        last = status.LAST[verdict.kind]
        status.set_condition(self.status, last, verdict.reason, verdict.message, self.now)
        if verdict.fails:
            self.plan.events.append(("Warning", verdict.reason, verdict.message))
            return
        self.status["completionTime"] = rfc3339(self.now)
        if self.completions is not None and self.succeeded > self.completions:
            text = "Too many succeeded pods running after completion count reached"
            self.plan.events.append(("Warning", "TooManySucceededPods", text))
        self.plan.events.append(("Normal", "Completed", "Job completed"))
