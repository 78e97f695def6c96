"""One suite for every backend: writes, compare-and-swap, history, watches, compaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.store import open_store
from holdfast.store.api import CompactedError, FutureRevisionError, KeyExistsError, MismatchError, Store


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store("memory://" if request.param == "memory" else f"sqlite://{tmp_path}/s.db")
    await opened.start()
    yield opened
    await opened.close()


async def test_revisions_grow_by_one(store: Store) -> None:
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first)
    third = await store.delete("/a", second, b"last")
    assert (second, third, store.revision) == (first + 1, first + 2, first + 2)
    assert await store.get("/a") is None


async def test_compare_and_swap(store: Store) -> None:
    first = await store.create("/a", b"1")
    with pytest.raises(KeyExistsError):
        await store.create("/a", b"2")
    second = await store.update("/a", b"2", first)
    with pytest.raises(MismatchError) as raised:
        await store.update("/a", b"3", first)
    assert raised.value.current is not None
    assert (raised.value.current.value, raised.value.current.revision) == (b"2", second)
    with pytest.raises(MismatchError) as raised:
        await store.delete("/b", 1)
    assert raised.value.current is None


async def test_one_of_many_writers_wins(store: Store) -> None:
    first = await store.create("/a", b"0")
    outcomes = await asyncio.gather(*(store.update("/a", str(n).encode(), first) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(o, int) for o in outcomes) == 1


async def test_lists_page_at_one_revision(store: Store) -> None:
    for n in range(5):
        await store.create(f"/p/{n}", b"v")
    await store.create("/q/0", b"v")
    page = await store.list("/p/", limit=2)
    assert ([r.key for r in page.records], page.remaining) == (["/p/0", "/p/1"], 3)
    await store.create("/p/9", b"later")
    await store.delete("/p/3", (await store.get("/p/3")).revision)  # type: ignore[union-attr]
    rest = await store.list("/p/", revision=page.revision, after="/p/1", limit=10)
    assert ([r.key for r in rest.records], rest.remaining, rest.revision) == (["/p/2", "/p/3", "/p/4"], 0, page.revision)


async def test_history_and_its_end(store: Store) -> None:
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first)
    assert (await store.get("/a", first)).value == b"1"  # type: ignore[union-attr]
    with pytest.raises(FutureRevisionError):
        await store.get("/a", second + 1)
    third = await store.create("/b", b"1")
    await store.compact(second)
    with pytest.raises(CompactedError):
        await store.get("/a", first)
    assert [r.value for r in (await store.list("/")).records] == [b"2", b"1"]
    assert [r.key for r in (await store.list("/", revision=third)).records] == ["/a", "/b"]
    with pytest.raises(CompactedError):
        await anext(store.watch("/", first))


async def collect(store: Store, prefix: str, after: int, count: int) -> list[tuple[str, str, bytes, int]]:
    seen: list[tuple[str, str, bytes, int]] = []
    async with asyncio.timeout(10):
        async for batch in store.watch(prefix, after):
            seen += [(c.type, c.record.key, c.record.value, c.revision) for c in batch]
            if len(seen) >= count:
                return seen
    return seen


async def test_watch_from_a_revision_has_no_gap_and_no_repeat(store: Store) -> None:
    first = await store.create("/a", b"1")
    await store.create("/x", b"other")
    watching = asyncio.create_task(collect(store, "/a", first, 40))
    revision = first
    for n in range(40):
        revision = await store.update("/a", str(n).encode(), revision)
        if n % 7 == 0:
            await asyncio.sleep(0)
    seen = await watching
    assert [value for _, _, value, _ in seen] == [str(n).encode() for n in range(40)]


async def test_delete_event_carries_the_last_state(store: Store) -> None:
    first = await store.create("/a", b"1")
    gone = await store.delete("/a", first, b"dying")
    assert await collect(store, "/", first, 1) == [("delete", "/a", b"dying", gone)]
    again = await store.create("/a", b"new")
    assert (await store.get("/a")).created == again  # type: ignore[union-attr]


async def test_compaction_at_a_delete_keeps_the_watch_honest(store: Store) -> None:
    first = await store.create("/a", b"1")
    gone = await store.delete("/a", first)
    await store.compact(gone)
    with pytest.raises(CompactedError):
        await collect(store, "/", first, 1)
    later = await store.create("/a", b"2")
    assert [r for *_, r in await collect(store, "/", gone, 1)] == [later]


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "delete", "stale"]), st.binary(max_size=3)), max_size=30)
)
def test_any_history_replays(url: str, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]) -> None:
    async def scenario() -> None:
        store = open_store(url if url == "memory://" else f"sqlite://{tmp_path_factory.mktemp('s')}/s.db")
        await store.start()
        model: dict[str, bytes] = {}
        expected = 0
        for name, act, value in steps:
            current = await store.get(name)
            if act == "put":
                await (store.update(name, value, current.revision) if current else store.create(name, value))
                model[name] = value
                expected += 1
            elif act == "delete" and current:
                await store.delete(name, current.revision)
                del model[name]
                expected += 1
            elif act == "stale":
                with pytest.raises(MismatchError):
                    await store.update(name, value, 10**9)
        assert {r.key: r.value for r in (await store.list("")).records} == model
        replayed: dict[str, bytes] = {}
        if expected:
            for kind, key, value, _ in await collect(store, "", 0, expected):
                if kind == "delete":
                    del replayed[key]
                else:
                    replayed[key] = value
        assert replayed == model
        assert store.revision == expected
        await store.close()

    asyncio.run(scenario())
