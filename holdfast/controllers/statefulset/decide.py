"""The algorithm (upstream's updateStatefulSet, in its order): what to write next for one set. Pure.

Create and repair ascending, scale down descending, update descending; scaling goes before updating.
OrderedReady stops at the first member that is not as it should be; Parallel does not wait. Under Recreate all of an
older revision go first, at once, and nothing else is done until the last of them is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from holdfast.controllers.statefulset import conditions, objects, options, status, waits
from holdfast.controllers.statefulset.roster import Health, Look, Roster
from holdfast.controllers.statefulset.waits import Wait
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta


@dataclass(frozen=True)
class CreateMember:
    """Claims first (those that are missing), then the pod. ``after``: the member that must be well at that very moment."""

    pod: Obj
    claims: list[Obj]
    after: Obj | None = None


@dataclass(frozen=True)
class CreateClaims:
    """For a Pending pod whose claim went missing."""

    pod: Obj
    claims: list[Obj]


@dataclass(frozen=True)
class DeleteMember:
    """``after`` as in ``CreateMember``. ``as_seen``: only if nothing about the pod has changed since."""

    pod: Obj
    why: str
    after: Obj | None = None
    as_seen: bool = False


@dataclass(frozen=True)
class RepairMember:
    """``patch`` restores identity labels."""

    pod: Obj
    patch: Obj


@dataclass(frozen=True)
class OwnClaim:
    """Sets a claim's owner references as the retention policy says."""

    claim: Obj
    owners: list[Obj]


@dataclass(frozen=True)
class RollBack:
    """The template of the last complete revision goes back into the set's spec."""

    template: Obj
    revision: str
    failed: str


_STALE = 5.0
"""Seconds until a claim that belongs to a former member is looked at again, should it be kept and not deleted."""

Intent = CreateMember | CreateClaims | DeleteMember | RepairMember | OwnClaim | RollBack


@dataclass
class Seen:
    """What was observed: the set, its pods (claimed), all claims of the namespace by name, revisions."""

    owner: Obj
    pods: Iterable[Obj]
    """A ``Roster``, or any others: one is made of them."""
    claims: Mapping[str, Obj]
    current: str
    update: str
    templates: dict[str, Obj]
    """Pod template by revision name, at least of current and update, and of the last complete one if there still is one."""
    collisions: int = 0


@dataclass
class Plan:
    intents: list[Intent] = field(default_factory=list)
    status: Obj = field(default_factory=dict)
    recreating: bool = False
    """All members of an older revision are being deleted, for Recreate."""
    alone: bool = False
    """What is created must have no pod of another revision beside it, by a live read: Recreate promises that."""
    waits: list[Wait] = field(default_factory=list)
    """What it waits for, as far as this pass saw; the first is what holds it up."""
    again_after: float = 0.0
    """Look again after so many seconds (minReadySeconds); 0 = an event will tell."""


def decide(seen: Seen, now: float) -> Plan:
    plan = Plan()
    roster = seen.pods if isinstance(seen.pods, Roster) else Roster(seen.pods)
    health = Health(seen.owner, roster, now)
    plan.status = status.count(seen.owner, roster, health, seen.current, seen.update, seen.collisions)
    plan.again_after = health.next_available()
    if meta.is_terminating(seen.owner):
        plan.waits.append(waits.set_deleted(seen.owner))
    members = _Members(seen, roster, health, now, plan)
    if not meta.is_terminating(seen.owner):
        members.walk()
    members.conclude()
    return plan


