"""Blocking work that may hang (a dead server behind a mount): each in a thread of its own, which nobody has to wait for.

The loop's own threads are few and are waited for when the process ends; these are not. Who gave up waiting leaves work
behind that still goes on: what must not meet it takes a lock that the thread holds, not the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

T = TypeVar("T")


async def run_apart(work: Callable[[], T], name: str) -> T:
    """What ``work`` returns or raises. A caller that is cancelled leaves it to come to its end alone."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop has been closed: nobody waits any more

    threading.Thread(target=body, name=name, daemon=True).start()
    return await future


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
