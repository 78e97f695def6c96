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
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

START = 1_800_000_000.0
STAMP = "2026-01-01T00:00:00Z"
RETENTION = st.fixed_dictionaries({k: st.sampled_from(["Retain", "Delete"]) for k in ("whenScaled", "whenDeleted")})
PARTITION = st.none() | st.integers(0, 3)
"""None: a rolling update without settings of its own."""


def template(image: str) -> Obj:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


RECREATE: Obj = {"type": "Recreate"}


def rolling(partition: int | None) -> Obj:
    return {"type": "RollingUpdate"} if partition is None else {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}


class World(RuleBasedStateMachine):
    @initialize(
        policy=st.sampled_from(["OrderedReady", "Parallel"]),
        replicas=st.integers(0, 4),
        partition=PARTITION,
        start=st.integers(0, 2),
        patience=st.sampled_from([0, 0, 10]),
        retention=RETENTION,
    )
    def begin(self, policy: str, replicas: int, partition: int | None, start: int, patience: int, retention: Obj) -> None:
        spec: dict[str, Any] = {
            "replicas": replicas,
            "ordinals": {"start": start},
            "serviceName": "s",
            "selector": {"matchLabels": {"a": "b"}},
            "podManagementPolicy": policy,
            "minReadySeconds": patience,
            "updateStrategy": rolling(partition),
            "persistentVolumeClaimRetentionPolicy": retention,
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
        self.now = START
        self.ever_delete = retention["whenScaled"] == "Delete"

    @property
    def ordered(self) -> bool:
        return bool(self.owner["spec"]["podManagementPolicy"] == "OrderedReady")

    @property
    def recreates(self) -> bool:
        return bool(self.owner["spec"]["updateStrategy"]["type"] == "Recreate")

    @property
    def range(self) -> range:
        start = objects.first_ordinal(self.owner)
        return range(start, start + objects.replicas(self.owner))

    def well(self, ordinal: int) -> bool:
        pod = self.pods.get(f"web-{ordinal}")
        return pod is not None and objects.is_healthy(self.owner, pod, self.now)

    def modify(self, **spec: Any) -> None:
        self.owner = {**self.owner, "spec": {**self.owner["spec"], **spec}}

    # What the controller does

    def plan(self) -> Plan:
        seen = Seen(self.owner, list(self.pods.values()), self.claims, self.current, self.update, self.templates)
        before = copy.deepcopy((self.owner, self.pods, self.claims))
        plan = decide(seen, self.now)
        assert (self.owner, self.pods, self.claims) == before, "what was observed is not changed"
        return plan

    @rule()
    def sync(self) -> None:
        self.step()

    def step(self) -> Plan:
        plan = self.plan()
        moving = [meta.name(i.pod) for i in plan.intents if isinstance(i, (plans.CreateMember, plans.DeleteMember))]
        assert len(moving) == len(set(moving)), "nothing is done twice"
        settings_ = self.owner["spec"]["updateStrategy"].get("rollingUpdate") or {}
        several = "maxUnavailable" in settings_ or plan.recreating
        assert len(moving) <= 1 or not self.ordered or several, "one member at a time"
        if "maxUnavailable" in settings_ and self.ordered:
            most = objects.at_most(settings_["maxUnavailable"], len(self.range))
            assert len(moving) <= most, "no more at a time than may be unavailable"
        for intent in plan.intents:
            self.carry_out(intent)
        self.owner = {**self.owner, "status": plan.status}
        if plan.status.get("currentRevision") == self.update:
            self.current = self.update
        return plan

    def carry_out(self, intent: plans.Intent) -> None:
        match intent:
            case plans.CreateMember(pod, claims):
                self.create(pod, claims)
            case plans.CreateClaims(_, claims):
                self.create_claims(claims)
            case plans.DeleteMember(pod, _):
                self.delete(pod)
            case plans.OwnClaim(claim, owners):
                self.own(claim, owners)
            case plans.RepairMember(pod, _):
                raise AssertionError(f"{meta.name(pod)} was never damaged")

    def create(self, made: Obj, claims: list[Obj]) -> None:
        name, number = meta.name(made), objects.ordinal(made)
        assert name not in self.pods, "never two pods of one name"
        assert number in self.range
        if self.recreates:
            assert all(objects.revision_of(pod) == self.update for pod in [made, *self.pods.values()]), "never two revisions"
        if self.ordered:
            assert all(self.well(n) for n in range(self.range.start, number)), "those before are ready"
        self.create_claims(claims)
        assert f"www-{name}" in self.claims, "the claim comes first"
        self.made += 1
        metadata = {**made["metadata"], "uid": f"pod-{self.made}", "creationTimestamp": STAMP}
        self.pods[name] = {**made, "metadata": metadata, "status": {"phase": "Pending", "conditions": []}}

    def create_claims(self, claims: list[Obj]) -> None:
        for claim in claims:
            assert meta.name(claim) not in self.claims
            self.made += 1
            self.claims[meta.name(claim)] = {**claim, "metadata": {**claim["metadata"], "uid": f"claim-{self.made}"}}

    def delete(self, pod: Obj) -> None:
        number = objects.ordinal(pod)
        assert not meta.is_terminating(pod), "it is going already"
        if self.recreates and objects.revision_of(pod) != self.update:
            self.ends(pod)
            return
        outside = [objects.ordinal(p) for p in self.pods.values() if objects.ordinal(p) not in self.range]
        if number not in self.range and self.ordered:
            assert number == max(outside), "the last one goes first"
        if number in self.range and pod["status"]["phase"] != "Failed":
            settings_ = self.owner["spec"]["updateStrategy"].get("rollingUpdate") or {"partition": 0}
            assert number - self.range.start >= settings_["partition"], "an update leaves those below the partition alone"
            assert objects.revision_of(pod) != self.update
            assert not self.recreates
            assert not (outside and self.ordered), "scaling goes before updating"
            newer = [p for p in self.pods.values() if objects.ordinal(p) in self.range and objects.ordinal(p) > number]
            done = [objects.revision_of(p) == self.update or meta.is_terminating(p) for p in newer]
            assert all(done) or ("maxUnavailable" in settings_ and not self.well(number)), "from the last to the first"
        self.ends(pod)

    def ends(self, pod: Obj) -> None:
        name = meta.name(pod)
        self.pods[name] = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": STAMP}}

    def own(self, claim: Obj, owners: list[Obj]) -> None:
        policy = self.owner["spec"]["persistentVolumeClaimRetentionPolicy"]
        if policy["whenScaled"] == "Retain":
            assert all(r["kind"] != "Pod" for r in owners)
        if policy["whenDeleted"] == "Retain":
            assert all(r["kind"] != "StatefulSet" for r in owners)
        for reference in owners:
            if reference["kind"] == "Pod":
                assert objects.ordinal({"metadata": reference}) not in self.range, "only who is scaled away takes its claim along"
        self.claims[meta.name(claim)] = {**claim, "metadata": {**claim["metadata"], "ownerReferences": owners}}

    # What happens in the world

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), event=st.sampled_from(["ready", "ready", "unready", "Failed", "gone", "killed", "vanished"]))
    def change(self, data: st.DataObject, event: str) -> None:
        self.set(data.draw(st.sampled_from(sorted(self.pods))), event)

    def set(self, name: str, event: str) -> None:
        pod = self.pods[name]
        if event == "killed":
            self.pods[name] = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": STAMP}}
        elif event == "vanished" or (event == "gone" and meta.is_terminating(pod)):
            del self.pods[name]
        elif event in ("ready", "unready", "Failed") and pod["status"]["phase"] != "Failed":
            ready = "True" if event == "ready" else "False"
            before = meta.condition(pod, "Ready")
            since = before["lastTransitionTime"] if before and before["status"] == ready else rfc3339(self.now)
            conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": since}]
            self.pods[name] = {**pod, "status": {"phase": "Failed" if event == "Failed" else "Running", "conditions": conditions}}

    @rule(rounds=st.integers(2, 12))
    def good_times(self, rounds: int) -> None:
        for _ in range(rounds):
            self.kindly()
            self.now += 5
            self.step()

    def kindly(self) -> None:
        for name in [*self.pods]:
            self.set(name, "gone" if meta.is_terminating(self.pods[name]) else "ready")

    @rule(seconds=st.sampled_from([1, 5, 20]))
    def time_goes_by(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def collect(self) -> None:
        """The garbage collector: a claim goes with the last of its owners."""
        alive = {"set", *(meta.uid(pod) for pod in self.pods.values())}
        for name, claim in [*self.claims.items()]:
            owners = claim["metadata"].get("ownerReferences") or []
            if owners and not any(r["uid"] in alive for r in owners):
                assert self.ever_delete, "with Retain no claim is ever lost"
                assert name.removeprefix("www-") not in self.pods, "no member loses the claim under its feet"
                del self.claims[name]

    @rule(replicas=st.integers(0, 4))
    def scale(self, replicas: int) -> None:
        self.modify(replicas=replicas)

    @rule(start=st.integers(0, 2))
    def move(self, start: int) -> None:
        self.modify(ordinals={"start": start})

    @rule(retention=RETENTION)
    def retain(self, retention: Obj) -> None:
        self.ever_delete = self.ever_delete or retention["whenScaled"] == "Delete"
        self.modify(persistentVolumeClaimRetentionPolicy=retention)

    @rule(partition=PARTITION, most=st.sampled_from([None, 1, 3, "60%"]))
    def strategy(self, partition: int | None, most: int | str | None) -> None:
        strategy = rolling(partition)
        if partition is not None and most is not None:
            strategy["rollingUpdate"]["maxUnavailable"] = most
        self.modify(updateStrategy=strategy)

    @rule()
    def recreate(self) -> None:
        self.modify(updateStrategy=RECREATE)

    @rule(back=st.booleans())
    def roll(self, back: bool) -> None:
        revision = self.current if back else f"r{len(self.templates)}"
        self.templates.setdefault(revision, template(f"i:{len(self.templates)}"))
        self.update = revision
        self.modify(template=self.templates[revision])

    @invariant()
    def claims_stay(self) -> None:
        assert all(f"www-{name}" in self.claims for name in getattr(self, "pods", {}))

    def teardown(self) -> None:
        """When the world is kind the set becomes what was asked for, and then quiet; no wait is without an event or a time."""
        if not hasattr(self, "owner"):
            return
        if settings_ := self.owner["spec"]["updateStrategy"].get("rollingUpdate"):
            self.modify(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {**settings_, "partition": 0}})
        for _ in range(200):
            before = copy.deepcopy((self.owner, self.pods, self.claims))
            self.kindly()
            self.collect()
            plan = self.step()
            if (self.owner, self.pods, self.claims) == before:
                if not plan.again_after:
                    break
                self.now += plan.again_after
        else:
            raise AssertionError("it never comes to rest")
        assert set(self.pods) == {f"web-{n}" for n in self.range}
        assert all(objects.revision_of(pod) == self.update for pod in self.pods.values())
        assert plan.intents == []
        assert plan.waits == []
        assert plan.status["availableReplicas"] == objects.replicas(self.owner)
        if self.range:
            assert plan.status["currentRevision"] == self.update


World.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
