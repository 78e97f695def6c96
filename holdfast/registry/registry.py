"""The registry: every read and write of an object comes through here, over HTTP or from the same process.

A request is authorized first, then goes to its verb (``verbs``); writes walk ``pipeline.STEPS`` and are
committed to the store; reads come from the watch cache, which one task feeds from the store's watch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from holdfast.kinds.table import KindTable
from holdfast.lib.clock import Clock
from holdfast.machinery.errors import ApiError
from holdfast.registry import events
from holdfast.registry.admission.namespace import check_new
from holdfast.registry.answered import ANSWERED
from holdfast.registry.authorize import Attributes, refusal
from holdfast.registry.core import Core
from holdfast.registry.request import Event, Listing, Request, Result, User
from holdfast.registry.subresources import eviction, pod, scale, token
from holdfast.registry.verbs import create, delete, deletecollection, get, patch, update
from holdfast.registry.verbs import list as listing
from holdfast.registry.verbs import watch as watching
from holdfast.store.api import Store

log = logging.getLogger("holdfast.registry")
_Handler = Callable[[Core, Request], Awaitable[Result | Listing]]

_VERBS: Mapping[str, _Handler] = {
    "get": get.get,
    "list": listing.list_,
    "create": create.create,
    "update": update.update,
    "patch": patch.patch,
    "delete": delete.delete,
    "deletecollection": deletecollection.deletecollection,
}
_SUBRESOURCES: Mapping[tuple[str, str], _Handler] = {
    ("get", "status"): get.get,
    ("update", "status"): update.update,
    ("patch", "status"): patch.patch,
    ("update", "finalize"): update.update,
    ("get", "ephemeralcontainers"): get.get,
    ("update", "ephemeralcontainers"): update.update,
    ("patch", "ephemeralcontainers"): patch.patch,
    ("get", "resize"): get.get,
    ("update", "resize"): update.update,
    ("patch", "resize"): patch.patch,
    ("get", "scale"): scale.get,
    ("update", "scale"): scale.write,
    ("patch", "scale"): scale.write,
    ("create", "binding"): pod.bind,
    ("create", "eviction"): eviction.evict,
    ("create", "token"): token.create,
}


class Registry(Core):
    """Owned by one event loop. ``start`` before use, ``close`` at the end; ``join`` returns when it fails."""

    def __init__(self, store: Store, kinds: KindTable, clock: Clock | None = None, **parts: Any) -> None:
        """``parts``: as ``Core`` takes them."""
        super().__init__(store, kinds, clock, **parts)
        self._runner: asyncio.Task[None] | None = None
        self._requests: dict[str, int] = {}

    async def start(self) -> None:
        """Returns when the cache has caught up with the store."""
        await self.cache.start()
        self._runner = asyncio.create_task(self._run(), name="registry")
        await self.cache.wait(self.store.revision)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.cache.run(), name="watch cache")
            tasks.create_task(events.sweep(self), name="event sweep")

    async def join(self) -> None:
        """Waits for the background work; raises what ended it. Cancelling the waiter ends nothing."""
        if self._runner is not None:
            await asyncio.shield(self._runner)

    async def close(self) -> None:
        if self._runner is None:
            return
        self._runner.cancel()
        await asyncio.wait([self._runner])
        if not self._runner.cancelled() and (error := self._runner.exception()) is not None:
            log.warning("the registry's background work had failed: %r", error)
        self._runner = None

    # The two entrances.

    async def execute(self, request: Request) -> Result | Listing:
        """Any verb but watch. Raises ApiError."""
        handler = self._route(request)
        self.authorize(request)
        if request.subresource and request.verb == "create" and request.namespace:
            check_new(self.cache, request, request.name)
        return await handler(self, request)

    def watch(self, request: Request) -> AsyncGenerator[list[Event], None]:
        """Events in batches. Raises ApiError at once for a refused or malformed request, the first step for a revision too old."""
        self._route(request)
        self.authorize(request)
        return watching.watch(self, request)

    def _route(self, request: Request) -> _Handler:
        self._requests[request.verb] = self._requests.get(request.verb, 0) + 1
        kind, verb = request.kind, request.verb
        if request.subresource:
            declared = kind.subresources.get(request.subresource)
            if declared is None:
                raise ApiError(404, "NotFound", "the server could not find the requested resource", {})
            found = _SUBRESOURCES.get((verb, request.subresource)) if verb in declared.verbs else None
        else:
            verbs = _VERBS if kind.storage else {"create": ANSWERED.get(kind.resource)}
            found = verbs.get("list" if verb == "watch" else verb) if verb in kind.verbs else None
        if found is None:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
        return found

    # Permissions.

    def authorize_resource(self, user: User, asked: Attributes) -> None:
        """As ``authorize``, for resources that are no kinds. Raises ApiError 403."""
        decision = self.authorizer.decide(user, asked)
        if not decision.allowed:
            raise refusal(user, asked, decision.reason)

    async def authorize_path(self, user: User, verb: str, path: str) -> None:
        """For requests that name no resource: /metrics, /version, discovery. Raises ApiError 403."""
        self.authorize_resource(user, Attributes(verb, path=path))

    def statistics(self) -> dict[str, dict[str, float]]:
        return {
            "store": dict(self.store.statistics()),
            "cache": dict(self.cache.statistics()),
            "registry": {"writes": self.committer.writes, **{f"requests_{verb}": n for verb, n in sorted(self._requests.items())}},
        }
