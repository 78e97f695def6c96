"""Sets of completion indexes as a status writes them: ``0,2-5,7``. Pure.

A job may have very many indexes, most of them done: a set is a row of intervals, never a list of its members.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Interval = tuple[int, int]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 11


@dataclass(frozen=True)
class Indexes:
    """``intervals``: (first, last), rising, with a gap between any two."""

    intervals: tuple[Interval, ...] = ()

    @classmethod
    def parse(cls, text: str, completions: int) -> Indexes:
        """Indexes from ``completions`` on are left out; so is what cannot be read, since anybody may write a status."""
        found = []
        for part in text.split(",") if text else ():
            first, dash, last = part.partition("-")
            if _is_number(first) and (not dash or _is_number(last)):
                found.append((int(first), min(int(last or first), completions - 1)))
        return cls().joined(interval for interval in found if interval[0] <= interval[1])

    def joined(self, others: Iterable[Interval]) -> Indexes:
        merged: list[Interval] = []
        for first, last in sorted([*self.intervals, *others]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return Indexes(tuple(merged))

    def with_each(self, indexes: Iterable[int]) -> Indexes:
        return self.joined((index, index) for index in indexes)

    def __contains__(self, index: int) -> bool:
        at = bisect_left(self.intervals, index, key=lambda interval: interval[1])
        return at < len(self.intervals) and self.intervals[at][0] <= index

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __str__(self) -> str:
        parts = []
        for first, last in self.intervals:
            parts.append(str(first) if first == last else f"{first}{',' if last == first + 1 else '-'}{last}")
        return ",".join(parts)

    def common(self, other: Indexes) -> int:
        """How many indexes are in both."""
        mine, theirs, found = 0, 0, 0
        while mine < len(self.intervals) and theirs < len(other.intervals):
            (a, b), (c, d) = self.intervals[mine], other.intervals[theirs]
            found += max(min(b, d) - max(a, c) + 1, 0)
            mine, theirs = mine + (b <= d), theirs + (d <= b)
        return found

    def missing(self, completions: int) -> Iterator[int]:
        """Those below ``completions`` that are not in the set, rising."""
        candidate = 0
        for first, last in (*self.intervals, (completions, completions)):
            yield from range(candidate, min(first, completions))
            candidate = last + 1
