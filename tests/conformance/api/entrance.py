"""The two ways into a server for the state machine: the registry itself, and HTTPS. Both answer (code, body)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from holdfast.kinds.kind import Resource
from holdfast.machinery.errors import ApiError
from holdfast.registry.registry import Registry
from holdfast.registry.request import Listing, Request, Result, User
from tests.conformance.api.objectmodel import Obj, Shape
from tests.serving import Api

USER = User("machine", ("system:masters", "system:authenticated"))
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class Entrance(Protocol):
    namespace: str

    @property
    def registry(self) -> Registry: ...

    async def call(
        self, verb: str, shape: Shape, name: str = "", body: Any = None, *, subresource: str = "", patch: str = "", **options: str
    ) -> tuple[int, Obj]: ...

    def watch(self, shape: Shape, **options: str) -> AsyncGenerator[Obj, None]:
        """An expired revision is an ERROR event."""


class Direct:
    def __init__(self, registry: Registry, namespace: str) -> None:
        self.registry = registry
        self.namespace = namespace

    def _request(self, verb: str, shape: Shape, options: dict[str, str], **more: Any) -> Request:
        group, _, version = shape.api_version.rpartition("/")
        kind = self.registry.kinds.of(Resource(group, version, shape.plural, shape.kind))
        return Request(USER, verb, kind, self.namespace, options=options, **more)

    async def call(
        self, verb: str, shape: Shape, name: str = "", body: Any = None, *, subresource: str = "", patch: str = "", **options: str
    ) -> tuple[int, Obj]:
        body = orjson.loads(orjson.dumps(body))
        kind = PATCHES.get(patch, "application/json")
        request = self._request(verb, shape, options, name=name, body=body, subresource=subresource, content_type=kind)
        try:
            found = await self.registry.execute(request)
        except ApiError as error:
            return error.code, error.status()
        if isinstance(found, Listing):
            metadata: Obj = {
                "resourceVersion": str(found.revision),
                "continue": found.continue_token,
                "remainingItemCount": found.remaining,
            }
            return 200, {"metadata": metadata, "items": [item.obj for item in found.items]}
        assert isinstance(found, Result)
        return found.code, found.stored.obj if found.stored is not None else found.obj or {}

    async def watch(self, shape: Shape, **options: str) -> AsyncGenerator[Obj, None]:
        try:
            async with contextlib.aclosing(self.registry.watch(self._request("watch", shape, options))) as batches:
                async for batch in batches:
                    for event in batch:
                        yield {"type": event.type, "object": event.stored.obj}
        except ApiError as error:
            yield {"type": "ERROR", "object": error.status()}


METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}


class Https:
    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    @property
    def registry(self) -> Registry:
        return self._api.registry

    def _path(self, shape: Shape, *rest: str, **options: str) -> str:
        path = "/".join([shape.path, "namespaces", self.namespace, shape.plural, *(part for part in rest if part)])
        return f"{path}?{urlencode(options)}" if options else path

    async def call(
        self, verb: str, shape: Shape, name: str = "", body: Any = None, *, subresource: str = "", patch: str = "", **options: str
    ) -> tuple[int, Obj]:
        path = self._path(shape, name, subresource, **options)
        answer = await self._api.call(METHODS[verb], path, body, {"Content-Type": PATCHES.get(patch, "application/json")})
        return answer.status, answer.body

    async def watch(self, shape: Shape, **options: str) -> AsyncGenerator[Obj, None]:
        async with self._api.open("GET", self._path(shape, watch="true", **options)) as answer:
            async for line in answer.content:
                yield orjson.loads(line)
