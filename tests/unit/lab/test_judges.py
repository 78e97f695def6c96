"""The judges themselves: histories of a few operations whose verdict is known."""

from __future__ import annotations

import math

import pytest

from holdfast.lab import linearizable, revisions, watches
from holdfast.lab.history import ABSENT, CONFLICT, DONE, EXISTS, UNKNOWN, Entry, History, Operation, Snapshot, ViolationError
from holdfast.lab.watches import Seen, Stream


def op(act: str, call: int, returned: float, outcome: str = DONE, value: str | None = None, **more: object) -> Operation:
    return Operation(0, act, "k", call, returned, outcome, value, **more)  # type: ignore[arg-type]


LEGAL = {
    "a read may miss a concurrent write": [op("create", 1, 5, value="a"), op("read", 2, 3, ABSENT)],
    "or see it": [op("create", 1, 5, value="a"), op("read", 2, 3, value="a")],
    "one of two creates wins": [op("create", 1, 4, value="a"), op("create", 2, 3, EXISTS, "b")],
    "an unknown write may never happen": [op("create", 1, math.inf, UNKNOWN, "a"), op("read", 2, 3, ABSENT)],
    "or late": [op("create", 1, math.inf, UNKNOWN, "a"), op("read", 2, 3, ABSENT), op("read", 4, 5, value="a")],
    "a removal frees the name": [op("create", 1, 2, value="a"), op("remove", 3, 4), op("create", 5, 6, value="b")],
    "a conflict needs another value": [
        op("create", 1, 2, value="a"),
        op("put", 3, 6, value="b", expected="a"),
        op("put", 4, 5, CONFLICT, "c", expected="a"),
    ],
}
ILLEGAL = {
    "a stale read": [op("create", 1, 2, value="a"), op("put", 3, 4, value="b"), op("read", 5, 6, value="a")],
    "a lost write": [op("create", 1, 2, value="a"), op("read", 3, 4, ABSENT)],
    "two swaps of one value": [
        op("create", 1, 2, value="a"),
        op("put", 3, 6, value="b", expected="a"),
        op("put", 4, 5, value="c", expected="a"),
    ],
    "back and forth": [op("create", 1, 9, value="a"), op("read", 2, 3, value="a"), op("read", 4, 5, ABSENT)],
    "a conflict with nothing": [op("put", 1, 2, CONFLICT, "b", expected="a")],
    "an unknown write undone": [op("create", 1, math.inf, UNKNOWN, "a"), op("read", 2, 3, value="a"), op("read", 4, 5, ABSENT)],
}


@pytest.mark.parametrize("operations", LEGAL.values(), ids=LEGAL)
def test_what_an_order_explains_is_linearizable(operations: list[Operation]) -> None:
    linearizable.check(History(operations))


@pytest.mark.parametrize("operations", ILLEGAL.values(), ids=ILLEGAL)
def test_what_no_order_explains_is_not(operations: list[Operation]) -> None:
    with pytest.raises(ViolationError, match="Linearizable"):
        linearizable.check(History(operations))


LOG = [
    Entry(2, "create", "k", "a", "red", "1"),
    Entry(4, "update", "k", "b", "blue", "1"),
    Entry(5, "delete", "k", "b", "blue", "1"),
    Entry(8, "create", "k", "c", "red", "2"),
]
AGAIN = Entry(4, "create", "k", "b", "", "1")
TOLD = [
    op("create", 1, 2, value="a", revision=2),
    op("put", 3, 4, value="b", revision=4),
    op("remove", 5, 6),
    op("create", 7, 8, value="c", revision=8),
]


def test_a_log_that_holds_what_was_told_is_right() -> None:
    revisions.check(History(TOLD, [Snapshot(0, 3, 4, 4, {"k": ("b", 4)})]), LOG)


