"""The client interface, in process: same pipeline and RBAC as over HTTP, no sockets, shared objects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from holdfast.client.api import MERGE_PATCH, WatchEvent
from holdfast.kinds.kind import Obj, Resource
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError
from holdfast.registry.registry import Registry
from holdfast.registry.request import Listing, Request, Result, Stored, User

PIECE = 1000


class LocalClient:
    """``client.api.Client`` as one user; ``agent`` names its writes in managedFields.

    Objects returned are shared with the cache: never mutate them.
    """

    def __init__(self, registry: Registry, user: User, agent: str) -> None:
        self._registry = registry
        self.user = user
        self.agent = agent

    def _request(self, verb: str, resource: Resource, options: Mapping[str, str] | None = None, **more: Any) -> Request:
        try:
            kind = self._registry.kinds.of(resource)
        except KeyError:
            raise ApiError(404, "NotFound", "the server could not find the requested resource", {}) from None
        return Request(self.user, verb, kind, options=options or {}, user_agent=self.agent, **more)

    async def _one(self, request: Request) -> Obj:
        result = await self._registry.execute(request)
        assert isinstance(result, Result)
        if result.stored is not None:
            return result.stored.obj
        return result.obj or {}

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._one(self._request("get", resource, namespace=namespace, name=name))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        match: str = "",
        metadata_only: bool = False,
    ) -> Obj:
        options = _selection(labels, fields, resource_version) | ({"resourceVersionMatch": match} if match else {})
        found = await self._registry.execute(self._request("list", resource, options, namespace=namespace))
        assert isinstance(found, Listing)
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(found.revision)},
            "items": await _objects(found.items, metadata_only=metadata_only),
        }

    async def create(self, resource: Resource, obj: Obj, namespace: str = "", *, subresource: str = "", name: str = "") -> Obj:
        namespace = namespace or (_metadata(obj).get("namespace") or "")
        request = self._request("create", resource, namespace=namespace, name=name, subresource=subresource, body=obj)
        return await self._one(request)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        request = self._request(
            "update", resource, namespace=meta.namespace(obj), name=meta.name(obj), subresource=subresource, body=obj
        )
        return await self._one(request)

    async def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str,
        patch: Any,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Obj:
        request = self._request(
            "patch", resource, namespace=namespace, name=name, subresource=subresource, body=patch, content_type=content_type
        )
        return await self._one(request)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period: int | None = None,
        propagation: str = "",
    ) -> Obj:
        conditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        body: Obj = {"preconditions": conditions} if conditions else {}
        if grace_period is not None:
            body["gracePeriodSeconds"] = grace_period
        if propagation:
            body["propagationPolicy"] = propagation
        return await self._one(self._request("delete", resource, namespace=namespace, name=name, body=body))

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        options = _selection(labels, fields, resource_version) | {"allowWatchBookmarks": "true"}
        async with contextlib.aclosing(self._registry.watch(self._request("watch", resource, options, namespace=namespace))) as batches:
            async for batch in batches:
                for event in batch:
                    yield WatchEvent(event.type, _partial(event.stored) if metadata_only else event.stored.obj)


async def _objects(items: Sequence[Stored], *, metadata_only: bool) -> list[Obj]:
    """Decoded in pieces: others have their turn between them."""
    found: list[Obj] = []
    for start in range(0, len(items), PIECE):
        found += [_partial(item) if metadata_only else item.obj for item in items[start : start + PIECE]]
        await asyncio.sleep(0)
    return found


def _partial(item: Stored) -> Obj:
    """Type and metadata of an object, whose rest is not kept."""
    obj = item.peek()
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "metadata": metadata}


def _selection(labels: str, fields: str, resource_version: str) -> dict[str, str]:
    pairs = (("labelSelector", labels), ("fieldSelector", fields), ("resourceVersion", resource_version))
    return {name: value for name, value in pairs if value}


def _metadata(obj: Obj) -> Obj:
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}
