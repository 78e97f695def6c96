"""A controller's own writes: it decides again when its picture shows them (SCEN-17), and sends many of a kind in growing batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from holdfast.client.api import Client, find
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PODS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

T = TypeVar("T")
LARGEST_BATCH = 128
LATE_SECONDS = 1.0
"""Until it is looked again whether the picture shows our own writes: their events wake the key sooner."""
MANY, MANY_SECONDS = 250, 0.015
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


class Deletions:
    """Deletes pods by uid and tells of it on their owner; notes them in ``writes``."""

    def __init__(self, client: Client, recorder: EventRecorder, writes: OwnWrites) -> None:
        self._client = client
        self._recorder = recorder
        self._writes = writes

    async def delete(
        self, key: str, owner: Obj, pod: Obj, *, done: str = "", failed: str = "Error deleting", revision: str = ""
    ) -> None:
        """``done``: the event's text, "" = the usual one; ``failed`` goes before the refusal. ``revision``: only as it was then.

        Raises ApiError, but not for one that is gone or another of its name: the event of that brings us back.
        """
        try:
            await self._client.delete(PODS, meta.name(pod), meta.namespace(pod), uid=meta.uid(pod), resource_version=revision)
        except ApiError as error:
            if error.code in (404, 409):
                return
            self._recorder.event(owner, "Warning", "FailedDelete", f"{failed}: {error.message}")
            raise
        self._writes.deleted(key, pod)
        self._recorder.event(owner, "Normal", "SuccessfulDelete", done or f"Deleted pod: {meta.name(pod)}")


class Creations:
    """What was created by key, perhaps, and is not shown yet: where the picture stays silent the server is asked.

    For owners whose count of objects must never be wrong, not even when an event was lost on the way.
    """

    def __init__(self, client: Client, informer: Informer) -> None:
        self._client = client
        self._informer = informer
        self._made: dict[str, dict[str, str]] = {}

    def made(self, key: str, name: str, uid: str = "") -> None:
        """``uid`` "": it may or may not have happened, or is somebody else's of that name."""
        self._made.setdefault(key, {})[name] = uid

    def forget(self, key: str) -> None:
        self._made.pop(key, None)

    async def shown(self, key: str) -> bool:
        """Whether the picture shows each of them, or has shown all there was to show. Raises ApiError."""
        made, namespace = self._made.get(key, {}), meta.split_key(key)[0]
        for name, uid in [*made.items()]:
            seen = self._informer.get(name, namespace)
            if (seen is not None and uid in ("", meta.uid(seen))) or not await self._exists(name, namespace, uid):
                made.pop(name, None)
        return not made

    async def _exists(self, name: str, namespace: str, uid: str) -> bool:
        live = await find(self._client, self._informer.resource, name, namespace)
        return live is not None and uid in ("", meta.uid(live))


def growing(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """One, two, four ...: what fails for all fails for few."""
    done, size = 0, 1
    while done < len(items):
        yield items[done : done + size]
        done, size = done + size, min(2 * size, LARGEST_BATCH)


def gathering(members: int) -> float:
    """Seconds in which changes of so many members are gathered before all of them are looked through."""
    return members // MANY * MANY_SECONDS
