"""The store: a revisioned key-value log, the only place where something is remembered.

Every write takes the next revision, a counter that is persisted, strictly grows and is never reused
(HAZ-1). Values are opaque bytes without their resourceVersion: the revision of a record *is* its
resourceVersion (DESIGN rule 7). Compare-and-swap happens inside the store's own transaction. Watches
are fed only from what was committed (HAZ-6). Backends: ``store.sqlite`` and ``store.memory``, held to
the same suite (``tests/conformance/store``); ``store.open_store(url)`` picks one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """A key's live or historic state. ``revision`` is that of its last write."""

    key: str
    value: bytes
    revision: int
    created: int
    """Revision at which this incarnation of the key was created."""


class Change(NamedTuple):
    """One committed write. ``record`` is the new state; for a delete it is the last value at the delete's revision."""

    type: str  # "create", "update" or "delete"
    record: Record

    @property
    def revision(self) -> int:
        return self.record.revision


@dataclass(frozen=True, slots=True)
class Page:
    """A listing at one ``revision``, ordered by key. ``remaining`` counts records behind the page."""

    records: list[Record]
    revision: int
    remaining: int = 0


class KeyExistsError(Exception):
    """The key exists already."""


class StoreFullError(Exception):
    """The disk has no room: this write did not happen, and nothing else is lost. Reads go on; writes do when there is room."""


class MismatchError(Exception):
    """The key is not at the expected revision; ``current`` is its live record, None when absent."""

    def __init__(self, current: Record | None) -> None:
        super().__init__("the record is not at the expected revision")
        self.current = current


class CompactedError(Exception):
    """The asked revision was compacted away; ``oldest`` is the oldest one that is still there."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"revisions below {oldest} are compacted")
        self.oldest = oldest


class FutureRevisionError(Exception):
    """The asked revision has not happened yet; ``current`` is the newest."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the newest revision is {current}")
        self.current = current


class Store(Protocol):
    """All methods belong to one event loop. A write that returned is durable; a cancelled write has an unknown outcome."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def revision(self) -> int:
        """The newest committed revision."""

    async def get(self, key: str, revision: int = 0) -> Record | None:
        """The record now (0) or as of ``revision``. Raises CompactedError, FutureRevisionError."""

    async def create(self, key: str, value: bytes) -> int:
        """Returns the new revision. Raises KeyExistsError."""

    async def update(self, key: str, value: bytes, expected: int) -> int:
        """Replaces the record at revision ``expected``. Returns the new revision. Raises MismatchError."""

    async def delete(self, key: str, expected: int, value: bytes | None = None) -> int:
        """Deletes the record at ``expected``; ``value`` is what watchers are shown as its last state. Raises MismatchError."""

    def watch(self, prefix: str, after: int) -> AsyncIterator[list[Change]]:
        """Committed changes with revision > ``after``, in order, once each, in batches that never split a revision.

        Raises CompactedError (at once, or later when the reader fell behind a compaction).
        """

    async def history(self, prefix: str, after: int, limit: int) -> list[tuple[Change, Record | None]]:
        """At most ``limit`` changes after ``after``, each with the record before it (None for a create). Raises CompactedError."""

    async def compact(self, revision: int) -> None:
        """Forgets history at and below ``revision`` (live records stay)."""

    @property
    def compacted(self) -> int:
        """Highest compacted revision (0 = none)."""

    def statistics(self) -> Mapping[str, float]: ...

    async def list(self, prefix: str, *, revision: int = 0, after: str = "", limit: int = 0) -> Page:
        """Records whose key begins with ``prefix``, keys > ``after``, at most ``limit`` (0 = all), at one revision."""
