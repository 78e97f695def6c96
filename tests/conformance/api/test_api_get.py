"""API-1 to API-6, API-25 and API-26: one object, how new it is, and in which form it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.api.following import following, refused, revision
from tests.conformance.api.spaces import Space, refusal
from tests.serving import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")
FUTURE = 10**9
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIALS = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def _numbered(space: Space, number: int) -> Answer:
    return await space.api.patch(space.at("configmaps", "a"), {"data": {"n": str(number)}})


async def test_api_1_a_get_shows_every_write_that_was_answered(space: Space) -> None:
    await space.config_map()
    for number in range(20):
        written = (await _numbered(space, number)).body
        assert await space.got(space.at("configmaps", "a")) == written
    assert (await space.api.delete(space.at("configmaps", "a"))).status == 200
    assert await space.gone(space.at("configmaps", "a"))


async def test_api_2_revision_0_takes_what_is_at_hand(space: Space) -> None:
    made = await space.config_map()
    assert await space.got(space.at("configmaps", "a") + "?resourceVersion=0") == made


async def test_api_3_a_get_is_not_older_than_asked(space: Space) -> None:
    made = await space.config_map()
    written = (await _numbered(space, 2)).body
    for version in (revision(made), revision(written)):
        assert await space.got(space.at("configmaps", "a") + f"?resourceVersion={version}") == written


async def test_api_3_a_revision_about_to_come_is_waited_for(space: Space) -> None:
    made = await space.config_map()
    coming = space.api.registry.cache.revision + 3
    asked = asyncio.create_task(space.got(space.at("configmaps", "a") + f"?resourceVersion={coming}"))
    for number in range(20):
        if asked.done():
            break
        await _numbered(space, number)
    assert revision(await asked) > revision(made)
    assert space.api.registry.cache.revision >= coming


async def test_api_4_a_revision_that_does_not_come_is_a_timeout(space: Space) -> None:
    await space.config_map()
    maps, loop = space.at("configmaps"), asyncio.get_running_loop()
    begun = loop.time()
    answers = await asyncio.gather(
        space.api.get(f"{maps}/a?resourceVersion={FUTURE}"),
        space.api.get(f"{maps}?resourceVersion={FUTURE}"),
        space.api.get(f"{maps}?resourceVersion={FUTURE}&resourceVersionMatch=Exact"),
    )
    assert 2.5 < loop.time() - begun < 6
    for answer in answers:
        code, reason, message = refusal(answer)
        assert (code, reason) == (504, "Timeout")
        assert message.startswith(f"Timeout: Too large resource version: {FUTURE}, current: ")
        assert int(message.rpartition(" ")[2]) <= space.api.registry.cache.revision
        details = answer.body["details"]
        assert details["causes"] == [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        assert details["retryAfterSeconds"] == 1
        assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "%D9%A3", "0x10", str(2**64), "%20"])
async def test_api_5_a_revision_is_a_number(space: Space, text: str) -> None:
    await space.config_map()
    maps = space.at("configmaps")
    for path in (f"{maps}/a?", f"{maps}?", f"{maps}?watch=1&timeoutSeconds=1&"):
        code, reason, message = refusal(await space.api.get(f"{path}resourceVersion={text}"))
        assert (code, reason) == (400, "BadRequest")
        assert "resourceVersion: Invalid value: " in message
        assert message.endswith("invalid syntax")


async def test_api_6_what_is_not_there_is_named(space: Space) -> None:
    for path, plural, group in (
        (space.at("pods", "x"), "pods", ""),
        (space.apps("statefulsets", "x"), "statefulsets", "apps"),
        ("/api/v1/nodes/x", "nodes", ""),
        ("/api/v1/namespaces/nowhere/pods/x", "pods", ""),
    ):
        answer = await space.api.get(path)
        qualified = f"{plural}.{group}" if group else plural
        assert refusal(answer) == (404, "NotFound", f'{qualified} "x" not found')
        assert answer.body["details"] == {"name": "x", "kind": plural} | ({"group": group} if group else {})
        assert answer.body["metadata"] == {}


async def _as(space: Space, path: str, accept: str) -> dict[str, Any]:
    answer = await space.api.get(path, Accept=accept)
    assert answer.status == 200, answer.raw
    found: dict[str, Any] = answer.body
    return found


async def test_api_25_objects_and_lists_come_as_tables(space: Space) -> None:
    made = await space.config_map("a", {"k": "1", "l": "2"})
    await space.config_map("b")
    maps = space.at("configmaps")
    one = await _as(space, maps + "/a", TABLE)
    assert (one["kind"], one["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in one["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = one["rows"]
    assert row["cells"][:2] == ["a", 2]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"] == made["metadata"]
    assert one["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    # A controller's ConfigMap may stand before ours.
    listed = await _as(space, maps + "?limit=1", TABLE)
    assert len(listed["rows"]) == 1
    assert listed["metadata"]["continue"]
    following_page = await _as(space, f"{maps}?continue={listed['metadata']['continue']}&includeObject=Object", TABLE)
    shown = {row["object"]["metadata"]["name"]: row["object"] for row in following_page["rows"]}
    assert shown["b"]["data"] == {"k": "1"}
    bare = await _as(space, maps + "?includeObject=None", TABLE)
    assert all(row.get("object") is None for row in bare["rows"])


async def test_api_25_metadata_alone(space: Space) -> None:
    made = await space.config_map()
    one = await _as(space, space.at("configmaps", "a"), PARTIAL)
    assert one == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]}
    listed = await _as(space, space.at("configmaps"), PARTIALS)
    assert (listed["kind"], listed["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert made["metadata"] in [item["metadata"] for item in listed["items"]]
    assert not any("data" in item for item in listed["items"])
    mistaken = await space.api.get(space.at("configmaps"), Accept=PARTIAL)
    assert mistaken.status == 406
    assert "is a list" in mistaken.body["message"]


async def test_api_25_watches_take_the_same_forms(space: Space) -> None:
    made = await space.config_map()
    maps, before = space.at("configmaps"), revision(made) - 1
    async with following(space.api, maps, TABLE, resourceVersion=before, fieldSelector="metadata.name=a") as watch:
        first = await watch.next()
        await _numbered(space, 1)
        second = await watch.next()
    assert [first["object"]["kind"], first["type"], second["type"]] == ["Table", "ADDED", "MODIFIED"]
    assert first["object"]["columnDefinitions"]
    assert not second["object"].get("columnDefinitions")
    assert second["object"]["rows"][0]["cells"][0] == "a"
    async with following(space.api, maps, PARTIAL, resourceVersion=before, fieldSelector="metadata.name=a") as watch:
        event = await watch.next()
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert event["object"]["metadata"] == made["metadata"]


async def test_api_26_an_unknown_form_is_not_acceptable(space: Space) -> None:
    await space.config_map()
    for path in (space.at("configmaps", "a"), space.at("configmaps"), space.at("configmaps") + "?watch=1&timeoutSeconds=1"):
        for accept in ("text/html", "application/cbor", "application/json;as=Table;v=v9;g=meta.k8s.io"):
            answer = await space.api.get(path, Accept=accept)
            assert refusal(answer)[:2] == (406, "NotAcceptable")
            assert "application/json, application/yaml" in answer.body["message"]
    for accept in ("*/*", "text/html;q=0.9,*/*;q=0.1", "application/json", ""):
        assert (await space.api.get(space.at("configmaps", "a"), Accept=accept)).body["kind"] == "ConfigMap"


async def test_api_26_an_unknown_body_is_unsupported(space: Space) -> None:
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}'
    for media in ("text/plain", "application/xml", "application/x-www-form-urlencoded"):
        answer = await space.api.post(space.at("configmaps"), body, **{"Content-Type": media})
        code, reason, message = refusal(answer)
        assert (code, reason) == (415, "UnsupportedMediaType")
        assert message.startswith("the body of the request was in an unknown format - accepted media types include: application/json")
    patched = await space.api.patch(space.at("configmaps", "a"), "{}", "application/json")
    assert refusal(patched) == (415, "UnsupportedMediaType", "415: Unsupported Media Type")


async def test_api_26_a_watch_is_refused_before_it_begins(space: Space) -> None:
    assert (await refused(space.api, space.at("configmaps"), labelSelector="a===b")).status == 400
    assert (await refused(space.api, space.at("nopes"))).status == 404
