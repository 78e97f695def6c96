"""Deployment and ReplicaSets in a small world where pods get ready, fail and linger at random: both bounds hold, it comes to rest.

The pictures are late: a Deployment is decided by the last written statuses of its ReplicaSets, which count pods as they were.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.controllers import pods as state
from holdfast.controllers.deployment import decide as plans
from holdfast.controllers.deployment import objects, scaling
from holdfast.controllers.deployment.decide import Plan, Seen, decide
from holdfast.controllers.deployment.status import is_complete
from holdfast.controllers.replicaset import status as counting
from holdfast.controllers.replicaset.decide import build_pod, replicas
from holdfast.controllers.replicaset.decide import decide as members
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

START = 1_800_000_000.0
BOUND = st.integers(0, 3) | st.sampled_from(["25%", "50%", "100%"])
LABELS = {"app": "d"}


def template(image: int) -> Obj:
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": f"i:{image}"}]}}


class World(RuleBasedStateMachine):
    @initialize(
        wanted=st.integers(0, 6),
        surge=BOUND,
        absence=BOUND,
        recreate=st.sampled_from([False, False, False, True]),
        patience=st.sampled_from([0, 0, 10]),
        limit=st.integers(0, 3),
        calm=st.booleans(),
    )
    def begin(self, wanted: int, surge: Any, absence: Any, recreate: bool, patience: int, limit: int, calm: bool) -> None:
        if surge in (0, "0%") and absence in (0, "0%"):
            absence = 1
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": absence}}
        spec = {
            "replicas": wanted,
            "selector": {"matchLabels": LABELS},
            "minReadySeconds": patience,
            "revisionHistoryLimit": limit,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "Recreate"} if recreate else rolling,
            "template": template(0),
        }
        metadata = {"name": "d", "namespace": "ns", "uid": "d", "generation": 1}
        self.owner: Obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec, "status": {}}
        self.sets: dict[str, Obj] = {}
        self.pods: dict[str, Obj] = {}
        self.made = 0
        self.now = START
        self.calm = calm
        """Nothing breaks and nobody scales: then the lower bound is the controller's to keep."""
        self.begun = False
        """Whether there once were enough."""

    # What is there

    def of(self, found: Obj) -> list[Obj]:
        return [pod for pod in self.pods.values() if meta.is_controlled_by(pod, found)]

    def available(self) -> int:
        wait = self.owner["spec"]["minReadySeconds"]
        return sum(state.is_active(pod) and not state.available_in(pod, wait, self.now) for pod in self.pods.values())

    def modify(self, **spec: Any) -> None:
        metadata = {**self.owner["metadata"], "generation": self.owner["metadata"]["generation"] + 1}
        self.owner = {**self.owner, "metadata": metadata, "spec": {**self.owner["spec"], **spec}}

    # The Deployment controller

    @rule()
    def sync(self) -> None:
        self.step()

    def plan(self) -> Plan:
        rolling = scaling.is_rolling(self.owner)
        busy = set() if rolling else {meta.uid(each) for each in self.sets.values() if not all(map(state.has_ended, self.of(each)))}
        seen = Seen(self.owner, [*self.sets.values()], busy)
        before = copy.deepcopy((self.owner, self.sets))
        plan = decide(seen, self.now)
        assert (self.owner, self.sets) == before, "what was observed is not changed"
        return plan

    def step(self) -> bool:
        plan = self.plan()
        for intent in plan.intents:
            self.carry_out(intent)
        changed = bool(plan.intents) or plan.status != self.owner["status"]
        annotations = {**meta.annotations_of(self.owner), objects.REVISION: plan.revision} if plan.revision else {}
        self.owner = {**self.owner, "metadata": {**self.owner["metadata"], "annotations": annotations}, "status": plan.status}
        return changed

    def carry_out(self, intent: plans.Intent) -> None:
        match intent:
            case plans.CreateSet(made):
                assert meta.name(made) not in self.sets, "one set a template"
                self.made += 1
                metadata = {**made["metadata"], "uid": f"set-{self.made}", "creationTimestamp": rfc3339(self.now), "generation": 1}
                self.now += 1
                self.sets[meta.name(made)] = {**made, "metadata": metadata, "status": {"replicas": 0}}
                if not scaling.is_rolling(self.owner):
                    assert all(map(state.has_ended, self.pods.values())), "nothing new before all that is old has ended"
            case plans.UpdateSet(before, after):
                resized = replicas(before) != replicas(after)
                generation = before["metadata"]["generation"] + resized
                self.sets[meta.name(after)] = {**after, "metadata": {**after["metadata"], "generation": generation}}
            case plans.DeleteSet(found):
                assert not any(map(state.is_active, self.of(found))), "history has no pods"
                del self.sets[meta.name(found)]

    # The ReplicaSet controller

    def keep(self, name: str) -> bool:
        found = self.sets[name]
        plan = members(found, self.of(found), {}, self.now)
        for _ in range(plan.create):
            self.made += 1
            pod = build_pod(found, f"{name}-{self.made}")
            metadata = {**pod["metadata"], "uid": f"pod-{self.made}", "creationTimestamp": rfc3339(self.now)}
            self.pods[meta.name(pod)] = {**pod, "metadata": metadata, "status": {"phase": "Pending"}}
        for pod in plan.delete:
            metadata = {**pod["metadata"], "deletionTimestamp": rfc3339(self.now)}
            self.pods[meta.name(pod)] = {**pod, "metadata": metadata}
        new = counting.count(found, self.of(found), "", self.now)
        changed = bool(plan.create or plan.delete) or new != found["status"]
        self.sets[name] = {**found, "status": new}
        return changed

    @precondition(lambda self: self.sets)
    @rule(data=st.data())
    def keep_one(self, data: st.DataObject) -> None:
        self.keep(data.draw(st.sampled_from(sorted(self.sets))))

    # The world

    def become(self, name: str, phase: str, *, ready: bool) -> None:
        word = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": rfc3339(self.now)}
        self.pods[name] = {**self.pods[name], "status": {"phase": phase, "conditions": [word]}}

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def get_ready(self, data: st.DataObject) -> None:
        waiting = [name for name, pod in self.pods.items() if state.phase(pod) == "Pending" or not state.is_ready(pod)]
        for name in data.draw(st.lists(st.sampled_from(sorted(waiting)), unique=True)) if waiting else []:
            self.become(name, "Running", ready=True)

    @precondition(lambda self: self.pods and not self.calm)
    @rule(data=st.data(), how=st.sampled_from(["unready", "Failed"]))
    def break_one(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.pods)))
        self.become(name, "Failed" if how == "Failed" else "Running", ready=False)

    @precondition(lambda self: any(meta.is_terminating(pod) for pod in self.pods.values()))
    @rule()
    def go(self) -> None:
        self.pods = {name: pod for name, pod in self.pods.items() if not meta.is_terminating(pod)}

    @rule(seconds=st.sampled_from([1, 15]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    # The user

    @rule(image=st.integers(0, 3))
    def roll(self, image: int) -> None:
        self.modify(template=template(image))

    @precondition(lambda self: not self.calm)
    @rule(wanted=st.integers(0, 6))
    def scale(self, wanted: int) -> None:
        self.modify(replicas=wanted)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.modify(paused=paused)

    # What holds throughout

    @invariant()
    def the_upper_bound_holds(self) -> None:
        if scaling.is_rolling(self.owner) and not self._scale_is_unseen():
            assert sum(map(replicas, self.sets.values())) <= max(scaling.most(self.owner), 0)

    def _scale_is_unseen(self) -> bool:
        return any(objects.desired(each) != replicas(self.owner) for each in objects.active(self.sets.values()))

    @invariant()
    def the_lower_bound_holds(self) -> None:
        enough = self.available() >= replicas(self.owner) - scaling.max_unavailable(self.owner)
        assert enough or not (self.begun and self.calm and scaling.is_rolling(self.owner))
        self.begun = self.begun or enough

    def teardown(self) -> None:
        """Left alone, with pods that become ready, it is complete after a while, and then writes nothing."""
        if not hasattr(self, "owner"):
            return
        self.modify(paused=False)
        for _ in range(200):
            moved = self.step()
            for name in sorted(self.sets):
                moved = self.keep(name) or moved
            self.the_upper_bound_holds()
            self.the_lower_bound_holds()
            self.go()
            for name, pod in sorted(self.pods.items()):
                if not state.is_ready(pod) and not state.has_ended(pod):
                    self.become(name, "Running", ready=True)
            self.now += 15
            if not moved and is_complete(self.owner, self.owner["status"]):
                break
        else:
            raise AssertionError(f"it never comes to rest: {self.owner['status']}")
        for name in sorted(self.sets):
            assert not self.keep(name), "at rest nothing is written"
        assert not self.step()
        assert self.available() == replicas(self.owner)
        old = [each for each in self.sets.values() if replicas(each) == 0]
        assert len(old) <= self.owner["spec"]["revisionHistoryLimit"] + (replicas(self.owner) == 0)


World.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
