"""What clients asked and were told: the material every judge works on.

Each write carries a value that no other write carries, so a value read anywhere names the write it came
from. Calls and returns are numbered in the order they happened. An operation whose answer never came has
an unknown outcome and returns never; a read without an answer says nothing and is dropped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

DONE, EXISTS, ABSENT, CONFLICT, UNKNOWN = "done", "exists", "absent", "conflict", "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call on one key."""

    client: int
    act: str
    """create, read, put (a write to whatever is there) or remove."""
    key: str
    call: int
    returned: float = math.inf
    outcome: str = UNKNOWN
    value: str | None = None
    """What is written, or what was read (None: nothing was there)."""
    expected: str | None = None
    """The value that a put or remove insists on; None: any."""
    revision: int = 0
    """Of an acknowledged write, or of what was read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete listing: key to (value, revision) at one ``revision``. It is a read of every key, at one moment."""

    client: int
    call: int
    returned: float
    revision: int
    items: dict[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the store's log: ``act`` create, update or delete; a delete's value is the last one."""

    revision: int
    act: str
    key: str
    value: str
    label: str
    uid: str


@dataclass
class History:
    operations: list[Operation] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    _moments: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def moment(self) -> int:
        return next(self._moments)

    def finish(self, operation: Operation, outcome: str, value: str | None = None, revision: int = 0) -> None:
        """The answer came just now. ``value``: what a read found."""
        if operation.act == "read":
            operation = replace(operation, value=value)
        self.operations.append(replace(operation, returned=self.moment(), outcome=outcome, revision=revision))

    def lose(self, operation: Operation) -> None:
        """The answer never came."""
        if operation.act != "read":
            self.operations.append(operation)

    def by_key(self) -> dict[str, list[Operation]]:
        """Every operation under its key; a snapshot counts as a read of each."""
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            found.setdefault(operation.key, []).append(operation)
        for shot in self.snapshots:
            for key, operations in found.items():
                value, revision = shot.items.get(key, (None, 0))
                operations.append(
                    Operation(shot.client, "read", key, shot.call, shot.returned, DONE if value else ABSENT, value, None, revision)
                )
        return found


class ViolationError(AssertionError):
    """An answer that no correct store gives. The text begins with the name of the property."""
