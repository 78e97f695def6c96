"""Does the store's log agree with what clients were told?

The log is read when all is over: it holds every acknowledged write at the revision that was told, nothing
that was refused, nothing nobody asked for, each unknown write at most once; its revisions only grow, in an
order real time allows; and every listing is the log's state at the listing's revision. With single-object
writes and unique values this is strict serializability of the whole store, in one pass.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from holdfast.lab.history import DONE, UNKNOWN, Entry, History, Operation, ViolationError

State = dict[str, tuple[str, int]]


def check(history: History, log: list[Entry]) -> None:
    _grow(log)
    writes = _authors(history, log)
    _real_time(writes)
    _states(log)
    _snapshots(history, log, writes)


def _grow(log: list[Entry]) -> None:
    for before, entry in itertools.pairwise(log):
        if entry.revision <= before.revision:
            raise ViolationError(f"Revisions: {entry} follows {before}")


def _authors(history: History, log: list[Entry]) -> list[tuple[Entry, Operation]]:
    """Each log entry with the operation that wrote it."""
    writes = [o for o in history.operations if o.act in ("create", "put")]
    acknowledged = {o.revision: o for o in writes if o.outcome == DONE}
    if len(acknowledged) != sum(o.outcome == DONE for o in writes):
        raise ViolationError("Revisions: two writes were acknowledged with the same revision")
    by_value = {o.value: o for o in writes}
    removals = _Removals(history, log)
    found = []
    for entry in log:
        told = acknowledged.pop(entry.revision, None)
        author = told or (removals.author(entry) if entry.act == "delete" else by_value.pop(entry.value, None))
        if author is None:
            raise ViolationError(f"Invented: nobody asked for {entry}, or it was done before")
        if told is not None:
            _agree(entry, told)
            by_value.pop(entry.value, None)
        elif entry.act != "delete" and (author.outcome != UNKNOWN or author.key != entry.key):
            raise ViolationError(f"Refused: {entry} is in the log, but {author}")
        found.append((entry, author))
    for operation in acknowledged.values():
        raise ViolationError(f"Durable: the log has no trace of {operation}")
    return found


class _Removals:
    """A removal's answer names no revision: of several on one key any fitting one may have been this one."""

    def __init__(self, history: History, log: list[Entry]) -> None:
        self._asked = [o for o in history.operations if o.act == "remove" and o.outcome in (DONE, UNKNOWN)]
        for key in {o.key for o in self._asked}:
            done = sum(entry.act == "delete" and entry.key == key for entry in log)
            least = sum(o.key == key and o.outcome == DONE for o in self._asked)
            most = sum(o.key == key for o in self._asked)
            if not least <= done <= most:
                raise ViolationError(
                    f"Durable: {key} was removed {done} times, where {least} removals were acknowledged and {most} asked for"
                )

    def author(self, entry: Entry) -> Operation | None:
        fitting = [o for o in self._asked if o.key == entry.key and o.expected in (None, entry.value)]
        return replace(min(fitting, key=lambda operation: operation.call), returned=math.inf) if fitting else None


def _agree(entry: Entry, author: Operation) -> None:
    act = {"create": "create", "update": "put", "delete": "remove"}[entry.act]
    if (author.act, author.key, author.value) != (act, entry.key, entry.value):
        raise ViolationError(f"Revisions: {entry} is not {author}")


def _real_time(writes: list[tuple[Entry, Operation]]) -> None:
    """No write has a greater revision than one that was called after it had returned."""
    first = math.inf
    for entry, operation in reversed(writes):
        if first < operation.call:
            raise ViolationError(
                f"Real time: {entry} by {operation} is older than a write that had been answered before it was asked for"
            )
        first = min(first, operation.returned)


def _states(log: list[Entry]) -> None:
    """What each entry says it did was possible: creates where nothing was, updates and deletes of what was there."""
    there: dict[str, Entry] = {}
    for entry in log:
        before = there.get(entry.key)
        if (before is None) is not (entry.act == "create"):
            raise ViolationError(f"Sequence: {entry} follows {before}")
        if before is not None and entry.uid != before.uid:
            raise ViolationError(f"Identity: {entry} follows {before}")
        if entry.act == "delete":
            del there[entry.key]
        else:
            there[entry.key] = entry


def _snapshots(history: History, log: list[Entry], writes: list[tuple[Entry, Operation]]) -> None:
    state: State = {}
    position = 0
    for shot in sorted(history.snapshots, key=lambda shot: shot.revision):
        while position < len(log) and log[position].revision <= shot.revision:
            apply(state, log[position])
            position += 1
        if shot.items != state:
            raise ViolationError(f"Snapshot: at revision {shot.revision} the log says {state}, not {shot}")
        for entry, operation in writes:
            if entry.revision > shot.revision and operation.returned < shot.call:
                raise ViolationError(f"Stale: {shot} does not know {entry}, answered before")
            if entry.revision <= shot.revision and operation.call > shot.returned:
                raise ViolationError(f"Stale: {shot} knows {entry}, asked for later")


def apply(state: State, entry: Entry) -> None:
    if entry.act == "delete":
        state.pop(entry.key, None)
    else:
        state[entry.key] = (entry.value, entry.revision)
