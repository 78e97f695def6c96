"""Races that the lab found, made certain: compaction under a reader, deletion under a writer, a cache that loads anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.resources import CONFIGMAPS, NAMESPACES
from holdfast.machinery.errors import ApiError
from holdfast.registry.bootstrap import SERVER
from holdfast.registry.cache import ROOT, WatchCache
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.store.api import CompactedError, Page
from holdfast.store.memory import MemoryStore
from holdfast.store.sqlite import SqliteStore
from holdfast.store.watch import Hub

OBJECT = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"n"}}'


async def test_a_page_overtaken_by_a_compaction_is_refused_not_cut_short(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.start()
    first = await store.create("/a", b"1")
    second = await store.update("/a", b"2", first)
    asked = store.list("/", revision=first)
    reading = asyncio.create_task(asked)
    listing = store._list
    await store.compact(second)
    try:
        assert [record.value for record in (await reading).records] == [b"1"]
    except CompactedError:
        pass
    with pytest.raises(CompactedError):  # as the thread finds it that was a moment late
        listing("/", first, "", 0)
    with pytest.raises(CompactedError):
        await store.get("/a", first)
    await store.close()


class _Overtaken(MemoryStore):
    """Its lists take until told; ``gone`` makes the watchers too old."""

    def __init__(self) -> None:
        super().__init__()
        self.listing, self.go_on = asyncio.Event(), asyncio.Event()
        self._hub = Hub(self._read)
        self.gone = False

    async def _read(self, prefix: str, after: int, limit: int) -> list[Any]:
        if self.gone:
            self.gone = False
            raise CompactedError(self.revision)
        return await self._read_changes(prefix, after, limit)

    async def list(self, prefix: str, **options: Any) -> Page:
        self.listing.set()
        await self.go_on.wait()
        return await super().list(prefix, **options)


async def test_a_cache_that_loads_anew_shows_what_was_there_until_all_is_read() -> None:
    store = _Overtaken()
    key = f"{ROOT}configmaps/n/a"
    await store.create(key, OBJECT)
    cache = WatchCache(store)
    await cache.start()
    running = asyncio.create_task(cache.run())
    try:
        await cache.wait(1)
        watcher = cache.subscribe(f"{ROOT}configmaps/")
        store.gone = True
        for behind in store._hub._watchers:
            behind.behind = True
            behind.wake.set()
        await store.create(f"{ROOT}configmaps/n/b", OBJECT)
        await asyncio.wait_for(store.listing.wait(), 5)
        assert cache.get(key) is not None, "readers must not see the cache empty"
        assert len(cache.list(f"{ROOT}configmaps/")) == 1
        late = cache.subscribe(f"{ROOT}configmaps/")
        store.go_on.set()
        await asyncio.wait_for(cache.wait(2), 5)
        assert len(cache.list(f"{ROOT}configmaps/")) == 2
        assert watcher.cut
        assert late.cut, "who came while it loaded would never be fed"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("patching", [False, True])
async def test_a_conditional_write_that_loses_to_a_deletion_is_not_found(patching: bool) -> None:
    """409 would say that the object is there at another revision."""
    store = MemoryStore()
    registry = Registry(store, builtin_table())
    await registry.start()
    client = LocalClient(registry, SERVER, "test")
    await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    made = await client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "n")
    try:
        update = store.update

        async def late(key: str, value: bytes, expected: int) -> int:
            if key.endswith("/n/a"):
                await store.delete(key, expected)
            return await update(key, value, expected)

        store.update = late  # type: ignore[method-assign]
        change = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"x": "y"}}
        writing = client.patch(CONFIGMAPS, "a", "n", change) if patching else client.update(CONFIGMAPS, {**made, "data": {"x": "y"}})
        with pytest.raises(ApiError) as raised:
            await writing
        assert (raised.value.code, raised.value.reason) == (404, "NotFound")
    finally:
        await registry.close()
        await store.close()
