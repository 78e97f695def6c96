"""The node's half of a volume's growth: what is on a volume takes up what the engine gave it (``kinds.core.growth``).

At once where a pod here holds the volume, or as soon as one does. What an engine can only do at the next mount stays pending;
what it refuses is said in claim and pod, and tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer
from holdfast.client.queue import Postponed
from holdfast.client.reconciler import Reconciler
from holdfast.kinds.core import growth
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from holdfast.node.volumes.manager import NodeVolumes
from holdfast.volumes.api import NeedsRemount, VolumeError

SLOW = 300.0
"""Seconds until what was refused is tried again, when nothing has changed."""


class VolumeGrower:
    """``claims``, ``volumes``: caches that others run. ``pods``: of this node, to tell them."""

    def __init__(
        self,
        client: Client,
        mounted: NodeVolumes,
        events: EventRecorder,
        now: Callable[[], float],
        claims: Informer,
        volumes: Informer,
        pods: Callable[[], Iterable[Obj]],
    ) -> None:
        self._client = client
        self._mounted = mounted
        self._events = events
        self._now = now
        self._claims = claims
        self._volumes = volumes
        self._pods = pods
        self._refused = Postponed(SLOW)
        """By claim uid: the capacity that was not reached."""
        self.reconciler = Reconciler("grower", (claims, volumes), self._sync)
        claims.on_change(lambda _old, new: self._consider(new))
        volumes.on_change(self._volume_changed)
        mounted.on_mounted = self._was_mounted

    async def run(self) -> None:
        await self.reconciler.run()

    def _due(self, claim: Obj) -> tuple[str, Obj] | None:
        volume = self._volumes.get(claim["spec"].get("volumeName") or "")
        if volume is None or not self._mounted.holders(meta.name(volume)):
            return None
        capacity = growth.due_on_node(claim, volume)
        return (capacity, volume) if capacity else None

    def _consider(self, claim: Obj | None) -> None:
        if claim is not None and self._due(claim) is not None:
            self.reconciler.queue.add(meta.key(claim))

    def _volume_changed(self, _old: Obj | None, new: Obj | None) -> None:
        reference = ((new or {}).get("spec") or {}).get("claimRef")
        if reference and reference.get("name"):
            self._consider(self._claims.get(reference["name"], reference.get("namespace", "")))

    def _was_mounted(self, claim: str) -> None:
        """A mount changes what is possible."""
        namespace, name = meta.split_key(claim)
        found = self._claims.get(name, namespace)
        if found is not None:
            self._refused.forget(meta.uid(found))
            self._consider(found)

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = self._claims.get(name, namespace)
        due = self._due(claim) if claim is not None else None
        if claim is None or due is None:
            return
        capacity, volume = due
        if left := self._refused.left(meta.uid(claim), capacity):
            self.reconciler.queue.add_after(key, left)
            return
        if growth.stage_of(claim) != growth.NODE_IN_PROGRESS:
            claim = await self._status(claim, growth.node_begun())
        try:
            await self._mounted.grow(meta.name(volume))
        except VolumeError as error:
            await self._failed(claim, volume, capacity, error)
            return
        self._refused.forget(meta.uid(claim))
        claim = await self._status(claim, growth.grown(claim, capacity))
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{meta.name(volume)}"'
        self._say(claim, volume, "Normal", "FileSystemResizeSuccessful", text)

    async def _failed(self, claim: Obj, volume: Obj, capacity: str, error: VolumeError) -> None:
        self._refused.note(meta.uid(claim), capacity)
        if isinstance(error, NeedsRemount):
            await self._status(claim, growth.on_the_node(claim, rfc3339(self._now())))
            self._say(claim, volume, "Warning", "FileSystemResizePending", str(error))
        else:
            text = f'NodeExpandVolume failed for volume "{meta.name(volume)}": {error}'
            await self._status(claim, growth.node_failed(claim, str(error), rfc3339(self._now())))
            self._say(claim, volume, "Warning", "VolumeResizeFailed", text)
        self.reconciler.queue.add_after(meta.key(claim), SLOW)

    def _say(self, claim: Obj, volume: Obj, type: str, reason: str, message: str) -> None:
        self._events.event(claim, type, reason, message)
        holders = self._mounted.holders(meta.name(volume))
        for pod in self._pods():
            if meta.uid(pod) in holders:
                self._events.event(pod, type, reason, message)

    async def _status(self, claim: Obj, status: Obj) -> Obj:
        """Refused with 409 when the claim is no longer what was decided on: then it comes here again."""
        metadata = {"uid": meta.uid(claim), "resourceVersion": claim["metadata"]["resourceVersion"]}
        patch = {"metadata": metadata, "status": status}
        return await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch, subresource="status")
