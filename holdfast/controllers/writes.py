"""A controller's own writes: it decides again when its picture shows them (SCEN-17), and sends many of a kind in growing batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        self._deleted: dict[str, dict[str, Obj]] = {}
        """By key, and then by uid: what was deleted and is not yet seen to be."""

    def wrote(self, key: str, answer: Obj) -> None:
        version = (answer.get("metadata") or {}).get("resourceVersion")
        if version:
            self._written[key] = max(self._written.get(key, 0), int(version))

    def deleted(self, key: str, obj: Obj) -> None:
        self._deleted.setdefault(key, {})[meta.uid(obj)] = obj

    def forget(self, key: str) -> None:
        self._written.pop(key, None)
        self._deleted.pop(key, None)

    def shown(self, key: str) -> bool:
        """Whether the picture shows every write for this key."""
        if int(self._informer.revision or 0) < self._written.get(key, 0):
            return False
        gone = self._deleted.get(key)
        for uid, obj in [*gone.items()] if gone else ():
            there = self._informer.get(meta.name(obj), meta.namespace(obj))
            if gone and (there is None or meta.uid(there) != uid or meta.is_terminating(there)):
                del gone[uid]
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
