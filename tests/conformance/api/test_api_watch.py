"""API-27 to API-39: what a watch tells, in which order, from where on, and until when."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from urllib.parse import urlencode

import pytest

from holdfast.registry import cache
from holdfast.registry.verbs import watch as watching
from tests.conformance.api.following import Following, following, refused, revision, told
from tests.conformance.api.spaces import Space, causes, refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")
Obj = dict[str, Any]
INITIAL = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
END = {"k8s.io/initial-events-end": "true"}


async def _secret(space: Space, name: str, **labels: str) -> int:
    """Of a kind that no controller writes: what is told of it is the test's alone. Its revision."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}
    return revision(await space.made(space.at("secrets"), body))


async def _labelled(space: Space, name: str, **labels: str | None) -> int:
    answer = await space.api.patch(space.at("secrets", name), {"metadata": {"labels": labels}})
    assert answer.status == 200, answer.raw
    return revision(answer.body)


async def _deleted(space: Space, name: str) -> None:
    assert (await space.api.delete(space.at("secrets", name))).status == 200


async def _moment(space: Space) -> int:
    """Of the newest write in the whole log."""
    return revision(await space.got(space.at("secrets")))


async def _told_until(watch: Following, name: str) -> list[tuple[str, str, int]]:
    """What is told up to the first event of an object of that name, which is left out."""
    found: list[tuple[str, str, int]] = []
    while (event := told([await watch.next()])[0])[1] != name:
        found.append(event)
    return found


async def test_api_27_every_later_event_in_order_and_once(space: Space) -> None:
    """However far back a watch begins, and though it begins amid writes: what it tells is the tail of one history."""
    start = await _moment(space)
    going = True

    async def writing(lane: int) -> None:
        for number in itertools.count():
            name = f"w{lane}-{number}"
            await _secret(space, name)
            await _labelled(space, name, a="1")
            await _deleted(space, name)
            if not going:
                return

    writers = [asyncio.create_task(writing(lane)) for lane in range(4)]
    histories = []
    for _ in range(5):
        since = await _moment(space)
        async with following(space.api, space.at("secrets"), resourceVersion=since) as watch:
            histories.append((since, told(await watch.take(40))))
    going = False
    await asyncio.gather(*writers)
    await _secret(space, "end")
    async with following(space.api, space.at("secrets"), resourceVersion=start) as watch:
        whole = await _told_until(watch, "end")
    revisions = [at for _, _, at in whole]
    assert revisions == sorted(set(revisions))
    states: dict[str, str] = {}
    for kind, name, _ in whole:
        assert (states.get(name), kind) in {(None, "ADDED"), ("ADDED", "MODIFIED"), ("MODIFIED", "DELETED")}
        states[name] = kind
    assert set(states.values()) == {"DELETED"}
    for since, seen in histories:
        after = [event for event in whole if event[2] > since]
        assert seen == after[: len(seen)]


async def test_api_28_without_a_revision_the_present_comes_first(space: Space) -> None:
    for name in ("b", "a"):
        await _secret(space, name)
    await _labelled(space, "b", x="1")
    for query in ({}, {"resourceVersion": 0}):
        async with following(space.api, space.at("secrets"), **query) as watch:
            first = await watch.take(2)
            later = await _secret(space, "later")
            assert told([await watch.next()]) == [("ADDED", "later", later)]
        assert [event["type"] for event in first] == ["ADDED", "ADDED"]
        assert [event["object"] for event in first] == [await space.got(space.at("secrets", name)) for name in ("a", "b")]
        await _deleted(space, "later")


