"""Volumes that were made for a claim which went before a PersistentVolume told of them: nobody else would ever remove them.

Looked for when the engine's process starts, and when a claim goes that had no volume yet. One is removed only when the engine
says that nothing was ever written there, and live reads show neither a claim of that uid nor a PersistentVolume of that handle.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.informer import Informer
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.provisioner import make
from holdfast.kinds import sources
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from holdfast.machinery import meta
from holdfast.volumes.api import Engine, Source, VolumeError

SOON = 1.0


class Leftovers:
    """``is_asked``: whether a claim is the engine's to provide for. ``making``: handles that are being made now."""

    def __init__(self, client: Client, engine: Engine, claims: Informer, volumes: Informer, is_asked: Callable[[Obj], bool]) -> None:
        self._client = client
        self._engine = engine
        self._claims = claims
        self._is_asked = is_asked
        self.making: set[str] = set()
        self.reconciler = Reconciler("leftovers", (claims, volumes), self._sync, workers=1)
        claims.on_change(self._claim_changed)

    async def find(self) -> None:
        """Those of the process's former lives. What cannot be looked at now is looked at when it starts again."""
        await self._claims.wait_synced()
        try:
            handles = await self._engine.unused()
        except VolumeError:
            return
        for handle in handles:
            self.reconciler.queue.add(handle)

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        gone = old is not None and (new is None or meta.uid(new) != meta.uid(old))
        if gone and old is not None and not old["spec"].get("volumeName") and self._is_asked(old):
            self.reconciler.queue.add(make.name_of(old))

    async def _sync(self, handle: str) -> None:
        if handle in self.making:
            self.reconciler.queue.add_after(handle, SOON)
            return
        try:
            if handle in await self._engine.unused() and not await self._is_known(handle):
                await self._engine.delete(Source(handle))
        except VolumeError as error:
            raise OSError(str(error)) from error

    async def _is_known(self, handle: str) -> bool:
        """By live reads. A claim comes before its volume, so claims are asked for first."""
        claims = (await self._client.list(PERSISTENTVOLUMECLAIMS))["items"]
        if not handle.startswith(make.PREFIX) or any(make.name_of(claim) == handle for claim in claims):
            return True
        volumes = (await self._client.list(PERSISTENTVOLUMES))["items"]
        found = (sources.read(volume["spec"], "") for volume in volumes)
        return any(source is not None and (source.driver, source.handle) == (self._engine.name, handle) for source in found)
