"""The resizer of an engine: volumes whose claims ask for more are made larger; their file systems grow on the node that mounts them.

Writes, in this order: the claim says that it is being resized, the engine acts, the volume has its new capacity, the claim waits for
the node. A crash in between is mended by doing it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer
from holdfast.client.queue import Postponed
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.provisioner.make import size_text
from holdfast.kinds.core import growth
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta, quantity
from holdfast.machinery.errors import ApiError
from holdfast.volumes.api import Engine, Source, VolumeError

SLOW = 300.0
"""Seconds until what was not possible is tried again, at most; asking for another size is tried at once."""


class Resizer:
    """``is_ours``: whether a volume is the engine's, here. ``source_of``: it as the engine knows it."""

    def __init__(
        self,
        client: Client,
        engine: Engine,
        events: EventRecorder,
        now: Callable[[], float],
        claims: Informer,
        volumes: Informer,
        is_ours: Callable[[Obj], bool],
        source_of: Callable[[Obj], Awaitable[Source]],
    ) -> None:
        self._client = client
        self._engine = engine
        self._events = events
        self._now = now
        self._claims = claims
        self._volumes = volumes
        self._is_ours = is_ours
        self._source_of = source_of
        self._refused = Postponed(SLOW)
        """By claim uid: the size that was not possible."""
        self.reconciler = Reconciler("resizer", (claims, volumes), self._sync, workers=1, longest=SLOW)
        claims.on_change(lambda _old, new: self._consider(new))
        volumes.on_change(self._volume_changed)

    def _consider(self, claim: Obj | None) -> None:
        if claim is not None and self._step(claim) is not None:
            self.reconciler.queue.add(meta.key(claim))

    def _volume_changed(self, _old: Obj | None, new: Obj | None) -> None:
        reference = ((new or {}).get("spec") or {}).get("claimRef")
        if reference and reference.get("name"):
            self._consider(self._claims.get(reference["name"], reference.get("namespace", "")))

    def _step(self, claim: Obj) -> tuple[growth.Grow, Obj] | None:
        volume = self._volumes.get(claim["spec"].get("volumeName") or "")
        if volume is None or not self._is_ours(volume) or meta.is_terminating(claim):
            return None
        step = growth.wanted(claim, volume)
        return None if step is None else (step, volume)

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = self._claims.get(name, namespace)
        found = self._step(claim) if claim is not None else None
        if claim is None or found is None:
            return
        step, volume = found
        if left := self._refused.left(meta.uid(claim), step.size):
            self.reconciler.queue.add_after(key, left)
            return
        await self._grow(claim, volume, step)

    async def _grow(self, claim: Obj, volume: Obj, step: growth.Grow) -> None:
        claim = await self._status(claim, growth.begun(claim, step, self._stamp()))
        self._say(claim, "Normal", "Resizing", f"External resizer is resizing volume {meta.name(volume)}")
        source = await self._source_of(volume)
        try:
            capacity = await self._engine.expand(source, quantity.to_int(step.size))
        except VolumeError as error:
            await self._failed(claim, volume, step, str(error))
            return
        self._refused.forget(meta.uid(claim))
        text = size_text(capacity, step.size)
        if quantity.parse(volume["spec"]["capacity"]["storage"]) < capacity:
            metadata = {"uid": meta.uid(volume), "resourceVersion": volume["metadata"]["resourceVersion"]}
            patch = {"metadata": metadata, "spec": {"capacity": {"storage": text}}}
            await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", patch)
        await self._status(claim, growth.on_the_node(claim, self._stamp()))
        self._say(claim, "Normal", "FileSystemResizeRequired", "Require file system resize of volume on node")

    async def _failed(self, claim: Obj, volume: Obj, step: growth.Grow, why: str) -> None:
        text = f'resize volume "{meta.name(volume)}" by resizer "{self._engine.name}" failed: {why}'
        self._say(claim, "Warning", "VolumeResizeFailed", text)
        self._refused.note(meta.uid(claim), step.size)
        await self._status(claim, growth.failed(claim, why, self._stamp()))
        self.reconciler.queue.add_after(meta.key(claim), SLOW)

    def _stamp(self) -> str:
        return rfc3339(self._now())

    def _say(self, claim: Obj, type: str, reason: str, message: str) -> None:
        self._events.event(claim, type, reason, message, component=f"external-resizer {self._engine.name}")

    async def _status(self, claim: Obj, status: Obj) -> Obj:
        """Refused with 409 when the claim is no longer what was decided on."""
        metadata = {"uid": meta.uid(claim), "resourceVersion": claim["metadata"]["resourceVersion"]}
        patch = {"metadata": metadata, "status": status}
        try:
            return await self._client.patch(
                PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch, subresource="status"
            )
        except ApiError as error:
            if error.code != 404:
                raise
            return claim
