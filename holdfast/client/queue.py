"""The work queue of a controller: keys, each at most once, never two workers on one at a time; and what is not asked for again soon."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

FIRST_DELAY, LAST_DELAY = 0.005, 1000.0


class WorkQueue:
    def __init__(self, longest: float = LAST_DELAY, first: float = FIRST_DELAY) -> None:
        """Seconds before what failed is tried again: ``first`` at the first time, ``longest`` in the end."""
        self._first, self._longest = first, longest
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()
        self._working: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()

    def add(self, key: str) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._wake.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Adds the key later; of several such calls the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        waiting = self._timers.get(key)
        if waiting is not None:
            if waiting.when() <= due:
                return
            waiting.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    def _fire(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def add_rate_limited(self, key: str) -> None:
        """Adds the key after a delay that doubles with each failure in a row."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._first * 2**failures, self._longest))

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    async def get(self) -> str:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: str) -> None:
        self._working.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake.set()

    def statistics(self) -> Mapping[str, float]:
        return {"ready": len(self._ready), "working": len(self._working), "delayed": len(self._timers), "failing": len(self._failures)}


class Postponed:
    """What was refused is not asked for again for ``seconds``, unless something else is asked for. Of many keys some are forgotten."""

    def __init__(self, seconds: float, kept: int = 1024) -> None:
        self.seconds = seconds
        self._kept = kept
        self._until: dict[str, tuple[str, float]] = {}

    def note(self, key: str, what: str) -> None:
        if len(self._until) >= self._kept:
            self._until.clear()
        self._until[key] = (what, asyncio.get_running_loop().time() + self.seconds)

    def left(self, key: str, what: str) -> float:
        """Seconds; 0 when it may be asked for."""
        refused, until = self._until.get(key, ("", 0.0))
        return max(until - asyncio.get_running_loop().time(), 0.0) if refused == what else 0.0

    def forget(self, key: str) -> None:
        self._until.pop(key, None)
