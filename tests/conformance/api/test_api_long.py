"""API-36, and what is long: watchers that are too slow, lists that go out in parts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import yaml

from holdfast.registry import cache
from holdfast.registry.cache import Subscription
from holdfast.server import render
from holdfast.server.gate import Limits
from tests.conformance.api.following import Following, following, revision, told
from tests.serving import STORES, Api, api_server

pytestmark = pytest.mark.parametrize("store", STORES)
MAPS = "/api/v1/namespaces/default/configmaps"
BIG = 400_000
Told = list[tuple[str, str, int]]


async def _written(api: Api, numbers: range, size: int) -> Told:
    """Creates so many, one after the other: what a watcher is to be told of them."""
    found = []
    for number in numbers:
        name = f"c{number:04}"
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"mine": "yes"}},
            "data": {"k": "x" * size},
        }
        answer = await api.post(MAPS, body)
        assert answer.status == 201, answer.raw
        found.append(("ADDED", name, revision(answer.body)))
    return found


async def _moment(api: Api) -> int:
    return revision((await api.get(MAPS + "?limit=1")).body)


async def _until_its_end(watch: Following) -> Told:
    """Whole events only: a cut may leave half of one."""
    found: list[Any] = []
    try:
        while (line := await watch.answer.content.readline()).endswith(b"\n"):
            found.append(orjson.loads(line))
    except aiohttp.ClientError:
        pass
    return told(found)


async def test_api_36_a_slow_watcher_is_cut_and_goes_on_where_it_was(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "QUEUE", 10)
    most = 0
    offer = Subscription.offer

    def counted(self: Subscription, event: cache.CacheEvent) -> None:
        nonlocal most
        offer(self, event)
        most = max(most, len(self.events))

    monkeypatch.setattr(Subscription, "offer", counted)
    async with api_server(tmp_path, store) as api:
        query = {"labelSelector": "mine=yes"}
        async with following(api, MAPS, resourceVersion=await _moment(api), **query) as slow:
            history = await _written(api, range(60), BIG)  # far more than the sockets hold, and the queue
            seen = await _until_its_end(slow)
        assert most == 10
        assert 0 < len(seen) < len(history)
        assert seen == history[: len(seen)]
        async with following(api, MAPS, resourceVersion=seen[-1][2], **query) as again:
            assert told(await again.take(len(history) - len(seen))) == history[len(seen) :]


def _watchers(api: Api) -> int:
    """Of that very collection; controllers watch all namespaces."""
    return len(api.registry.cache._collection("/registry/configmaps/").subscriptions.get("/registry/configmaps/default/", {}))


async def test_api_36_who_takes_nothing_is_gone_and_holds_nobody_up(tmp_path: Path, store: str) -> None:
    async with api_server(tmp_path, store, Limits(stall_seconds=0.5)) as api:
        query = {"resourceVersion": await _moment(api), "labelSelector": "mine=yes"}
        async with following(api, MAPS, **query), following(api, MAPS, **query) as quick:
            assert _watchers(api) == 2
            reading = asyncio.create_task(quick.take(60))
            history = await _written(api, range(60), BIG)
            assert told(await reading) == history
            async with asyncio.timeout(10):
                while _watchers(api) == 2:
                    await api.get("/version")
            later = await _written(api, range(60, 61), 1)
            assert told([await quick.next()]) == later


async def _long(api: Api, accept: str = "application/json", query: str = "", **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    asked = {"Accept": accept, "Accept-Encoding": "identity", **headers}
    async with api.open("GET", f"{MAPS}?labelSelector=mine%3Dyes{query}", headers=asked) as answer:
        assert answer.status == 200
        return answer, await answer.read()


async def test_long_lists_go_out_in_parts_that_make_one_document(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the form, the parts and their number: the same document."""
    names = [f"c{n:04}" for n in range(50)]
    async with api_server(tmp_path, store) as api:
        await _written(api, range(50), 5000)
        short = {}
        forms = {
            "plain": ("application/json", ""),
            "pretty": ("application/json", "&pretty=true"),
            "yaml": ("application/yaml", ""),
            "table": ("application/json;as=Table;v=v1;g=meta.k8s.io", "&includeObject=Object"),
            "partial": ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", ""),
        }
        monkeypatch.setattr(render, "_PART_ITEMS_YAML", 1000)
        for form, (accept, query) in forms.items():
            answer, short[form] = await _long(api, accept, query)
            assert int(answer.headers["Content-Length"]) == len(short[form])
        monkeypatch.setattr(render, "_PART_BYTES", 30_000)
        monkeypatch.setattr(render, "_PART_ITEMS_YAML", 3)
        for form, (accept, query) in forms.items():
            answer, body = await _long(api, accept, query)
            assert answer.headers["Transfer-Encoding"] == "chunked"
            document = yaml.safe_load(body) if form == "yaml" else json.loads(body)
            expected = yaml.safe_load(short[form]) if form == "yaml" else json.loads(short[form])
            if form == "table":  # ages pass
                document["rows"], expected["rows"] = ([row["object"] for row in each["rows"]] for each in (document, expected))
            assert document == expected
            if form == "pretty":
                assert body == short[form]
            listed = document.get("items") or document["rows"]
            assert [item["metadata"]["name"] for item in listed] == names
        packed, body = await _long(api, **{"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert body == short["plain"]  # the client has unpacked it
        # The connection is good for another request.
        assert (await api.get(MAPS + "/c0001")).status == 200


async def test_long_lists_let_others_pass(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two parts of a list others are answered; the list still shows its own moment."""
    monkeypatch.setattr(render, "_PART_ITEMS", 10)
    async with api_server(tmp_path, store) as api:
        history = await _written(api, range(40), BIG // 2)
        async with api.open("GET", f"{MAPS}?labelSelector=mine%3Dyes") as answer:
            deleted = await api.delete(MAPS + "/c0039")  # answered while the list waits for its reader
            assert deleted.status == 200
            body = orjson.loads(await answer.read())
        assert [revision(item) for item in body["items"]] == [at for _, _, at in history]
