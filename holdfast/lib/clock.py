"""Time, handed in from outside: nothing reads the wall clock by itself (DESIGN rule 4).

Also the timestamps of the Kubernetes API: RFC 3339 in UTC with seconds (``metadata``), microseconds
(MicroTime: leases, events) or nanoseconds (log lines). All are plain text; times in code are unix seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Unix seconds; may jump."""

    def monotonic(self) -> float:
        """Seconds that only grow; for durations."""


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def rfc3339(timestamp: float) -> str:
    """``2026-01-02T03:04:05Z``."""
    return _seconds(int(timestamp))


@lru_cache(maxsize=64)
def _seconds(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(timestamp: float) -> str:
    """``2026-01-02T03:04:05.000006Z`` (MicroTime)."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rfc3339_nano(nanoseconds: int) -> str:
    """``2026-01-02T03:04:05.000000006Z``, from integer unix nanoseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def parse_rfc3339(text: str) -> float:
    """Unix seconds of an RFC 3339 time. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
