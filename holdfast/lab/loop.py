"""An event loop on virtual time, for runs that a seed repeats to the letter.

Callbacks keep asyncio's order; what varies is how long things take: work for a thread runs on the loop
itself, after a delay drawn from the seed. When nothing is ready the clock jumps to the next timer, so an
hour costs nothing. No real thread, socket or entropy is within reach while ``sealed`` holds.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import heapq
import itertools
import os
import random
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn, TypeVar
from unittest import mock

T = TypeVar("T")
EPOCH = 1_800_000_000.0
RUNS_A_COLLECTION = 10
"""What a run leaves behind is small; looking for it is not."""
_runs = itertools.count()


class SealedError(Exception):
    """Something reached for the outside world in a simulation."""


class SeededLoop(asyncio.BaseEventLoop):
    """Also a ``lib.clock.Clock``: ``now`` begins at ``EPOCH``."""

    def __init__(self, seed: int, begin: float = 0.0) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.slowness = 1.0
        """How much longer work in threads takes than usual."""
        self._time = begin
        self._ready: collections.deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]

    def time(self) -> float:
        return self._time

    def _run_once(self) -> None:
        """As asyncio's own, which it is in place of for speed: there are no files to wait for, only time."""
        ready, timers = self._ready, self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise SealedError("nothing is ready and no timer runs: the simulation waits for ever")
            self._time = max(self._time, timers[0].when())
        while timers and timers[0].when() <= self._time:
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return

    def now(self) -> float:
        return EPOCH + self._time

    def monotonic(self) -> float:
        return self._time

    def delay(self, mean: float = 0.001) -> float:
        return self.random.expovariate(1 / mean)

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.delay() * self.slowness, run)
        return future

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        return self.call_soon(callback, *args, context=context)

    def _write_to_self(self) -> None:
        return


@contextlib.contextmanager
def sealed(seed: int) -> Iterator[None]:
    """Threads, sockets and the system's randomness raise; what asks ``random.SystemRandom`` is answered from the seed."""
    source = random.Random(f"system {seed}")

    def refuse(*_args: Any, **_named: Any) -> NoReturn:
        raise SealedError("a simulation may not use threads, sockets or the system's randomness")

    with (
        mock.patch.object(threading.Thread, "start", refuse),
        mock.patch.object(socket, "socket", refuse),
        mock.patch.object(os, "urandom", refuse),
        mock.patch.object(random, "_urandom", source.randbytes),
    ):
        yield


def simulate(seed: int, main: Callable[[SeededLoop], Coroutine[Any, Any, T]], *, begin: float = 0.0) -> T:
    """Runs ``main`` to its end on a loop of its own, from time ``begin``. The process's ``random`` is seeded for the time being."""
    state = random.getstate()
    random.seed(seed)
    loop = SeededLoop(seed, begin)
    if next(_runs) % RUNS_A_COLLECTION == 0:
        gc.collect()
    gc.disable()  # when a forgotten generator is closed must not depend on how much was allocated before
    try:
        with sealed(seed), asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main(loop))
    finally:
        random.setstate(state)
        gc.enable()