async def test_api_29_a_revision_too_old_is_an_error_event(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WINDOW", 2)
    start, store = await _moment(space), space.api.registry.store
    for name in "abcd":
        await _secret(space, name)
    async with following(space.api, space.at("secrets"), resourceVersion=start) as watch:
        assert [name for _, name, _ in told(await watch.take(4))] == ["a", "b", "c", "d"]  # read from the log
    await store.compact(store.revision)
    async with following(space.api, space.at("secrets"), resourceVersion=start) as watch:
        (event,) = await watch.rest()
    assert event["type"] == "ERROR"
    status = event["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
    assert status["message"].startswith(f"too old resource version: {start} (")
    async with following(space.api, space.at("secrets"), resourceVersion=await _moment(space)) as watch:
        await _secret(space, "e")
        assert told([await watch.next()])[0][:2] == ("ADDED", "e")


async def test_api_30_leaving_a_selector_is_a_deletion_and_entering_it_an_addition(space: Space) -> None:
    start = await _moment(space)

    async def expected(watch: Following) -> None:
        assert told(await watch.take(6)) == [
            ("ADDED", "a", revisions[0]),
            ("MODIFIED", "a", revisions[1]),
            ("DELETED", "a", revisions[2]),
            ("ADDED", "a", revisions[4]),
            ("DELETED", "a", revisions[6]),
            ("ADDED", "end", revisions[7]),
        ]

    async with following(space.api, space.at("secrets"), resourceVersion=start, labelSelector="in=yes") as live:
        revisions = [
            await _secret(space, "a", **{"in": "yes"}),
            await _labelled(space, "a", x="1"),
            await _labelled(space, "a", **{"in": "no"}),
            await _labelled(space, "a", x="2"),
            await _labelled(space, "a", **{"in": "yes"}),
            await _secret(space, "b", **{"in": "no"}),
            await _labelled(space, "a", **{"in": None}),
            await _secret(space, "end", **{"in": "yes"}),
        ]
        await expected(live)
    async with following(space.api, space.at("secrets"), resourceVersion=start, labelSelector="in=yes") as replayed:
        await expected(replayed)


async def test_api_30_fields_are_left_and_entered_too(space: Space) -> None:
    start = await _moment(space)
    unbound = {"fieldSelector": "spec.nodeName="}
    async with following(space.api, space.at("pods"), resourceVersion=start, **unbound) as watch:
        made = await space.made(
            space.at("pods"),
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        )
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
        assert (await space.api.post(space.at("pods", "p", "binding"), binding)).status == 201
        added, *_, deleted = await watch.take(2)
        while deleted["type"] == "MODIFIED":  # the scheduler's word that no node fits
            deleted = await watch.next()
    assert (added["type"], deleted["type"]) == ("ADDED", "DELETED")
    assert "nodeName" not in deleted["object"]["spec"]
    assert revision(deleted["object"]) > revision(made)


async def test_api_31_a_deletion_shows_the_last_state_at_its_own_revision(space: Space) -> None:
    start = await _moment(space)
    await _secret(space, "a", keep="1")
    before = await _labelled(space, "a", more="2")
    last = await space.got(space.at("secrets", "a"))
    await _deleted(space, "a")
    after = await _secret(space, "b")
    async with following(space.api, space.at("secrets"), resourceVersion=start) as watch:
        *_, deleted = await watch.take(3)
    assert deleted["type"] == "DELETED"
    assert before < revision(deleted["object"]) < after
    for obj in (last, deleted["object"]):
        del obj["metadata"]["resourceVersion"]
    assert deleted["object"] == last


async def test_api_32_bookmarks_say_how_far_the_watcher_has_seen(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.02)
    going, moment = True, await _moment(space)

    async def writing() -> None:
        for number in itertools.count():
            await _secret(space, f"s{number}", mine=str(number % 2))
            if not going:
                return

    writer = asyncio.create_task(writing())
    try:
        query = {"resourceVersion": moment, "labelSelector": "mine=1", "allowWatchBookmarks": "true"}
        async with following(space.api, space.at("secrets"), **query) as watch:
            seen, bookmarks = [], []
            while len(bookmarks) < 8 or len(seen) < 8:
                event = await watch.next()
                at = revision(event["object"])
                if event["type"] == "BOOKMARK":
                    assert event["object"] == {"kind": "Secret", "apiVersion": "v1", "metadata": {"resourceVersion": str(at)}}
                    bookmarks.append(at)
                else:
                    assert at > max(bookmarks, default=0)  # nothing is told that a bookmark had passed
                    seen.append(at)
    finally:
        going = False
        await writer
    assert bookmarks == sorted(bookmarks)
    # Whoever goes on from any bookmark, and not from the last event before it, misses nothing.
    for at in bookmarks[::3]:
        later = [one for one in seen if one > at]
        async with following(space.api, space.at("secrets"), resourceVersion=at, labelSelector="mine=1") as watch:
            assert [one for _, _, one in told(await watch.take(len(later)))] == later


async def test_api_32_nobody_gets_bookmarks_unasked(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.02)
    async with following(space.api, space.at("secrets"), resourceVersion=await _moment(space), timeoutSeconds=1) as watch:
        assert await watch.rest() == []


async def test_api_33_initial_events_end_with_a_marked_bookmark(space: Space) -> None:
    for name in "ab":
        await _secret(space, name)
    moment = await _moment(space)
    for version in ({}, {"resourceVersion": 0}, {"resourceVersion": moment}):
        async with following(space.api, space.at("secrets"), **INITIAL, **version) as watch:
            *first, mark = await watch.take(3)
            assert [event["type"] for event in first] == ["ADDED", "ADDED"]
            assert mark["type"] == "BOOKMARK"
            assert mark["object"]["metadata"]["annotations"] == END
            assert revision(mark["object"]) >= moment
            later = await _secret(space, "c")
            assert told([await watch.next()]) == [("ADDED", "c", later)]
            await _deleted(space, "c")
    async with following(space.api, space.at("secrets"), **INITIAL, labelSelector="none=such") as watch:
        assert (await watch.next())["object"]["metadata"]["annotations"] == END


async def test_api_33_what_initial_events_need(space: Space) -> None:
    for query, reasons in (
        ({"sendInitialEvents": "true"}, ["FieldValueForbidden"]),
        (
            {"sendInitialEvents": "true", "resourceVersionMatch": "Exact", "resourceVersion": 1},
            ["FieldValueForbidden", "FieldValueNotSupported"],
        ),
    ):
        answer = await refused(space.api, space.at("secrets"), **query)
        assert refusal(answer)[:2] == (422, "Invalid")
        assert "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in answer.body["message"]
        assert causes(answer) == [(reason, "resourceVersionMatch") for reason in reasons]
    async with following(space.api, space.at("secrets"), **INITIAL, resourceVersion=10**9) as watch:
        (event,) = await watch.rest()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)
    assert "Too large resource version" in event["object"]["message"]


async def test_api_34_a_match_is_for_initial_events(space: Space) -> None:
    for match in ("NotOlderThan", "Exact"):
        answer = await refused(space.api, space.at("secrets"), resourceVersion=1, resourceVersionMatch=match)
        text = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        assert refusal(answer) == (422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {text}')


async def test_api_35_a_watch_ends_when_it_said(space: Space) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with following(space.api, space.at("secrets"), resourceVersion=await _moment(space), timeoutSeconds=1) as watch:
        await _secret(space, "a")
        assert [name for _, name, _ in told(await watch.rest())] == ["a"]
    assert 0.9 < loop.time() - begun < 3
    answer = await space.api.get(space.at("secrets") + "?watch=1&timeoutSeconds=x")
    assert refusal(answer) == (400, "BadRequest", 'strconv.ParseInt: parsing "x": invalid syntax')


async def test_api_35_unasked_it_ends_at_a_time_of_its_own(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watching.MIN_SECONDS == 1800
    monkeypatch.setattr(watching, "MIN_SECONDS", 0.4)
    loop, moment = asyncio.get_running_loop(), await _moment(space)

    async def lasted() -> float:
        begun = loop.time()
        async with space.api.open("GET", f"{space.at('secrets')}?watch=1&resourceVersion={moment}") as answer:
            assert await answer.read() == b""
        return loop.time() - begun

    ends = sorted(await asyncio.gather(*(lasted() for _ in range(12))))
    assert ends[0] > 0.39
    assert ends[-1] < 0.8 + 1
    assert ends[-1] - ends[0] > 0.05  # clients do not come back all at once


async def test_api_37_all_watchers_see_one_order(space: Space) -> None:
    start = await _moment(space)
    everywhere = {"fieldSelector": f"metadata.namespace={space.name}"}
    async with (
        following(space.api, space.at("secrets"), resourceVersion=start) as one,
        following(space.api, space.at("secrets"), resourceVersion=start) as other,
        following(space.api, "/api/v1/secrets", resourceVersion=start, **everywhere) as wide,
    ):

        async def writing(lane: int) -> None:
            for number in range(8):
                await _secret(space, f"s{lane}-{number}")
                await _labelled(space, f"s{lane}-{number}", a="1")
                await _deleted(space, f"s{lane}-{number}")

        await asyncio.gather(*(writing(lane) for lane in range(8)))
        await _secret(space, "end")
        live = [await _told_until(watch, "end") for watch in (one, other, wide)]
    async with following(space.api, space.at("secrets"), resourceVersion=start) as later:
        replayed = await _told_until(later, "end")
    assert len(replayed) == 8 * 8 * 3
    assert live == [replayed] * 3


async def test_api_38_one_object_is_watched_by_its_name(space: Space) -> None:
    start = await _moment(space)
    named = {"resourceVersion": start, "fieldSelector": "metadata.name=a"}
    async with (
        following(space.api, space.at("secrets"), **named) as by_field,
        following(space.api, "/api/v1/secrets", **named) as anywhere,
        following(space.api, f"/api/v1/watch/namespaces/{space.name}/secrets/a", resourceVersion=start) as by_path,
    ):
        await _secret(space, "aa")
        made = await _secret(space, "a")
        await _labelled(space, "aa", x="1")
        changed = await _labelled(space, "a", x="1")
        await _deleted(space, "aa")
        await _deleted(space, "a")
        for watch in (by_field, anywhere, by_path):
            events = told(await watch.take(3))
            assert events[:2] == [("ADDED", "a", made), ("MODIFIED", "a", changed)]
            assert events[2][:2] == ("DELETED", "a")


async def test_api_39_a_future_revision_is_told_only_what_comes_after_it(space: Space) -> None:
    future = await _moment(space) + 5
    async with following(space.api, space.at("secrets"), resourceVersion=future) as watch:
        made = [await _secret(space, f"s{number}") for number in range(12)]
        later = [at for at in made if at > future]
        assert [at for _, _, at in told(await watch.take(len(later)))] == later
    assert later != made


async def test_api_39_one_far_away_is_told_nothing(space: Space) -> None:
    query = urlencode({"watch": "1", "timeoutSeconds": "1", "resourceVersion": str(10**12)})
    asked = asyncio.create_task(space.api.get(f"{space.at('secrets')}?{query}"))
    for number in range(3):
        await _secret(space, f"s{number}")
    answer = await asked
    assert (answer.status, answer.raw) == (200, b"")
