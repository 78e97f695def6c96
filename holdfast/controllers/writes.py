"""A controller's own writes: it decides again when its picture shows them (SCEN-17), and sends many of a kind in growing batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from holdfast.client.informer import Informer
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

T = TypeVar("T")
LARGEST_BATCH = 128
MANY, MANY_SECONDS = 250, 0.005
"""Changes of members are gathered for so long for each so many members: looking at all takes a good part of that."""


class OwnWrites:
    """What was written by key to objects that ``informer`` follows."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self._written: dict[str, int] = {}
        self._deleted: dict[str, set[str]] = {}

    def wrote(self, key: str, answer: Obj) -> None:
        version = (answer.get("metadata") or {}).get("resourceVersion")
        if version:
            self._written[key] = max(self._written.get(key, 0), int(version))

    def deleted(self, key: str, uid: str) -> None:
        self._deleted.setdefault(key, set()).add(uid)

    def forget(self, key: str) -> None:
        self._written.pop(key, None)
        self._deleted.pop(key, None)

    def shown(self, key: str, present: Iterable[Obj] = ()) -> bool:
        """Whether the picture shows every write for this key. ``present``: what it shows of that owner's objects."""
        if int(self._informer.revision or 0) < self._written.get(key, 0):
            return False
        gone = self._deleted.get(key)
        if gone:
            gone &= {meta.uid(obj) for obj in present if not meta.is_terminating(obj)}
        return not gone


def growing(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """One, two, four ...: what fails for all fails for few."""
    done, size = 0, 1
    while done < len(items):
        yield items[done : done + size]
        done, size = done + size, min(2 * size, LARGEST_BATCH)


def gathering(members: int) -> float:
    """Seconds in which changes of so many members are gathered before all of them are looked through."""
    return members // MANY * MANY_SECONDS
