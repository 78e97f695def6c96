"""The members of a set by what ``decide`` asks of them: most are alike, so many are looked at as one.

A pod is read once in each of its forms (``Look``); counting a thousand Ready members of one revision is then a look at one group.
The controller keeps the roster of each set up as events come; everybody else makes one from a list of pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from holdfast.controllers.statefulset import objects
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta


class Look(NamedTuple):
    """All that is ever decided on about a pod, but for since when it is Ready and who it is."""

    phase: str
    ready: bool
    terminating: bool
    revision: str
    labelled: bool
    """Its identity labels are as they must be."""
    never: bool
    """Not Ready, and never was."""
    trouble: bool
    """Not Ready, and shows why."""

    @property
    def healthy(self) -> bool:
        """But for ``minReadySeconds``."""
        return self.ready and not self.terminating

    @property
    def ended(self) -> bool:
        return self.phase in ("Failed", "Succeeded")


def look_at(pod: Obj) -> Look:
    ready = objects.is_ready(pod)
    return Look(
        objects.phase(pod),
        ready,
        meta.is_terminating(pod),
        objects.revision_of(pod),
        objects.repaired(pod) is None,
        not ready and objects.never_ready(pod),
        not ready and objects.in_trouble(pod),
    )


class Roster:
    def __init__(self, pods: Iterable[Obj] = ()) -> None:
        self.pods: dict[int, Obj] = {}
        """By ordinal."""
        self.looks: dict[int, Look] = {}
        self.alike: dict[Look, set[int]] = {}
        for pod in pods:
            self.put(pod)

    def __len__(self) -> int:
        return len(self.pods)

    def put(self, pod: Obj) -> bool:
        """A new member, or a newer form of one. False when nothing about it is different that could be decided on."""
        number, look = objects.ordinal(pod), look_at(pod)
        if number < 0:
            return False
        before, seen = self.pods.get(number), self.looks.get(number)
        self.pods[number] = pod
        if look != seen:
            self._leave(number, seen)
            self.looks[number] = look
            self.alike.setdefault(look, set()).add(number)
            return True
        return before is None or meta.uid(before) != meta.uid(pod) or (look.ready and ready_since(before) != ready_since(pod))

    def drop(self, pod: Obj) -> None:
        """Unless another pod has its place by now."""
        number = objects.ordinal(pod)
        if number in self.pods and meta.uid(self.pods[number]) == meta.uid(pod):
            del self.pods[number]
            self._leave(number, self.looks.pop(number))

    def _leave(self, number: int, look: Look | None) -> None:
        if look is not None:
            group = self.alike[look]
            group.discard(number)
            if not group:
                del self.alike[look]

    def __iter__(self) -> Iterator[Obj]:
        return iter(self.pods.values())

    def groups(self) -> Iterator[tuple[Look, set[int]]]:
        return iter(self.alike.items())

    def names(self) -> set[str]:
        return {meta.name(pod) for pod in self.pods.values()}

    def revisions(self) -> set[str]:
        return {look.revision for look in self.alike}


def ready_since(pod: Obj) -> str:
    return str((meta.condition(pod, "Ready") or {}).get("lastTransitionTime") or "")


class Health:
    """Who of a roster is healthy now. ``settled`` are healthy members with which nothing is to be done for their own sake."""

    def __init__(self, owner: Obj, roster: Roster, now: float) -> None:
        self._owner, self._roster, self._now = owner, roster, now
        self.patience = int(owner["spec"].get("minReadySeconds") or 0)

    def of(self, number: int) -> bool:
        look = self._roster.looks.get(number)
        return look is not None and look.healthy and (not self.patience or self.available(number))

    def available(self, number: int) -> bool:
        """Of a Ready one: for long enough."""
        return not self.patience or objects.ready_for(self._roster.pods[number], self._now) >= self.patience

    def count_available(self, numbers: set[int]) -> int:
        return sum(map(self.available, numbers)) if self.patience else len(numbers)

    def some(self, revision: str | None = None, *, labelled: bool = False) -> set[int]:
        """Healthy members, of a revision, with their labels. Not to be changed: it may be the roster's own."""
        groups = [
            self._there(numbers)
            for look, numbers in self._roster.groups()
            if look.healthy and revision in (None, look.revision) and (look.labelled or not labelled)
        ]
        return groups[0] if len(groups) == 1 else set().union(*groups)

    def _there(self, numbers: set[int]) -> set[int]:
        return {number for number in numbers if self.available(number)} if self.patience else numbers

    def next_available(self) -> float:
        """Seconds until the next Ready member becomes available: no event tells of it, but status and order depend on it."""
        if not self.patience:
            return 0.0
        pods = [self._roster.pods[number] for look, numbers in self._roster.groups() if look.ready for number in numbers]
        left = [self.patience - objects.ready_for(pod, self._now) for pod in pods]
        return min((seconds + 0.1 for seconds in left if seconds > 0), default=0.0)
