"""The in-process client: the client interface over the registry, with an identity that obeys RBAC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from holdfast.client.api import MERGE_PATCH, WatchEvent
from holdfast.kinds.kind import Obj, Resource
from holdfast.registry.request import Listing, Request, Result, User

if TYPE_CHECKING:
    from holdfast.registry.registry import Registry


class LocalClient:
    def __init__(self, registry: Registry, user: User) -> None:
        self._registry = registry
        self.user = user

    def _request(self, verb: str, resource: Resource, namespace: str = "", name: str = "", **more: Any) -> Request:
        kind = self._registry.kinds.of(resource)
        return Request(self.user, verb, kind, namespace, name, user_agent=self.user.name, **more)

    async def _object(self, request: Request) -> Obj:
        result = await self._registry.execute(request)
        assert isinstance(result, Result)
        if result.stored is not None:
            return result.stored.obj
        return result.obj or {}

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._object(self._request("get", resource, namespace, name))

    async def list(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", resource_version: str = ""
    ) -> Obj:
        options = _options(labelSelector=labels, fieldSelector=fields, resourceVersion=resource_version)
        listing = await self._registry.execute(self._request("list", resource, namespace, options=options))
        assert isinstance(listing, Listing)
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(listing.revision)},
            "items": [item.obj for item in listing.items],
        }

    async def create(self, resource: Resource, obj: Obj, namespace: str = "", *, subresource: str = "", name: str = "") -> Obj:
        request = self._request("create", resource, namespace or _namespace(resource, obj), name, subresource=subresource, body=obj)
        return await self._object(request)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        name = obj["metadata"]["name"]
        request = self._request("update", resource, _namespace(resource, obj), name, subresource=subresource, body=obj)
        return await self._object(request)

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
        request = self._request("patch", resource, namespace, name, subresource=subresource, body=patch, content_type=content_type)
        return await self._object(request)

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
        preconditions = _options(uid=uid, resourceVersion=resource_version)
        body: dict[str, Any] = {"preconditions": preconditions} if preconditions else {}
        if grace_period is not None:
            body["gracePeriodSeconds"] = grace_period
        if propagation:
            body["propagationPolicy"] = propagation
        return await self._object(self._request("delete", resource, namespace, name, body=body))

    async def watch(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "", resource_version: str = ""
    ) -> AsyncIterator[WatchEvent]:
        options = _options(labelSelector=labels, fieldSelector=fields, resourceVersion=resource_version, allowWatchBookmarks="true")
        async for event in self._registry.watch(self._request("watch", resource, namespace, options=options)):
            yield WatchEvent(event.type, event.stored.obj)


def _options(**given: str) -> dict[str, str]:
    return {name: value for name, value in given.items() if value}


def _namespace(resource: Resource, obj: Obj) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "default") if resource.namespaced else ""
