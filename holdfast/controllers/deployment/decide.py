"""The algorithm (upstream's syncDeployment, in its order): what to write next for one Deployment. Pure.

A template without a ReplicaSet gets one; a Deployment that is paused or was scaled only scales; otherwise the new ReplicaSet
grows and the old ones shrink, one direction in one pass, so that both bounds hold by what was seen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from holdfast.controllers.deployment import objects, scaling
from holdfast.controllers.deployment.status import Conditions, counts, is_complete
from holdfast.controllers.replicaset.decide import replicas
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta


@dataclass(frozen=True)
class CreateSet:
    made: Obj


@dataclass(frozen=True)
class UpdateSet:
    """``after`` carries the resourceVersion of ``before``."""

    before: Obj
    after: Obj


@dataclass(frozen=True)
class DeleteSet:
    """Nothing of it is left, and more history is there than wanted."""

    found: Obj


Intent = CreateSet | UpdateSet | DeleteSet


@dataclass
class Seen:
    """``busy``: uids of ReplicaSets of which pods run or may run, also such as are on their way out."""

    owner: Obj
    sets: Sequence[Obj]
    busy: Collection[str] = ()


@dataclass
class Plan:
    intents: list[Intent] = field(default_factory=list)
    status: Obj = field(default_factory=dict)
    revision: str = ""
    """For the Deployment's annotation; "" = leave it."""
    again_after: float = 0.0
    """Look again after so many seconds (the deadline); 0 = an event will tell."""


def decide(seen: Seen, now: float) -> Plan:
    return _Pass(seen, now).plan()


class _Pass:
    def __init__(self, seen: Seen, now: float) -> None:
        self.owner, self.busy = seen.owner, seen.busy
        self.new = objects.newest(seen.owner, seen.sets)
        self.old = [each for each in seen.sets if self.new is None or meta.uid(each) != meta.uid(self.new)]
        self.sets = [*self.old, *([self.new] if self.new is not None else [])]
        self.wanted = {meta.name(each): each for each in self.sets}
        """By name, as they shall be."""
        self.made: Obj | None = None
        self.conditions = Conditions(seen.owner, now)
        self.doomed: list[Obj] = []

    def plan(self) -> Plan:
        if meta.is_terminating(self.owner):
            return self._concluded(rollout=False)
        self.conditions.pause()
        self._follow()
        if self.owner["spec"].get("paused"):
            self._resize(scaling.sizes_when_scaled(self.owner, self.new, self.old))
            self.doomed = self._outdated()
            return self._concluded(rollout=False)
        if self._was_scaled():
            self._resize(scaling.sizes_when_scaled(self.owner, self.new, self.old))
            return self._concluded(rollout=False)
        if scaling.is_rolling(self.owner):
            self._roll()
        else:
            self._recreate()
        return self._concluded(rollout=True)

    def _follow(self) -> None:
        """The new ReplicaSet is the Deployment's last revision, whenever it was made."""
        if self.new is not None:
            self.wanted[meta.name(self.new)] = objects.following(self.owner, self.new, objects.revision_after(self.old))
            self.conditions.found(self.new)

    def _was_scaled(self) -> bool:
        known = [objects.desired(each) for each in objects.active(self.sets)]
        return any(number is not None and number != replicas(self.owner) for number in known)

    def _resize(self, sizes: scaling.Sizes) -> None:
        for name, size in sizes.items():
            self.wanted[name] = objects.sized(self.wanted[name], size, replicas(self.owner), scaling.most(self.owner))

    def _roll(self) -> None:
        if self.new is None:
            self._create()
            return
        size = scaling.size_of_new(self.owner, self.new, self.sets)
        if size != replicas(self.new):
            self._resize({meta.name(self.new): size})
            return
        self._resize(scaling.sizes_of_old(self.owner, self.new, self.old))

    def _recreate(self) -> None:
        """Nothing new before all that is old has ended."""
        active = objects.active(self.old)
        if active:
            self._resize({meta.name(each): 0 for each in active})
        elif objects.total(self.old, "replicas") or any(meta.uid(each) in self.busy for each in self.old):
            return
        elif self.new is None:
            self._create()
        elif replicas(self.new) != replicas(self.owner):
            self._resize({meta.name(self.new): replicas(self.owner)})

    def _create(self) -> None:
        bare = objects.build(self.owner)
        numbered = objects.following(self.owner, bare, objects.revision_after(self.old))
        size = scaling.size_of_new(self.owner, numbered, [*self.old, numbered])
        self.made = objects.sized(numbered, size, replicas(self.owner), scaling.most(self.owner))
        self.conditions.created(self.made)

    def _outdated(self) -> list[Obj]:
        """Whose pods are waited for is kept: nobody else knows of them."""
        return [each for each in objects.outdated(self.owner, self.old) if meta.uid(each) not in self.busy]

    def _concluded(self, *, rollout: bool) -> Plan:
        made = [self.made] if self.made is not None else []
        wanted = sum(map(replicas, [*self.wanted.values(), *made]))
        status = counts(self.owner, [*self.sets, *made], self.new, wanted)
        self.conditions.availability(status)
        again = 0.0
        if rollout:
            if self.made is None:
                self.conditions.progress(status, self.new)
            self.conditions.failures(self.sets, self.new)
            if is_complete(self.owner, status):
                self.doomed = self._outdated()
            overdue = self.conditions.overdue_in(status)
            again = max(overdue, 0.0) + 1 if overdue < float("inf") else 0.0
        if self.conditions.all:
            status["conditions"] = self.conditions.all
        return Plan(self._intents(), status, self._revision(), again)

    def _intents(self) -> list[Intent]:
        gone = {meta.name(each) for each in self.doomed}
        changed = [(each, self.wanted[meta.name(each)]) for each in objects.by_age(self.sets)]
        updates = [UpdateSet(before, after) for before, after in changed if after != before and meta.name(before) not in gone]
        made = [CreateSet(self.made)] if self.made is not None else []
        return [*made, *updates, *map(DeleteSet, self.doomed)]

    def _revision(self) -> str:
        latest = self.made or (self.wanted[meta.name(self.new)] if self.new is not None else None)
        return meta.annotations_of(latest).get(objects.REVISION, "") if latest is not None else ""
