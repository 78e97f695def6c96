"""The registry: every request on every resource comes through ``execute`` or ``watch``.

First authorization, then the verb (``registry.verbs``, one file each); writes walk ``registry.pipeline``
and are committed by the store, and are answered once the watch cache has them.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from holdfast.kinds.kind import Kind, Obj
from holdfast.kinds.table import KindTable
from holdfast.lib.clock import Clock, SystemClock, parse_rfc3339, rfc3339
from holdfast.machinery import errors
from holdfast.registry import codec, subresources
from holdfast.registry.addresses import Addresses
from holdfast.registry.authorize import reviews
from holdfast.registry.authorize.rbac import Rbac
from holdfast.registry.cache import WatchCache
from holdfast.registry.local import LocalClient
from holdfast.registry.request import Event, Listing, Request, Result, Stored, User
from holdfast.registry.verbs import create, delete, deletecollection, get, list_, patch, update, watch
from holdfast.store.api import Store

log = logging.getLogger("holdfast.registry")

IssueToken = Callable[[Obj, Obj], Awaitable[Obj]]
"""(service account, TokenRequest) -> TokenRequest with its status."""
VerifyToken = Callable[[str, list[str]], Awaitable[User | None]]
SWEEP_SECONDS = 60


class Registry:
    def __init__(
        self,
        store: Store,
        kinds: KindTable,
        clock: Clock | None = None,
        *,
        service_cidr: str = "10.96.0.0/12",
        issue_token: IssueToken | None = None,
        verify_token: VerifyToken | None = None,
    ) -> None:
        self.store = store
        self.kinds = kinds
        self.clock = clock or SystemClock()
        self.cache = WatchCache(store)
        self.rbac = Rbac(self.cache)
        self.addresses = Addresses(self.cache, service_cidr)
        self.issue_token = issue_token
        self.verify_token = verify_token
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.cache.start()
        self._tasks = [asyncio.create_task(self.cache.run()), asyncio.create_task(self._sweep())]
        await self.cache.wait(self.store.revision)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def client(self, user: User) -> LocalClient:
        """An in-process client that acts as ``user`` and obeys the same rules."""
        return LocalClient(self, user)

    async def execute(self, request: Request) -> Result | Listing:
        """Raises ApiError for every refusal."""
        self.rbac.authorize(request)
        if request.subresource and request.subresource != "status":
            return await subresources.execute(self, request)
        if request.verb == "list":
            return await list_.execute(self, request)
        verbs = {
            "get": get.execute,
            "create": create.execute,
            "update": update.execute,
            "patch": patch.execute,
            "delete": delete.execute,
            "deletecollection": deletecollection.execute,
        }
        act = verbs.get(request.verb)
        if act is None:
            raise errors.method_not_allowed(request.verb, request.kind.resource.plural, request.kind.resource.group)
        return await act(self, request)

    def watch(self, request: Request) -> AsyncIterator[Event]:
        return watch.execute(self, request)

    async def authorize_path(self, user: User, verb: str, path: str) -> None:
        self.rbac.authorize_path(user, verb, path)

    async def review(self, user: User, plural: str, body: Obj) -> Obj:
        return await reviews.review(self, user, plural, body)

    # What verbs and steps share

    def new_uid(self) -> str:
        return str(uuid.uuid4())

    def timestamp(self, after: float = 0) -> str:
        return rfc3339(self.clock.now() + after)

    def live(self, kind: Kind, namespace: str, name: str) -> Stored:
        """The object now, in the kind's served form. Raises ApiError 404."""
        found = self.cache.get(codec.key(kind, namespace, name))
        if found is None:
            raise errors.not_found(kind.resource.plural, name, kind.resource.group)
        return codec.serve(kind, found)

    def cache_bytes(self, key: str) -> bytes:
        """The stored bytes of a key, b"" when it is absent."""
        found = self.cache.get(key)
        return found.raw if found else b""

    async def committed(self, kind: Kind, namespace: str, name: str, revision: int, value: bytes) -> Stored:
        """What a write that took ``revision`` stored, once every reader can see it."""
        await self.cache.wait(revision)
        return codec.serve(kind, Stored(codec.splice(value, revision), revision))

    def statistics(self) -> dict[str, Any]:
        return {"store": dict(self.store.statistics()), "cache": self.cache.statistics()}

    async def _sweep(self) -> None:
        """Removes objects of kinds that expire (Events)."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for kind in {k.storage: k for k in self.kinds if k.event_ttl_seconds}.values():
                await self._sweep_kind(kind)

    async def _sweep_kind(self, kind: Kind) -> None:
        edge = self.clock.now() - kind.event_ttl_seconds
        for item in self.cache.list(codec.prefix(kind)):
            obj = item.obj
            stamp = obj.get("lastTimestamp") or obj["metadata"]["creationTimestamp"]
            if parse_rfc3339(stamp) < edge:
                metadata = obj["metadata"]
                try:
                    await self.store.delete(codec.key(kind, metadata.get("namespace", ""), metadata["name"]), item.revision)
                except Exception as error:
                    log.debug("sweep of %s: %s", metadata["name"], error)