@pytest.mark.parametrize(
    ("name", "operations", "log"),
    [
        ("Durable", TOLD, LOG[:-1]),
        ("Durable", TOLD, [LOG[0], LOG[1]]),
        ("Invented", TOLD[:-1], LOG),
        ("Refused", [op("create", 1, 2, EXISTS, "a")], LOG[:1]),
        ("Revisions", [*TOLD, op("create", 9, 10, value="d", revision=8)], LOG),
        ("Revisions", TOLD, [LOG[1], LOG[0]]),
        (
            "Real time",
            [op("create", 1, 2, value="b", revision=4), op("create", 3, 4, value="a", revision=2)],
            [LOG[0], AGAIN],
        ),
        ("Sequence", [TOLD[0], op("create", 3, 4, value="b", revision=4)], [LOG[0], AGAIN]),
        ("Identity", TOLD[:2], [LOG[0], Entry(4, "update", "k", "b", "", "9")]),
    ],
)
def test_a_log_that_differs_from_what_was_told(name: str, operations: list[Operation], log: list[Entry]) -> None:
    with pytest.raises(ViolationError, match=name):
        revisions.check(History(operations), log)


@pytest.mark.parametrize(
    ("name", "shot"),
    [
        ("Snapshot", Snapshot(0, 3, 4, 4, {"k": ("a", 2)})),
        ("Snapshot", Snapshot(0, 7, 8, 5, {"k": ("b", 4)})),
        ("Stale", Snapshot(0, 9, 10, 4, {"k": ("b", 4)})),
        ("Stale", Snapshot(0, 1, 2, 4, {"k": ("b", 4)})),
    ],
)
def test_a_listing_that_never_was(name: str, shot: Snapshot) -> None:
    with pytest.raises(ViolationError, match=name):
        revisions.check(History(TOLD, [shot]), LOG)


ALL = watches.expected(Stream(0), LOG)
RED = watches.expected(Stream(0, "red"), LOG)


def test_what_a_watcher_should_see() -> None:
    shown = [[(event.type, event.revision, event.value) for event in events] for events in (ALL, RED)]
    assert shown[0] == [("ADDED", 2, "a"), ("MODIFIED", 4, "b"), ("DELETED", 5, "b"), ("ADDED", 8, "c")]
    assert shown[1] == [("ADDED", 2, "a"), ("DELETED", 4, "a"), ("ADDED", 8, "c")]
    watches.check(Stream(0, "", [*ALL, Seen("BOOKMARK", 9)]), LOG)
    watches.check(Stream(4, "", [*ALL[2:]]), LOG)
    watches.check(Stream(0, "red", RED[:2]), LOG)


def _other(event: Seen, **changes: str) -> Seen:
    fields = {name: getattr(event, name) for name in Seen.__slots__}
    return Seen(**{**fields, **changes})


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("Ordered", Stream(0, "", [ALL[1], ALL[0]])),
        ("Unique", Stream(0, "", [ALL[0], ALL[0]])),
        ("Atomic", Stream(0, "", [_other(ALL[0], value="x")])),
        ("Reliable", Stream(0, "", [ALL[0], ALL[2]])),
        ("Resumable", Stream(0, "", [ALL[0], ALL[1], ALL[1]], [2])),
        ("Resumable", Stream(0, "", [ALL[0], ALL[2]], [1])),
        ("Bookmarkable", Stream(0, "", [Seen("BOOKMARK", 2), ALL[0]])),
        ("Bookmarkable", Stream(0, "", [ALL[0], Seen("BOOKMARK", 5)])),
        ("Bookmarkable", Stream(0, "", [*ALL[:2], Seen("BOOKMARK", 3)])),
        ("Filter", Stream(0, "red", [RED[0], ALL[1]])),
        ("IsCreate", Stream(0, "", [_other(ALL[0], type="MODIFIED")])),
        ("IsCreate", Stream(0, "", [ALL[0], _other(ALL[1], type="ADDED")])),
        ("PrevKV", Stream(0, "", [*ALL[:2], _other(ALL[2], value="a")])),
        ("Durable", Stream(0, "", [*ALL, Seen("ADDED", 9, "k2", "z")])),
    ],
)
def test_each_property_of_a_watch_has_its_violation(name: str, stream: Stream) -> None:
    with pytest.raises(ViolationError, match=name):
        watches.check(stream, LOG)
