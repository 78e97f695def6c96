"""Fan-out of committed changes to watchers, shared by the backends.

A watcher is fed from memory while it keeps up. One that falls more than ``BUFFER`` changes behind is
detached from the feed and reads the log from where it stands, then joins the feed again: bounded
memory, and never a lost change (P-11). The backend says how its log is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from holdfast.store.api import Change

BUFFER = 4096
READ = 1000

Reader = Callable[[str, int, int], Awaitable[list[Change]]]
"""(prefix, after, limit) -> changes in order; raises CompactedError."""


class _Watcher:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.pending: deque[Change] = deque()
        self.behind = True
        self.wake = asyncio.Event()


class Hub:
    """Owned by one store; ``publish`` is called on the loop, in order of revision, once a batch is durable."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._watchers: dict[_Watcher, None] = {}  # in the order they came
        self._closed = False
        self.revision = 0

    def publish(self, changes: list[Change], revision: int) -> None:
        self.revision = revision
        for watcher in self._watchers:
            if not watcher.behind:
                watcher.pending.extend(c for c in changes if c.record.key.startswith(watcher.prefix))
                if len(watcher.pending) > BUFFER:
                    watcher.pending.clear()
                    watcher.behind = True
            watcher.wake.set()

    def close(self) -> None:
        self._closed = True
        for watcher in self._watchers:
            watcher.wake.set()

    async def watch(self, prefix: str, after: int) -> AsyncIterator[list[Change]]:
        watcher = _Watcher(prefix)
        self._watchers[watcher] = None
        try:
            seen = after
            while not self._closed:
                batch = await self._next(watcher, seen)
                if batch:
                    seen = batch[-1].revision
                    yield batch
        finally:
            self._watchers.pop(watcher, None)

    async def _next(self, watcher: _Watcher, seen: int) -> list[Change]:
        if watcher.behind:
            # Joining the feed before the read means nothing can fall between the two; repeats are cut by revision.
            watcher.behind = False
            watcher.pending.clear()
            batch = await self._read(watcher.prefix, seen, READ)
            if len(batch) == READ:
                watcher.behind = True
            if batch:
                return batch
        watcher.wake.clear()
        batch = [change for change in watcher.pending if change.revision > seen]
        watcher.pending.clear()
        if not batch and not self._closed:
            await watcher.wake.wait()
        return batch

    def __len__(self) -> int:
        return len(self._watchers)
