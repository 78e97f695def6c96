"""Watches as a client sees them: opened at a revision, read event by event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from tests.serving import Answer, Api

Obj = dict[str, Any]
PATIENCE = 10.0


class Following:
    """One open watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> Obj:
        """The next event. Fails where the stream has ended."""
        async with asyncio.timeout(PATIENCE):
            line = await self.answer.content.readline()
        assert line, "the watch has ended"
        found: Obj = orjson.loads(line)
        return found

    async def take(self, count: int) -> list[Obj]:
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Obj]:
        """All there is up to a clean end."""
        async with asyncio.timeout(PATIENCE):
            return [orjson.loads(line) async for line in self.answer.content]


@contextlib.asynccontextmanager
async def following(api: Api, path: str, accept: str = "application/json", **query: str | int) -> AsyncIterator[Following]:
    """A watch of ``path``; ``query`` in the API's own names."""
    asked = {"watch": "true", "timeoutSeconds": "30"} | {name: str(value) for name, value in query.items()}
    async with api.open("GET", f"{path}?{urlencode(asked)}", headers={"Accept": accept}) as answer:
        assert answer.status == 200, await answer.read()
        yield Following(answer)


async def refused(api: Api, path: str, **query: str | int) -> Answer:
    """The answer to a watch that is none."""
    return await api.get(f"{path}?{urlencode({'watch': 'true', 'timeoutSeconds': '1'} | {n: str(v) for n, v in query.items()})}")


def told(events: list[Obj]) -> list[tuple[str, str, int]]:
    """(type, name, revision) of each event."""
    return [(event["type"], event["object"]["metadata"].get("name", ""), revision(event["object"])) for event in events]


def revision(obj: Obj) -> int:
    """Of an object or a list."""
    return int(obj["metadata"]["resourceVersion"])
