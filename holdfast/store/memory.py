"""The store in memory: for tests and simulations. Same rules as SQLite, nothing survives the process."""

from __future__ import annotations

import bisect
import builtins
from collections.abc import AsyncIterator, Mapping

from holdfast.store.api import (
    Change,
    CompactedError,
    FutureRevisionError,
    KeyExistsError,
    MismatchError,
    Page,
    Record,
)
from holdfast.store.watch import Hub


class MemoryStore:
    def __init__(self) -> None:
        self._live: dict[str, Record] = {}
        self._keys: list[str] = []
        self._changes: list[tuple[Change, Record | None]] = []
        self._hub = Hub(self._read_changes)
        self._revision = 0
        self._compacted = 0

    def take(self, other: MemoryStore) -> None:
        """Begins with the content and history of another one."""
        self._live, self._keys, self._changes = dict(other._live), [*other._keys], [*other._changes]
        self._revision, self._compacted = other._revision, other._compacted

    async def start(self) -> None:
        return

    async def close(self) -> None:
        self._hub.close()

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def compacted(self) -> int:
        return self._compacted

    async def get(self, key: str, revision: int = 0) -> Record | None:
        self._check(revision)
        if not revision:
            return self._live.get(key)
        return self._at(revision).get(key)

    async def create(self, key: str, value: bytes) -> int:
        if key in self._live:
            raise KeyExistsError(key)
        revision = self._revision + 1
        record = Record(key, value, revision, revision)
        bisect.insort(self._keys, key)
        return self._commit(Change("create", record), None)

    async def update(self, key: str, value: bytes, expected: int) -> int:
        old = self._expect(key, expected)
        record = Record(key, value, self._revision + 1, old.created)
        return self._commit(Change("update", record), old)

    async def delete(self, key: str, expected: int, value: bytes | None = None) -> int:
        old = self._expect(key, expected)
        record = Record(key, old.value if value is None else value, self._revision + 1, old.created)
        del self._keys[bisect.bisect_left(self._keys, key)]
        return self._commit(Change("delete", record), old)

    def watch(self, prefix: str, after: int) -> AsyncIterator[list[Change]]:
        return self._hub.watch(prefix, after)

    async def compact(self, revision: int) -> None:
        self._compacted = max(self._compacted, min(revision, self._revision))

    def statistics(self) -> Mapping[str, float]:
        return {"records": len(self._live), "changes": len(self._changes), "watchers": len(self._hub), "revision": self._revision}

    async def list(self, prefix: str, *, revision: int = 0, after: str = "", limit: int = 0) -> Page:
        self._check(revision)
        if revision and revision < self._revision:
            state = self._at(revision)
            keys = sorted(key for key in state if key.startswith(prefix) and key > after)
        else:
            state = self._live
            begin = bisect.bisect_right(self._keys, after) if after > prefix else bisect.bisect_left(self._keys, prefix)
            keys = []
            for key in self._keys[begin:]:
                if not key.startswith(prefix):
                    break
                keys.append(key)
        page = keys[:limit] if limit else keys
        return Page([state[key] for key in page], revision or self._revision, len(keys) - len(page))

    def _check(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevisionError(self._revision)
        if revision and revision < self._compacted:
            raise CompactedError(self._compacted)

    def _expect(self, key: str, expected: int) -> Record:
        current = self._live.get(key)
        if current is None or current.revision != expected:
            raise MismatchError(current)
        return current

    def _commit(self, change: Change, previous: Record | None) -> int:
        self._revision = change.revision
        self._changes.append((change, previous))
        if change.type == "delete":
            del self._live[change.record.key]
        else:
            self._live[change.record.key] = change.record
        self._hub.publish([change], self._revision)
        return self._revision

    def _at(self, revision: int) -> dict[str, Record]:
        """The whole state as of a revision, from the log (the log keeps everything; compaction only forbids)."""
        state: dict[str, Record] = {}
        for change, _ in self._changes[:revision]:
            if change.type == "delete":
                state.pop(change.record.key, None)
            else:
                state[change.record.key] = change.record
        return state

    async def _read_changes(self, prefix: str, after: int, limit: int) -> builtins.list[Change]:
        return [change for change, _ in await self.history(prefix, after, limit)]

    async def history(self, prefix: str, after: int, limit: int) -> builtins.list[tuple[Change, Record | None]]:
        if after < self._compacted:
            raise CompactedError(self._compacted)
        found = []
        for entry in self._changes[after:]:
            if entry[0].record.key.startswith(prefix):
                found.append(entry)
                if len(found) == limit:
                    break
        return found
