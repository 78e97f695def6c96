"""Crash back-off: the first restart at once, then 10 s doubling to 300 s; forgotten after ten quiet minutes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

INITIAL_SECONDS = 10.0
MAXIMUM_SECONDS = 300.0
QUIET_SECONDS = 600.0


@dataclass
class Entry:
    delay: float = 0.0
    not_before: float = 0.0


@dataclass
class Backoff:
    """One per pod; by container name."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def exited(self, name: str, ran_seconds: float, moment: float) -> None:
        """A container that will be restarted has ended at ``moment`` (of a clock that never jumps): when may it start again?"""
        entry = self.entries.setdefault(name, Entry())
        if ran_seconds >= QUIET_SECONDS:
            entry.delay = 0.0
        entry.not_before = moment + entry.delay

    def restarted(self, name: str) -> None:
        """It starts again: the next exit waits longer."""
        entry = self.entries.setdefault(name, Entry())
        entry.delay = min(MAXIMUM_SECONDS, entry.delay * 2) if entry.delay else INITIAL_SECONDS

    def not_before(self) -> dict[str, float]:
        return {name: entry.not_before for name, entry in self.entries.items()}

    def delays(self) -> dict[str, float]:
        return {name: entry.delay for name, entry in self.entries.items()}
