"""Linearizable histories in simulation, and stores broken on purpose: each kind of damage must be found.

HOLDFAST_SEED moves the range of seeds; a failure names the seed that repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.lab.history import ViolationError
from holdfast.lab.loop import SealedError, SeededLoop, simulate
from holdfast.registry import cache
from holdfast.registry.verbs import watch
from holdfast.store import sqlite
from tests.lab import simulated
from tests.lab.simulated import Plan, SimulatedStore

SEED = int(os.environ.get("HOLDFAST_SEED", "0"))
HISTORIES, CHUNK = 200, 25


@pytest.mark.parametrize("first", range(SEED, SEED + HISTORIES, CHUNK))
def test_histories_are_linearizable_whatever_crashes(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulated.run(seed)
        except ViolationError as error:
            pytest.fail(f"seed {seed}: {error}")


def test_a_seed_repeats_a_history_to_the_letter() -> None:
    for seed in range(SEED, SEED + 5):
        (one, first), (two, second) = simulated.run(seed), simulated.run(seed)
        assert one.history.operations == two.history.operations
        assert one.history.snapshots == two.history.snapshots
        assert one.streams == two.streams
        assert first.log == second.log


def test_histories_reach_what_they_are_meant_to_try() -> None:
    runs = [simulated.run(seed) for seed in range(SEED, SEED + 40)]
    outcomes = {operation.outcome for workload, _ in runs for operation in workload.history.operations}
    assert outcomes == {"done", "exists", "absent", "conflict", "unknown"}
    assert sum(server.died for _, server in runs) > 40
    assert any(len(workload.streams) > 3 for workload, _ in runs), "no watcher was ever too old"
    assert any(stream.resumed for workload, _ in runs for stream in workload.streams)
    assert any(event.type == "BOOKMARK" for workload, _ in runs for stream in workload.streams for event in stream.events)


class NeverSyncs(SimulatedStore):
    def _connect(self) -> Any:
        connection = super()._connect()
        connection.execute("PRAGMA synchronous=OFF")
        return connection


class AnswersBeforeItCommits(SimulatedStore):
    """Each transaction is really committed when the next one begins."""

    async def start(self) -> None:
        await super().start()
        self._writer = _Late(self._writer)


class _Late:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._open = False

    def execute(self, statement: str, *arguments: Any) -> Any:
        if statement == "COMMIT":
            return None
        if statement.startswith(("BEGIN", "INSERT INTO changes")):
            if self._open:
                self._connection.execute("COMMIT")
            self._connection.execute("BEGIN IMMEDIATE")
            self._open = True
        return None if statement.startswith("BEGIN") else self._connection.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class ReusesARevision(SimulatedStore):
    """After a restart it counts from the newest record that lives, not from the newest write."""

    async def start(self) -> None:
        await super().start()
        self._writer.execute("DELETE FROM changes WHERE revision > (SELECT coalesce(MAX(revision), 0) FROM live)")
        self._writer.execute("DELETE FROM meta WHERE name = 'revision'")
        self._revision = sqlite._newest(self._writer)


class ComparesNothing(SimulatedStore):
    def _refusal(self, write: Any, touched: dict[str, Any]) -> Exception | None:
        blind = write.type == "update" and self._head(write.key, touched)
        return None if blind else super()._refusal(write, touched)


class LosesTheLastBatch(SimulatedStore):
    """Recovery stops one transaction early."""

    async def start(self) -> None:
        await super().start()
        last = sqlite._newest(self._writer)
        for key, previous in self._writer.execute("SELECT key, previous FROM changes WHERE revision = ?", (last,)).fetchall():
            self._writer.execute("DELETE FROM live WHERE key = ?", (key,))
            if previous:
                self._writer.execute("INSERT INTO live VALUES (?, ?)", (key, previous))


def _caught(*properties: str, store: type[SimulatedStore] = SimulatedStore, **changes: Any) -> bool:
    """Whether one of forty histories violates one of these properties (of all, if none is named)."""
    for seed in range(40):
        plan = Plan.of(random.Random(seed))
        plan.memory, plan.crashes = False, max(plan.crashes, 1)
        for name, value in changes.items():
            setattr(plan, name, value)
        try:
            simulated.run(seed, store, plan=plan)
        except ViolationError as error:
            if not properties or str(error).partition(":")[0] in properties:
                return True
    return False


@pytest.mark.parametrize("store", [NeverSyncs, AnswersBeforeItCommits, ReusesARevision, ComparesNothing, LosesTheLastBatch])
def test_a_broken_store_is_found(store: type[SimulatedStore]) -> None:
    assert _caught(store=store)


def test_an_answer_before_the_cache_knows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: cache.WatchCache, revision: int) -> None:
        del self, revision

    monkeypatch.setattr(cache.WatchCache, "wait", at_once)
    assert _caught("Linearizable", crashes=0, lag=0.002)


def test_a_page_cut_short_by_a_compaction_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """This was so once."""
    monkeypatch.setattr(sqlite, "_check_kept", lambda database, revision: None)
    assert _caught("Linearizable", "Snapshot", compacts=True, slow=10)


def test_a_lost_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = cache.Subscription.offer
    count = 0

    def forgetful(self: cache.Subscription, event: cache.CacheEvent) -> None:
        nonlocal count
        count += 1
        if count % 7:
            offer(self, event)

    monkeypatch.setattr(cache.Subscription, "offer", forgetful)
    assert _caught("Reliable", "Resumable", queue=2048)


def test_an_event_shown_again_after_a_restart_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    since = cache.WatchCache.since
    monkeypatch.setattr(cache.WatchCache, "since", lambda self, prefix, revision: since(self, prefix, max(revision - 1, 0)))
    assert _caught("Resumable", window=8192, compacts=False)


def test_a_bookmark_ahead_of_events_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    bookmark = watch._Watch._bookmark
    monkeypatch.setattr(watch._Watch, "_bookmark", lambda self, revision: bookmark(self, revision + 2))
    assert _caught("Bookmarkable", crashes=0, bookmarks=0.005)


def test_the_loop_lives_on_virtual_time_alone() -> None:
    async def hours(loop: SeededLoop) -> float:
        await asyncio.sleep(7200)
        return loop.now()

    assert simulate(1, hours) == simulate(1, hours)

    async def stuck(loop: SeededLoop) -> None:
        await loop.create_future()

    with pytest.raises(SealedError, match="waits for ever"):
        simulate(1, stuck)


@pytest.mark.parametrize(
    "reach", [lambda: os.urandom(8), lambda: __import__("socket").socket(), lambda: __import__("threading").Thread().start()]
)
def test_the_loop_is_sealed(reach: Callable[[], object]) -> None:
    async def outside(loop: SeededLoop) -> None:
        reach()

    with pytest.raises(SealedError):
        simulate(1, outside)
