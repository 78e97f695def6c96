"""The StatefulSet algorithm in a small world where pods become ready, fail, end and linger at random: its promises hold throughout."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.controllers.statefulset import decide as plans
from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.decide import Plan, Seen, decide
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

NOW = 1_800_000_000.0
STAMP = "2026-01-01T00:00:00Z"


def template(image: str) -> Obj:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


class World(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from(["OrderedReady", "Parallel"]), replicas=st.integers(0, 4), partition=st.integers(0, 3))
    def begin(self, policy: str, replicas: int, partition: int) -> None:
        spec: dict[str, Any] = {
            "replicas": replicas,
            "serviceName": "s",
            "selector": {"matchLabels": {"a": "b"}},
            "podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "template": template("i:0"),
            "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        }
        metadata = {"name": "web", "namespace": "ns", "uid": "set", "generation": 1}
        self.owner: Obj = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec, "status": {}}
        self.pods: dict[str, Obj] = {}
        self.claims: dict[str, Obj] = {}
        self.templates = {"r0": template("i:0")}
        self.current = self.update = "r0"
        self.made = 0

    @property
    def ordered(self) -> bool:
        return bool(self.owner["spec"]["podManagementPolicy"] == "OrderedReady")

    def well(self, ordinal: int) -> bool:
        pod = self.pods.get(f"web-{ordinal}")
        return pod is not None and not meta.is_terminating(pod) and meta.condition_true(pod, "Ready")

    # What the controller does

    def plan(self) -> Plan:
        seen = Seen(self.owner, list(self.pods.values()), self.claims, self.current, self.update, self.templates)
        before = copy.deepcopy((self.owner, self.pods, self.claims))
        plan = decide(seen, NOW)
        assert (self.owner, self.pods, self.claims) == before, "what was observed is not changed"
        return plan

    @rule()
    def sync(self) -> None:
        plan = self.plan()
        if self.ordered:
            moving = [i for i in plan.intents if isinstance(i, (plans.CreateMember, plans.DeleteMember))]
            assert len(moving) <= 1, "one member at a time"
        for intent in plan.intents:
            self.carry_out(intent)
        self.owner = {**self.owner, "status": plan.status}
        if plan.status.get("currentRevision") == self.update:
            self.current = self.update

    def carry_out(self, intent: plans.Intent) -> None:
        replicas = self.owner["spec"]["replicas"]
        if isinstance(intent, plans.CreateMember):
            name = meta.name(intent.pod)
            number = objects.ordinal(intent.pod)
            assert name not in self.pods, "never two pods of one name"
            assert number < replicas
            if self.ordered:
                assert all(self.well(n) for n in range(number)), "those before are ready"
            for claim in intent.claims:
                assert meta.name(claim) not in self.claims
                self.claims[meta.name(claim)] = {**claim, "metadata": {**claim["metadata"], "uid": f"claim-{self.made}"}}
            assert f"www-{name}" in self.claims
            self.made += 1
            pod = {**intent.pod, "metadata": {**intent.pod["metadata"], "uid": f"pod-{self.made}", "creationTimestamp": STAMP}}
            self.pods[name] = {**pod, "status": {"phase": "Pending", "conditions": []}}
        elif isinstance(intent, plans.DeleteMember):
            name, number = meta.name(intent.pod), objects.ordinal(intent.pod)
            failed = intent.pod["status"]["phase"] in ("Failed", "Succeeded")
            if number >= replicas and self.ordered:
                assert number == max(objects.ordinal(p) for p in self.pods.values()), "the last one goes first"
            if number < replicas and not failed:
                partition = self.owner["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
                assert number >= partition, "an update leaves those below the partition alone"
                assert objects.revision_of(intent.pod) != self.update
                newer = [p for p in self.pods.values() if number < objects.ordinal(p) < replicas]
                assert all(objects.revision_of(p) == self.update for p in newer), "from the last to the first"
            pod = self.pods[name]
            self.pods[name] = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": STAMP}}

    # What happens in the world

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), phase=st.sampled_from(["ready", "ready", "unready", "Failed", "gone", "killed"]))
    def change(self, data: st.DataObject, phase: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.pods)))
        self.set(name, phase)

    def set(self, name: str, phase: str) -> None:
        pod = self.pods[name]
        if phase == "killed":
            self.pods[name] = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": STAMP}}
        elif phase == "gone":
            if meta.is_terminating(pod):
                del self.pods[name]
        elif pod["status"]["phase"] not in ("Failed", "Succeeded"):
            ready = "True" if phase == "ready" else "False"
            conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": STAMP}]
            self.pods[name] = {**pod, "status": {"phase": "Failed" if phase == "Failed" else "Running", "conditions": conditions}}

    @rule(replicas=st.integers(0, 4))
    def scale(self, replicas: int) -> None:
        self.owner = {**self.owner, "spec": {**self.owner["spec"], "replicas": replicas}}

    @rule()
    def roll(self) -> None:
        revision = f"r{len(self.templates)}"
        self.templates[revision] = template(f"i:{len(self.templates)}")
        self.update = revision
        self.owner = {**self.owner, "spec": {**self.owner["spec"], "template": self.templates[revision]}}

    @invariant()
    def claims_stay(self) -> None:
        assert all(f"www-{name}" in self.claims for name in getattr(self, "pods", {}))

    def teardown(self) -> None:
        """When the world is kind the set becomes what was asked for, and then quiet."""
        if not hasattr(self, "owner"):
            return
        self.owner["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
        for _ in range(80):
            for name in [*self.pods]:
                self.set(name, "gone" if meta.is_terminating(self.pods[name]) else "ready")
            self.sync()
        names = {f"web-{n}" for n in range(self.owner["spec"]["replicas"])}
        assert set(self.pods) == names
        assert all(objects.revision_of(pod) == self.update for pod in self.pods.values())
        assert [i for i in self.plan().intents if not isinstance(i, plans.OwnClaim)] == []


World.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
