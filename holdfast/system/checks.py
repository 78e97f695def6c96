"""What makes a server well: the checks behind /livez and /readyz, under the names by which monitors of Kubernetes ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.registry.registry import Registry
from holdfast.server import health


@dataclass
class Checks:
    registry: Registry
    controllers: asyncio.Task[None] | None = None
    """None until they are started: before that a server is not ready."""
    bootstrapped: bool = False
    stopping: bool = False

    def add_to(self, found: health.Health) -> None:
        found.add("etcd", self._stored, health.LIFE)
        found.add("informer-sync", self._seen, health.READINESS)
        found.add("poststarthook/rbac/bootstrap-roles", self._rooted)
        found.add("poststarthook/start-controllers", self._working)
        found.add("shutdown", self._staying, health.READINESS)

    async def _stored(self) -> None:
        await self.registry.store.get("/registry/namespaces/default")

    async def _seen(self) -> None:
        await self.registry.cache.wait(self.registry.store.revision)

    async def _rooted(self) -> None:
        if not self.bootstrapped:
            raise RuntimeError("the first objects are not written yet")

    async def _working(self) -> None:
        if self.controllers is None or self.controllers.done():
            raise RuntimeError("the controllers do not run")

    async def _staying(self) -> None:
        if self.stopping:
            raise RuntimeError("the server is stopping")

    def stop(self) -> None:
        self.stopping = True
