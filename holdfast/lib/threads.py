"""Blocking work that may hang (a dead server behind a mount): each in a thread of its own, which nobody has to wait for.

The loop's own threads are few and are waited for when the process ends; these are not. Who gave up waiting leaves work
behind that still goes on: what must not meet it takes a lock that the thread holds, not the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T], name: str) -> Future[T]:
    """Starts it; it goes on whoever stops waiting."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def body() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=body, name=name, daemon=True).start()
    return future


async def run_apart(work: Callable[[], T], name: str) -> T:
    """What ``work`` returns or raises. A caller that is cancelled leaves it to come to its end alone."""
    return await asyncio.wrap_future(begin(work, name))


class Busy(Exception):
    """Another act has not come to its end."""


class Locks:
    """One act at a time for each key, in threads."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def hold(self, key: Hashable, seconds: float) -> Iterator[None]:
        """Raises Busy when another act takes longer than that."""
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(timeout=seconds):
            raise Busy(f"another act on {key} is still under way")
        try:
            yield
        finally:
            lock.release()