class _Members:
    """Looks at those of whom something is to be done; whoever is as wanted is one of a group (``roster``)."""

    def __init__(self, seen: Seen, roster: Roster, health: Health, now: float, plan: Plan) -> None:
        self.seen, self.roster, self.health, self.now, self.plan = seen, roster, health, now, plan
        owner = self.owner = seen.owner
        spec = owner["spec"]
        start, count = objects.first_ordinal(owner), objects.replicas(owner)
        self.range = range(start, start + count)
        self.options = options.of(owner)
        self.ordered = spec.get("podManagementPolicy") != "Parallel"
        self.strategy = spec.get("updateStrategy") or {}
        self.kind = self.strategy.get("type", "RollingUpdate")
        self.clearing = False
        self.pods = roster.pods
        self.condemned = sorted((number for number in self.pods if number not in self.range), reverse=True)

    def walk(self) -> None:
        if self.kind == "Recreate" and self._clear():
            return
        if self._create_and_repair() and self._scale_down():
            self._update()
        self.plan.alone = self.kind == "Recreate" and any(isinstance(intent, CreateMember) for intent in self.plan.intents)

    def conclude(self) -> None:
        """The conditions, from all that was seen; and what follows from a deadline that has passed."""
        plan, opted = self.plan, self.options
        situation = conditions.Situation(self.owner, plan.status, self._left(), plan.waits, opted, self.now, self.clearing)
        plan.status["conditions"] = conditions.of(situation)
        overdue = situation.overdue_in
        if 0 < overdue < float("inf"):
            plan.again_after = min(plan.again_after or overdue, overdue)
        good = conditions.last_complete(self.owner, situation)
        wanted = opted.rollback and good not in (self.seen.update, "") and opted.rolled_back_from != self.seen.update
        if not overdue and wanted and good in self.seen.templates and not meta.is_terminating(self.owner):
            plan.intents = [RollBack(self.seen.templates[good], good, self.seen.update)]

    def _left(self) -> int:
        """Members that are not yet as they should be, and those that are too many."""
        partition = int((self.strategy.get("rollingUpdate") or {}).get("partition") or 0)
        if self.kind == "OnDelete":
            partition = len(self.range)
        well = self._wanted(self.health.some(self.seen.update))
        if partition:
            others = self.health.some() - self.health.some(self.seen.update)
            well += sum(number in self.range[:partition] for number in others)
        return len(self.range) - well + len(self.condemned)

    def _wanted(self, numbers: set[int]) -> int:
        """How many of them are in the range."""
        return sum(number in self.range for number in numbers) if self.condemned else len(numbers)

    def _wait(self, wait: Wait) -> bool:
        self.plan.waits.append(wait)
        return False

    def _revision_for(self, number: int) -> str:
        """Below the partition (or, without rolling settings, among the current ones) members stay on the old revision."""
        index = number - self.range.start
        rolling = self.strategy.get("rollingUpdate")
        if self.kind in ("OnDelete", "Recreate"):
            return self.seen.update
        if rolling is None:
            # Recounted, not the stored status: that still counts a member which vanished since, and the
            # old revision would be created again, only to be deleted again, for ever.
            kept = int(self.plan.status.get("currentReplicas") or 0)
            return self.seen.current if index < kept else self.seen.update
        return self.seen.current if index < int(rolling.get("partition") or 0) else self.seen.update

    # Recreate: who is of an old revision, whatever their state

    def _clear(self) -> bool:
        """Deletes all of them at once, those out of range too; True until the last is gone."""
        found = {n for look, numbers in self.roster.groups() if look.revision != self.seen.update for n in numbers}
        old = [*(number for number in self.range if number in found), *(number for number in self.condemned if number in found)]
        for number in old:
            pod = self.pods[number]
            if meta.is_terminating(pod):
                self._wait(waits.outdated_going(pod))
                continue
            # As ever: first whose claims go with the pod is settled, then the pod goes.
            self._own_claims(number, pod, condemned=number not in self.range)
            self.plan.intents.append(DeleteMember(pod, "it is of an older revision (Recreate)"))
            self._wait(waits.outdated_going(pod))
            self.plan.recreating = True
        self.clearing = bool(old)
        return self.clearing

    # 5. ascending: each member there, alive and well

    def _create_and_repair(self) -> bool:
        settled = self.health.some(labelled=True)
        owned = not self.owner["spec"].get("volumeClaimTemplates")
        for number in self.range:
            if number in settled:
                if not owned:
                    self._own_claims(number, self.pods[number], condemned=False)
            elif not self._member(number, self.pods.get(number)) and self.ordered:
                return False
        # In parallel an unfinished member holds back neither its siblings nor scaling down.
        return True

    def _member(self, number: int, pod: Obj | None) -> bool:
        if pod is None:
            return self._create(number, objects.pod_name(self.owner, number))
        look = self.roster.looks[number]
        if look.terminating:
            return self._wait(waits.terminating(pod))
        if look.ended:
            self.plan.intents.append(DeleteMember(pod, f"it has {look.phase.lower()}"))
            return self._wait(waits.ended(pod))
        if look.phase == "Pending" and (missing := self._missing_claims(number)):
            self.plan.intents.append(CreateClaims(pod, missing))
        patch = None if look.labelled else objects.repaired(pod)
        if patch is not None:
            self.plan.intents.append(RepairMember(pod, patch))
        self._own_claims(number, pod, condemned=False)
        if not look.ready:
            return self._not_ready(number, pod, look)
        if not self.health.available(number):
            return self._wait(waits.not_available(pod, self.health.patience))
        return True

    def _not_ready(self, number: int, pod: Obj, look: Look) -> bool:
        """Opted in, a member of an older revision that never was Ready is replaced here: the update would never get to it."""
        wanted = self._revision_for(number)
        if not self.ordered or look.revision == wanted or self.kind == "OnDelete":
            return self._wait(waits.not_ready(pod))
        if self.options.unstick and (look.never or look.revision == self.options.rolled_back_from):
            self.plan.intents.append(DeleteMember(pod, "it is of an older revision and never became Ready", as_seen=True))
            return self._wait(waits.replacing(pod, wanted))
        return self._wait(waits.stuck(pod) if look.never and look.trouble else waits.not_ready(pod))

    def _create(self, number: int, name: str) -> bool:
        dying = [c for c in self._claims(number) if c and meta.is_terminating(c)]
        if dying:
            return self._wait(waits.claim_terminating(name, dying[0]))
        stale = [c for c in self._claims(number) if c and self._is_stale(c, name)]
        if stale:
            self.plan.again_after = self.plan.again_after or _STALE
            return self._wait(waits.claim_stale(name, stale[0]))
        revision = self._revision_for(number)
        template = self.seen.templates[revision]
        pod = objects.build_pod(self.owner, template, revision, number)
        self.plan.intents.append(CreateMember(pod, self._missing_claims(number), self._beside(number - 1)))
        return self._wait(waits.creating(name))

    def _beside(self, number: int) -> Obj | None:
        """A neighbour whose health a step rests on, under OrderedReady."""
        return self.pods.get(number) if self.ordered and number in self.range else None

    def _claims(self, number: int) -> list[Obj | None]:
        return [self.seen.claims.get(name) for name in objects.claim_names(self.owner, number)]

    def _is_stale(self, claim: Obj, name: str) -> bool:
        """Owned by the former pod of that name: the garbage collector is about to delete it, whatever the policy is now."""
        return any(r["kind"] == "Pod" and r["name"] == name for r in claim["metadata"].get("ownerReferences") or [])

    def _missing_claims(self, number: int) -> list[Obj]:
        if all(name in self.seen.claims for name in objects.claim_names(self.owner, number)):
            return []
        claims = [c for c in objects.build_claims(self.owner, number) if meta.name(c) not in self.seen.claims]
        for claim in claims:
            owners = self._owners(None, None)
            if owners:
                claim["metadata"]["ownerReferences"] = owners
        return claims

    # Retention of claims: only ever by owner references, which the garbage collector acts on.

    def _owners(self, claim: Obj | None, pod: Obj | None) -> list[Obj]:
        """Owner references a claim should have; ``pod`` is given when it is condemned."""
        policy = self.owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        ours = (meta.uid(self.owner), "Pod", "StatefulSet")
        kept = [
            r
            for r in ((claim or {}).get("metadata", {}).get("ownerReferences") or [])
            if r["uid"] != ours[0] and not (r["kind"] == "Pod" and r["name"] in self._names)
        ]
        if pod is not None and policy.get("whenScaled") == "Delete":
            return [*kept, meta.owner_reference(pod, block=False)]
        if policy.get("whenDeleted") == "Delete":
            return [*kept, meta.owner_reference(self.owner, block=False)]
        return kept

    @cached_property
    def _names(self) -> set[str]:
        return self.roster.names()

    def _own_claims(self, number: int, pod: Obj, *, condemned: bool) -> None:
        for claim in self._claims(number):
            if claim is None or meta.is_terminating(claim):
                continue
            before = claim["metadata"].get("ownerReferences") or []
            if any(r.get("controller") and r["uid"] not in (meta.uid(self.owner), meta.uid(pod)) for r in before):
                continue
            owners = self._owners(claim, pod if condemned else None)
            if owners != before:
                self.plan.intents.append(OwnClaim(claim, owners))

    # 6. descending: who is too many

    def _scale_down(self) -> bool:
        if not self.condemned:
            return True
        sick = sorted(self.pods.keys() - self.health.some(), key=lambda number: (number not in self.range, number))
        for number in self.condemned:
            pod = self.pods[number]
            self._own_claims(number, pod, condemned=True)
            if meta.is_terminating(pod):
                self._wait(waits.terminating(pod))
                if self.ordered:
                    return False
                continue
            if self.ordered and not self.health.of(number) and number != sick[0]:
                return self._wait(waits.scale_down_blocked(pod, self.pods[sick[0]]))
            self.plan.intents.append(DeleteMember(pod, "the set was scaled down"))
            self._wait(waits.scaling_down(pod))
            if self.ordered:
                return False
        return True

    # 8. descending: who is of an old revision

    def _update(self) -> None:
        if self.kind == "Recreate":
            return  # done before anything else
        if self.kind == "OnDelete":
            old = [n for look, numbers in self.roster.groups() if look.revision != self.seen.update for n in numbers]
            self.plan.waits += [waits.on_delete(self.pods[number]) for number in sorted(old) if number in self.range]
            return
        rolling = self.strategy.get("rollingUpdate") or {}
        partition = int(rolling.get("partition") or 0)
        if rolling.get("maxUnavailable") is not None:
            self._update_many(partition, objects.at_most(rolling["maxUnavailable"], len(self.range)))
            return
        done = self.health.some(self.seen.update)
        number = next((number for number in reversed(self.range[partition:]) if number not in done), None)
        pod = None if number is None else self.pods.get(number)
        if number is None or pod is None or self.roster.looks[number].ended:
            return  # being replaced already
        if objects.revision_of(pod) != self.seen.update and not meta.is_terminating(pod):
            self.plan.intents.append(DeleteMember(pod, "it is of an older revision", self._beside(number + 1)))
            self._wait(waits.replacing(pod, self.seen.update))
        else:
            self._wait(waits.update_blocked(pod))

    def _update_many(self, partition: int, most: int) -> None:
        """With maxUnavailable: as many as the budget allows. Who is unavailable already costs nothing more, so goes first."""
        budget = most - (len(self.range) - self._wanted(self.health.some()))
        replaceable = [
            number
            for look, numbers in self.roster.groups()
            if look.revision != self.seen.update and not look.terminating and not look.ended
            for number in numbers
            if number in self.range[partition:]
        ]
        old = sorted(replaceable, reverse=True)
        broken = [number for number in old if not self.health.of(number)]
        for number in [*broken, *[number for number in old if self.health.of(number)][: max(budget, 0)]]:
            self.plan.intents.append(DeleteMember(self.pods[number], "it is of an older revision"))
            self._wait(waits.replacing(self.pods[number], self.seen.update))
        if old:
            self._wait(waits.over_budget(self.owner, most - budget, most))
