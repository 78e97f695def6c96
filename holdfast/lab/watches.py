"""The properties of a watch, checked against the log: those etcd's own validator checks, by their names.

A *stream* is what one logical watcher saw, resumptions after a broken connection included: each segment
begins where the last one ended. ``begin`` is the revision it watched from; the state at that revision is
taken from the log. With a selector a change that moves an object in or out appears as ADDED or DELETED.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.lab.history import Entry, ViolationError


@dataclass(frozen=True, slots=True)
class Seen:
    """One event: ADDED, MODIFIED, DELETED, or BOOKMARK (only its revision counts)."""

    type: str
    revision: int
    key: str = ""
    value: str = ""
    label: str = ""
    uid: str = ""


@dataclass
class Stream:
    begin: int
    label: str = ""
    """Only objects with this label; "" = all."""
    events: list[Seen] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)
    """Positions in ``events`` at which a segment begins."""

    @property
    def last(self) -> int:
        """Where to resume."""
        return self.events[-1].revision if self.events else self.begin


def check(stream: Stream, log: list[Entry]) -> None:
    """Raises ViolationError, which begins with the property's name."""
    _ordered(stream)
    wanted = expected(stream, log)
    _bookmarkable(stream, wanted)
    seen = [event for event in stream.events if event.type != "BOOKMARK"]
    _filter(stream, seen)
    _content(seen, wanted)
    _reliable(stream, seen, wanted)


def expected(stream: Stream, log: list[Entry]) -> list[Seen]:
    """Every event after ``begin``."""
    there: dict[str, Entry] = {}
    found = []
    for entry in log:
        before = there.pop(entry.key, None)
        was = before is not None and stream.label in ("", before.label)
        now = entry.act != "delete" and stream.label in ("", entry.label)
        if entry.act != "delete":
            there[entry.key] = entry
        if entry.revision <= stream.begin or not (was or now):
            continue
        type = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
        shown = before if type == "DELETED" and before is not None else entry
        found.append(Seen(type, entry.revision, entry.key, shown.value, shown.label, shown.uid))
    return found


def _ordered(stream: Stream) -> None:
    newest, bookmarked = stream.begin, stream.begin
    seen: set[int] = set()
    for position, event in enumerate(stream.events):
        if event.type == "BOOKMARK":
            if event.revision < newest:
                raise ViolationError(f"Bookmarkable: {event} goes back behind {newest}")
            bookmarked = max(bookmarked, event.revision)
        elif event.revision in seen:
            raise ViolationError(f"{'Resumable' if position in stream.resumed else 'Unique'}: {event} came twice")
        elif event.revision <= bookmarked:
            raise ViolationError(f"Bookmarkable: {event} came after the bookmark or beginning at {bookmarked}")
        elif event.revision <= newest:
            raise ViolationError(f"{'Resumable' if position in stream.resumed else 'Ordered'}: {event} came after {newest}")
        if event.type != "BOOKMARK":
            seen.add(event.revision)
        newest = max(newest, event.revision)


def _bookmarkable(stream: Stream, wanted: list[Seen]) -> None:
    shown = {event.revision for event in stream.events if event.type != "BOOKMARK"}
    delivered: set[int] = set()
    for event in stream.events:
        if event.type != "BOOKMARK":
            delivered.add(event.revision)
            continue
        missing = [w for w in wanted if w.revision <= event.revision and w.revision not in delivered]
        if missing:
            late = "came later" if missing[0].revision in shown else "never came"
            raise ViolationError(f"Bookmarkable: {event} promises {missing[0]}, which {late}")


def _filter(stream: Stream, seen: list[Seen]) -> None:
    for event in seen:
        if stream.label and event.label != stream.label:
            raise ViolationError(f"Filter: {event} has not the label {stream.label!r}")


def _content(seen: list[Seen], wanted: list[Seen]) -> None:
    """One revision is one change, whole, and says truly whether the object is new and what it was."""
    at = {event.revision: event for event in wanted}
    for event in seen:
        true = at.get(event.revision)
        if true is None:
            raise ViolationError(f"Durable: {event} was shown, but the log knows no such change")
        if event.key != true.key:
            raise ViolationError(f"Atomic: {event} is not {true}")
        if (event.type == "ADDED") is not (true.type == "ADDED"):
            raise ViolationError(f"IsCreate: {event} is {true}")
        if event.type != true.type:
            raise ViolationError(f"Filter: {event} is {true}")
        if (event.value, event.label, event.uid) != (true.value, true.label, true.uid):
            raise ViolationError(f"{'PrevKV' if event.type == 'DELETED' else 'Atomic'}: {event} shows another state than {true}")


def _reliable(stream: Stream, seen: list[Seen], wanted: list[Seen]) -> None:
    """No gap up to the last one seen."""
    got = {event.revision for event in seen}
    joints = {stream.events[position].revision for position in stream.resumed if position < len(stream.events)}
    for event in wanted:
        if event.revision > stream.last:
            return
        if event.revision not in got:
            following = min((revision for revision in got if revision > event.revision), default=0)
            raise ViolationError(f"{'Resumable' if following in joints else 'Reliable'}: {event} was not shown")
