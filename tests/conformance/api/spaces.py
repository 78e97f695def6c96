"""A namespace of its own for each test on a server that a whole module shares: the paths in it, and what answers say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tests.serving import Answer, Api

Obj = dict[str, Any]


@dataclass(frozen=True)
class Space:
    api: Api
    name: str

    def at(self, plural: str, *tail: str, group: str = "") -> str:
        """The path of a collection, an object, a subresource in this namespace; ``group`` as in ``apps/v1``."""
        root = f"/apis/{group}" if group else "/api/v1"
        return "/".join((root, "namespaces", self.name, plural, *tail))

    def apps(self, plural: str, *tail: str) -> str:
        return self.at(plural, *tail, group="apps/v1")

    async def config_map(self, name: str = "a", data: dict[str, str] | None = None, **metadata: Any) -> Obj:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"k": "1"}}
        return await self.made(self.at("configmaps"), body)

    async def bound_pod(self, name: str = "p", **spec: Any) -> Obj:
        """A pod that a node is to stop before it goes."""
        return await self.made(self.at("pods"), pod(name, nodeName="n1", **spec))

    async def made(self, path: str, body: Obj) -> Obj:
        answer = await self.api.post(path, body)
        assert answer.status == 201, answer.raw
        found: Obj = answer.body
        return found

    async def got(self, path: str) -> Obj:
        answer = await self.api.get(path)
        assert answer.status == 200, answer.raw
        found: Obj = answer.body
        return found

    async def gone(self, path: str) -> bool:
        return (await self.api.get(path)).status == 404

    async def until(self, path: str, true: Callable[[Answer], bool]) -> Answer:
        """The first answer of which it is true: for what a controller does in its own time."""
        async with asyncio.timeout(10):
            while not true(answer := await self.api.get(path)):
                pass
        return answer

    @contextlib.asynccontextmanager
    async def watching(self, path: str) -> AsyncIterator[Callable[[], AsyncIterator[Obj]]]:
        """Events of ``path`` from now on."""
        revision = (await self.got(path))["metadata"]["resourceVersion"]
        async with self.api.open("GET", f"{path}?watch=1&resourceVersion={revision}&timeoutSeconds=20") as answer:

            async def events() -> AsyncIterator[Obj]:
                async for line in answer.content:
                    yield orjson.loads(line)

            yield events


def pod(name: str, **spec: Any) -> Obj:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }  # fmt: skip


def stateful_set(name: str, **spec: Any) -> Obj:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {"serviceName": name, "replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec},
    }  # fmt: skip


def refusal(answer: Answer) -> tuple[int, str, str]:
    """Code, reason and message; the Status must be whole."""
    body = answer.body
    assert isinstance(body, dict), answer.raw
    assert (body["kind"], body["status"], body["code"]) == ("Status", "Failure", answer.status), answer.raw
    return answer.status, body["reason"], body["message"]


def causes(answer: Answer) -> list[tuple[str, str]]:
    """(reason, field) of each fault."""
    assert answer.status in (409, 422), answer.raw
    return [(cause["reason"], cause["field"]) for cause in answer.body["details"]["causes"]]
