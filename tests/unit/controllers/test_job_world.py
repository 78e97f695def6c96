"""The job algorithm in a small world where pods succeed, fail, are deleted, and the controller dies between any two of its writes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.controllers import pods as state
from holdfast.controllers.job import decide as plans
from holdfast.controllers.job import objects, status
from holdfast.controllers.job.backoff import FIRST, Backoff
from holdfast.controllers.job.decide import Plan, Seen, decide
from holdfast.controllers.job.indexes import Indexes
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

START = 1_800_000_000.0
CRASH = st.integers(0, 6)
"""After how many of its writes the controller dies, in this pass."""
WHICH = st.integers(0, 9)


class World(RuleBasedStateMachine):
    @initialize(
        indexed=st.booleans(),
        parallelism=st.sampled_from([2, 3, 4, 1, 0]),
        completions=st.sampled_from([8, 5, 3, 1, 0, None]),
        limit=st.sampled_from([20, 1, 2, 6, 0]),
        by_index=st.sampled_from([None, 0, 1, 2]),
        replacement=st.sampled_from(["TerminatingOrFailed", "Failed"]),
        ignores=st.sampled_from([False, False, True]),
    )
    def begin(
        self,
        indexed: bool,
        parallelism: int,
        completions: int | None,
        limit: int,
        by_index: int | None,
        replacement: str,
        ignores: bool,
    ) -> None:
        spec: dict[str, Any] = {
            "parallelism": parallelism,
            "completionMode": "Indexed" if indexed else "NonIndexed",
            "backoffLimit": limit,
            "podReplacementPolicy": replacement,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}},
        }
        if indexed or completions is not None:
            spec["completions"] = completions or 0
        if indexed and by_index is not None:
            spec |= {"backoffLimitPerIndex": by_index, "backoffLimit": 2**31 - 1}
        if ignores:
            rule_ = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3]}}
            spec |= {"podFailurePolicy": {"rules": [rule_]}, "podReplacementPolicy": "Failed"}
        metadata = {"name": "j", "namespace": "ns", "uid": "job", "generation": 1, "resourceVersion": "1"}
        self.job: Obj = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec, "status": {}}
        self.pods: dict[str, Obj] = {}
        self.now = START
        self.made = 0
        self.named: set[str] = set()
        """Uids that the status has ever named as uncounted."""
        self.let_go: set[str] = set()
        self.lives()

    def lives(self) -> None:
        """A new life of the controller: it knows nothing but what is stored."""
        self.backoff, self.failed_at = Backoff(), dict[str, float]()

    @property
    def indexed(self) -> bool:
        return objects.is_indexed(self.job)

    @property
    def finished(self) -> bool:
        return objects.is_finished(self.job)

    def active(self) -> list[Obj]:
        return [pod for pod in self.pods.values() if state.is_active(pod)]

    # What the controller does

    def plan(self) -> Plan:
        failed = [pod for pod in self.pods.values() if state.phase(pod) == "Failed" or objects.is_leaving(pod)]
        self.failed_at = {meta.uid(pod): self.failed_at.get(meta.uid(pod), self.now) for pod in failed}
        before = copy.deepcopy((self.job, self.pods))
        plan = decide(Seen(self.job, [*self.pods.values()], set(self.pods), self.backoff, self.failed_at), self.now, self.now)
        assert (self.job, self.pods) == before, "what was observed is not changed"
        return plan

    @rule()
    def sync(self) -> None:
        self.step()

    @rule(crash=CRASH)
    def sync_and_crash(self, crash: int) -> None:
        self.step(crash)

    @rule(code=st.sampled_from([0, 1, 1, 3]), which=WHICH, crash=st.sampled_from([None, 1, 2]))
    def ends_and_is_seen(self, code: int, which: int, crash: int | None) -> None:
        self.step()
        self.ends(which, code)
        self.now += 700
        self.step(crash)
        self.step()

    def step(self, crash: int | None = None) -> None:
        if self.finished:
            return
        plan = self.plan()
        writes = [functools.partial(self.report, plan), *(write for intent in plan.intents for write in self.writes_of(intent))]
        for number, write in enumerate(writes):
            if number == crash:
                self.lives()
                return
            write()
        self.backoff = plan.backoff

    def report(self, plan: Plan) -> None:
        before, now = self.job.get("status") or {}, plan.status
        fresh = [uid for kind in ("succeeded", "failed") for uid in now["uncountedTerminatedPods"].get(kind, ())]
        fresh = [uid for uid in fresh if uid not in _uncounted(before)]
        assert not self.named & set(fresh), "none is counted twice"
        assert len(fresh) == len(set(fresh))
        assert set(fresh) == {meta.uid(pod) for pod in plan.counted}
        self.named |= set(fresh)
        if status.decided(self.job) is None:
            self.is_right(plan)
        assert now.get("failed", 0) >= before.get("failed", 0)
        if not self.indexed:
            assert now.get("succeeded", 0) >= before.get("succeeded", 0)
        self.job = {**self.job, "status": copy.deepcopy(now)}

    def is_right(self, plan: Plan) -> None:
        """Of a job that ends with this: it has failed, or succeeded, as often as that takes."""
        verdict = status.decided({"status": plan.status})
        done = plan.status.get("succeeded", 0) + len(plan.status["uncountedTerminatedPods"].get("succeeded", ()))
        if verdict == status.TOO_OFTEN:
            failed = plan.status.get("failed", 0) + len(plan.status["uncountedTerminatedPods"].get("failed", ()))
            assert failed > self.job["spec"]["backoffLimit"]
        elif verdict == status.COMPLETE:
            assert done >= self.job["spec"].get("completions", 1)
        elif verdict == status.SOME_INDEXES:
            lost = Indexes.parse(plan.status["failedIndexes"], 1000)
            assert len(lost) + done == self.job["spec"]["completions"]

    def writes_of(self, intent: plans.Intent) -> Iterator[Callable[[], None]]:
        name = meta.name(intent.pod)
        match intent:
            case plans.CreatePod(pod):
                yield lambda: self.create(pod)
            case plans.DeletePod(pod):
                assert state.is_active(pod)
                yield lambda: self.terminate(name)
            case plans.LetGo(pod):
                assert state.is_active(pod), "what has ended is counted"
                yield lambda: self.untrack(name, told=False)
                yield lambda: self.terminate(name)
            case plans.Untrack():
                yield lambda: self.untrack(name)

    def is_told_of(self, pod: Obj) -> None:
        """Before its finalizer goes the status says how it ended."""
        if self.indexed and state.phase(pod) == "Succeeded" and meta.uid(pod) not in self.named:
            done = Indexes.parse(self.job["status"].get("completedIndexes") or "", self.job["spec"]["completions"])
            assert objects.index_of(pod) in done
        elif not (pod["status"].get("containerStatuses") and self.job["spec"].get("podFailurePolicy")):
            assert meta.uid(pod) in self.named

    def create(self, pod: Obj) -> None:
        name = meta.name(pod)
        assert name not in self.pods
        assert objects.is_tracked(pod)
        self.made += 1
        metadata = {**pod["metadata"], "uid": f"pod-{self.made}", "creationTimestamp": rfc3339(self.now), "resourceVersion": "1"}
        self.pods[name] = {**pod, "metadata": metadata, "status": {"phase": "Pending"}}
        assert len(self.active()) <= self.job["spec"]["parallelism"], "never more than parallelism"
        if self.indexed:
            indexes = [objects.index_of(p) for p in self.active()]
            assert len(indexes) == len(set(indexes)), "one pod an index"
            assert 0 <= objects.index_of(pod) < self.job["spec"]["completions"]

    def untrack(self, name: str, *, told: bool = True) -> None:
        pod = self.pods[name]
        if not told and objects.is_tracked(pod):
            self.let_go.add(meta.uid(pod))
        elif state.has_ended(pod):
            self.is_told_of(pod)
        kept = [f for f in pod["metadata"].get("finalizers") or [] if f != objects.FINALIZER]
        self.pods[name] = {**pod, "metadata": {**pod["metadata"], "finalizers": kept}}
        if meta.is_terminating(pod) and state.has_ended(pod):
            del self.pods[name]

    def terminate(self, name: str) -> None:
        pod = self.pods[name]
        if not meta.is_terminating(pod):
            self.pods[name] = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": rfc3339(self.now)}}

    # What the world does

    def some(self, which: int, pods: list[Obj]) -> Obj | None:
        return pods[which % len(pods)] if pods else None

    @rule(which=WHICH, code=st.sampled_from([0, 0, 1, 3]))
    def ends(self, which: int, code: int) -> None:
        pod = self.some(which, [pod for pod in self.pods.values() if not state.has_ended(pod)])
        if pod is None:
            return
        status = {"phase": "Failed" if code else "Succeeded"}
        if code == 3:
            ended = {"exitCode": 3, "finishedAt": rfc3339(self.now)}
            status |= {"containerStatuses": [{"name": "c", "state": {"terminated": ended}}]}  # type: ignore[dict-item]
        self.pods[meta.name(pod)] = {**pod, "status": status}
        if meta.is_terminating(pod) and not objects.is_tracked(pod):
            del self.pods[meta.name(pod)]

    @precondition(lambda self: not self.finished)
    @rule()
    def rests_and_is_interrupted(self) -> None:
        """The controller dies when a pod has lost its finalizer and is not yet deleted."""
        self.step()
        self.suspends(True)
        self.step(2)
        self.suspends(False)

    @rule(which=WHICH)
    def runs(self, which: int) -> None:
        pod = self.some(which, self.active())
        if pod is not None:
            self.pods[meta.name(pod)] = {**pod, "status": {"phase": "Running"}}

    @rule(which=WHICH)
    def user_deletes(self, which: int) -> None:
        pod = self.some(which, [*self.pods.values()])
        if pod is not None:
            self.terminate(meta.name(pod))
            if state.has_ended(pod) and not objects.is_tracked(pod):
                del self.pods[meta.name(pod)]

    @rule(seconds=st.sampled_from([1, 10, 100, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: not self.finished)
    @rule(parallelism=st.sampled_from([1, 2, 3, 4, 0]))
    def resize(self, parallelism: int) -> None:
        self.job = {**self.job, "spec": {**self.job["spec"], "parallelism": parallelism}}

    @precondition(lambda self: not self.finished)
    @rule(suspend=st.sampled_from([False, False, True]))
    def suspends(self, suspend: bool) -> None:
        self.job = {**self.job, "spec": {**self.job["spec"], "suspend": suspend}}

    @invariant()
    def what_is_counted_was_named_once(self) -> None:
        now = self.job.get("status") or {}
        counted = now.get("failed", 0) + (0 if self.indexed else now.get("succeeded", 0))
        assert counted + len(_uncounted(now)) == len(self.named)
        assert not self.named & self.let_go

    def teardown(self) -> None:
        """When nothing goes wrong any more every job ends, with all its pods counted."""
        if not hasattr(self, "job"):
            return
        self.suspends(False)
        self.resize(2)
        self.step()
        lingering = [pod for pod in self.active() if meta.uid(pod) in self.let_go]
        assert self.finished or not lingering, "who was let go, goes"
        for _ in range(200):
            for pod in [*self.pods.values()]:
                if not state.has_ended(pod):
                    self.pods[meta.name(pod)] = {**pod, "status": {"phase": "Succeeded"}}
            for name, pod in [*self.pods.items()]:
                if meta.is_terminating(pod) and not objects.is_tracked(pod):
                    del self.pods[name]
            self.step()
            self.now += FIRST
            if self.finished:
                break
        assert self.finished, self.job["status"]
        self.what_is_counted_was_named_once()
        assert not any(objects.is_tracked(pod) for pod in self.pods.values())
        now = self.job["status"]
        assert "active" not in now
        assert (now["uncountedTerminatedPods"], now["terminating"]) == ({}, 0)
        if meta.condition_true(self.job, "Complete"):
            assert now.get("succeeded", 0) >= self.job["spec"].get("completions", 1)


def _uncounted(now: Obj) -> list[str]:
    return [uid for uids in (now.get("uncountedTerminatedPods") or {}).values() for uid in uids]


TestJobWorld = World.TestCase
TestJobWorld.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
