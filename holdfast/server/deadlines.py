"""Time limits for many things at once, with one timer: what all have the same limit expires in the order it began.

A timer for each request would cost more than most requests do; here a beginning and an end are one dictionary
operation each, and nothing ticks while nothing runs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError

T = TypeVar("T")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d{1,12}\.?\d{0,12}|\.\d{1,12})(ns|us|µs|μs|ms|s|m|h)")
_DURATION_LIMIT = 64


class Deadlines(Generic[T]):
    """``expire`` is called with each thing that has not ended ``seconds`` after it began."""

    def __init__(self, seconds: float, expire: Callable[[T], None]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def begin(self, thing: T) -> None:
        self._due[thing] = due = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._sweep)

    def end(self, thing: T) -> bool:
        """Whether it ended in time."""
        return self._due.pop(thing, None) is not None

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for thing, due in list(self._due.items()):
            if due > now:
                self._timer = self._loop.call_at(due, self._sweep)
                return
            del self._due[thing]
            self._expire(thing)


def out_of_time() -> ApiError:
    return errors.timeout("Timeout: request did not complete within requested timeout - context deadline exceeded")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Raises ApiError 504 when ``work`` takes longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise out_of_time() from None
        raise


def duration(text: str) -> float:
    """Seconds of ``?timeout=``, in Go's form (``1m30s``, ``500ms``). Raises ApiError 400 with upstream's text."""
    parts = _PART.findall(text) if len(text) <= _DURATION_LIMIT else []
    if text == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text.removeprefix("+"):
        raise errors.bad_request("invalid timeout specified in the request URL")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
