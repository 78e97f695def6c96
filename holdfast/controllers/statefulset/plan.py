"""What will be done to a set, step by step: ``decide`` run against a copy of what is there, in a world where all goes well. Pure.

What decide says is applied to the copy; when it says nothing more, the world moves on: members that are terminating go,
claims nobody owns any more are collected, members become Ready, time passes. It ends when nothing is left to happen.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

from holdfast.controllers.statefulset import decide as plans
from holdfast.controllers.statefulset import objects, options
from holdfast.controllers.statefulset.decide import Plan, Seen, decide
from holdfast.kinds.core.claims import claims_of
from holdfast.kinds.kind import Obj
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta

CREATE, DELETE, CLAIM, REPAIR, OWN, ROLL_BACK = "create", "delete", "claim", "repair", "own", "roll back"
GONE, READY, TIME, LOSE = "gone", "ready", "time", "lose"
"""The first line is what the controller does, the second what then happens in the world."""


@dataclass(frozen=True)
class Step:
    """``unavailable``: wanted members that are not available after it, of ``members``. ``detail``: a revision, or why."""

    action: str
    subject: str
    detail: str
    unavailable: int
    members: int


def steps(seen: Seen, now: float, limit: int = 100_000) -> Iterator[Step]:
    """Lazily; ``limit`` bounds a world that never comes to rest."""
    world = World(seen, now)
    for _ in range(limit):
        plan = world.decide()
        told = [*world.act(plan)] or [*world.move_on(plan)]
        if not told:
            return
        yield from told


class World:
    """The copy, and what happens in it."""

    def __init__(self, seen: Seen, now: float) -> None:
        self.claims = dict(seen.claims)
        self.seen = replace(seen, pods=[], claims=self.claims)
        self.pods = {meta.name(pod): pod for pod in seen.pods}
        self.now = now
        self._made = 0

    def decide(self) -> Plan:
        seen = self.seen
        seen.pods = [*self.pods.values()]
        plan = decide(seen, self.now)
        seen.owner = {**seen.owner, "status": plan.status}
        seen.current = plan.status["currentRevision"]
        return plan

    def _step(self, action: str, subject: str, detail: str = "") -> Step:
        owner = self.seen.owner
        start, count = objects.first_ordinal(owner), objects.replicas(owner)
        names = {objects.pod_name(owner, number) for number in range(start, start + count)}
        well = sum(objects.is_healthy(owner, pod, self.now) for name, pod in self.pods.items() if name in names)
        return Step(action, subject, detail, count - well, count)

    # What the controller does

    def act(self, plan: Plan) -> Iterator[Step]:
        for intent in plan.intents:
            match intent:
                case plans.CreateMember(pod, claims):
                    yield from self._create_claims(claims)
                    self.pods[meta.name(pod)] = self._new(pod, {"phase": "Pending"})
                    yield self._step(CREATE, f"pod/{meta.name(pod)}", objects.revision_of(pod))
                case plans.CreateClaims(_, claims):
                    yield from self._create_claims(claims)
                case plans.DeleteMember(pod, why):
                    metadata = {**pod["metadata"], "deletionTimestamp": rfc3339(self.now)}
                    self.pods[meta.name(pod)] = {**pod, "metadata": metadata}
                    yield self._step(DELETE, f"pod/{meta.name(pod)}", why)
                case plans.RepairMember(pod, patch):
                    labels = {**meta.labels_of(pod), **patch["metadata"]["labels"]}
                    self.pods[meta.name(pod)] = {**pod, "metadata": {**pod["metadata"], "labels": labels}}
                    yield self._step(REPAIR, f"pod/{meta.name(pod)}")
                case plans.OwnClaim(claim, owners):
                    self.claims[meta.name(claim)] = {**claim, "metadata": {**claim["metadata"], "ownerReferences": owners}}
                    yield self._step(OWN, f"pvc/{meta.name(claim)}", ", ".join(_short(o) for o in owners) or "nobody")
                case plans.RollBack():
                    yield self._roll_back(intent)

    def _new(self, obj: Obj, status: Obj) -> Obj:
        self._made += 1
        metadata = {**obj["metadata"], "uid": f"planned-{self._made}", "creationTimestamp": rfc3339(self.now)}
        return {**obj, "metadata": metadata, "status": status}

    def _create_claims(self, claims: list[Obj]) -> Iterator[Step]:
        for claim in claims:
            self.claims[meta.name(claim)] = self._new(claim, {"phase": "Pending"})
            yield self._step(CLAIM, f"pvc/{meta.name(claim)}")

    def _roll_back(self, to: plans.RollBack) -> Step:
        owner = copy.deepcopy(self.seen.owner)
        owner["spec"]["template"] = to.template
        owner["metadata"]["generation"] = int(owner["metadata"].get("generation") or 0) + 1
        owner["metadata"].setdefault("annotations", {})[options.ROLLED_BACK] = to.failed
        self.seen.owner, self.seen.update = owner, to.revision
        return self._step(ROLL_BACK, f"sts/{meta.name(owner)}", f"from {to.failed} to {to.revision}")

    # What happens in the world

    def move_on(self, plan: Plan) -> Iterator[Step]:
        """The next thing that happens when the controller waits."""
        going = [name for name, pod in self.pods.items() if meta.is_terminating(pod)]
        for name in going:
            del self.pods[name]
            yield self._step(GONE, f"pod/{name}")
        collected = [*self._collect()]
        yield from collected
        if going or collected:
            return
        late = [n for n, pod in self.pods.items() if not objects.is_ready(pod) and objects.phase(pod) not in ("Failed", "Succeeded")]
        for name in late:
            self.pods[name] = self._ready(self.pods[name])
            yield self._step(READY, f"pod/{name}")
        if not late and plan.again_after and plan.waits:
            self.now += plan.again_after
            yield self._step(TIME, f"sts/{meta.name(self.seen.owner)}", f"{plan.again_after:.0f}s")

    def _ready(self, pod: Obj) -> Obj:
        others = [c for c in (pod.get("status") or {}).get("conditions") or [] if c["type"] != "Ready"]
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(self.now)}
        return {**pod, "status": {**(pod.get("status") or {}), "phase": "Running", "conditions": [*others, ready]}}

    def _collect(self) -> Iterator[Step]:
        """The garbage collector and the end of a deletion: a claim goes when the last of its owners is gone, or its last user."""
        alive = {meta.uid(pod) for pod in self.pods.values()}
        used = {name for pod in self.pods.values() for name in claims_of(pod).values()}
        for name, claim in [*self.claims.items()]:
            owners = claim["metadata"].get("ownerReferences") or []
            forlorn = bool(owners) and all(o["kind"] == "Pod" and o["uid"] not in alive for o in owners)
            if (forlorn or meta.is_terminating(claim)) and name not in used and self._is_ours(claim):
                del self.claims[name]
                yield self._step(LOSE, f"pvc/{name}", str((claim.get("spec") or {}).get("volumeName") or ""))

    def _is_ours(self, claim: Obj) -> bool:
        owner = self.seen.owner
        numbers = meta.name(claim).rpartition("-")[2]
        return numbers.isdigit() and meta.name(claim) in {meta.name(c) for c in objects.build_claims(owner, int(numbers))}


def _short(owner: Obj) -> str:
    return f"{owner['kind']} {owner['name']}"
