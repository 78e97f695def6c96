"""What an informer's handlers are told is what its picture went through, whatever the stream says (SCEN-16)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from holdfast.client.api import WatchEvent
from holdfast.client.informer import Informer
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import PODS
from holdfast.machinery import meta


def pod(uid: str, revision: int, **more: Any) -> Obj:
    metadata = {"name": "web-0", "namespace": "default", "uid": uid, "resourceVersion": str(revision), **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


class Server:
    """As much of a client as an informer needs: one list, and then a stream that tells ``events`` and stays open."""

    def __init__(self, listed: list[Obj], revision: int, events: list[WatchEvent]) -> None:
        self._found = {"items": listed, "metadata": {"resourceVersion": str(revision)}}
        self._events = events
        self.told = asyncio.Event()

    async def list(self, _resource: Resource, _namespace: str = "", **_more: Any) -> Obj:
        return self._found

    async def watch(self, _resource: Resource, _namespace: str = "", **_more: Any) -> AsyncIterator[WatchEvent]:
        for event in self._events:
            yield event
        self.told.set()
        await asyncio.get_running_loop().create_future()


async def follow(listed: list[Obj], revision: int, *events: WatchEvent) -> tuple[Informer, list[tuple[Obj | None, Obj | None]]]:
    """The informer after these, and all that its handlers were told."""
    server, told = Server(listed, revision, [*events]), []
    informer = Informer(server, PODS)  # type: ignore[arg-type]
    informer.on_change(lambda old, new: told.append((old, new)))
    running = asyncio.create_task(informer.run())
    await server.told.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return informer, told


async def test_the_end_of_a_former_bearer_of_a_name_tells_who_left_the_picture() -> None:
    """Else who keeps count by uid counts the new one for ever: no later event would tell of its end."""
    informer, told = await follow([pod("new", 139)], 139, WatchEvent("DELETED", pod("old", 137)))
    assert informer.list() == []
    assert told == [(None, pod("new", 139)), (pod("new", 139), None)]


async def test_an_end_is_told_with_the_last_state_of_who_ended() -> None:
    last = pod("new", 141, deletionTimestamp="2026-01-01T00:00:00Z")
    _, told = await follow([pod("new", 139)], 139, WatchEvent("DELETED", last))
    assert told[-1] == (last, None)


async def test_one_in_the_place_of_another_is_an_end_and_a_beginning() -> None:
    informer, told = await follow([pod("old", 136)], 136, WatchEvent("MODIFIED", pod("new", 138)))
    assert [meta.uid(each) for each in informer.list()] == ["new"]
    assert told[1:] == [(pod("old", 136), None), (None, pod("new", 138))]
