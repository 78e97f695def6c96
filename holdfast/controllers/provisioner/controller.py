"""The provisioner of an engine: claims get a volume, released volumes lose their data by policy, claims that ask for more get it.

An engine of one node's disk runs it there and minds what chose that node; a network engine runs it once, in the server, with no node.
Data is removed only when the policy is Delete, the claim's uid is gone by a live read, and the engine says that nothing uses
the volume (P-4); in whatever order claim and volume were deleted (KEP-2644).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import orjson

from holdfast.client.api import Client, find
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer, InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.provisioner import make
from holdfast.controllers.provisioner.leftovers import Leftovers
from holdfast.controllers.provisioner.make import FINALIZER
from holdfast.controllers.provisioner.resizer import SLOW, Resizer
from holdfast.kinds import sources
from holdfast.kinds.core.claims import PROVISIONED_BY, PROVISIONERS, SELECTED_NODE, class_of, pinned_to
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, SECRETS, STORAGECLASSES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta, quantity
from holdfast.machinery.errors import ApiError
from holdfast.volumes.api import BLOCK, FS_TYPE, Engine, Source, VolumeError

AT_ONCE = 8
"""Volumes that are made, or removed, side by side."""
FIRST_RETRY = 1.0
"""Seconds, as upstream's external-provisioner: what an engine refuses it seldom grants a moment later, and each refusal is an event."""


class Provisioner:
    """``node``: whose disk the engine's volumes lie on; "" for a network engine."""

    def __init__(
        self,
        client: Client,
        engine: Engine,
        node: str,
        events: EventRecorder,
        now: Callable[[], float],
        informers: InformerSet | None = None,
    ) -> None:
        """``informers``: those of the process, where it has some, and runs them."""
        self._client = client
        self._engine = engine
        self._node = node
        self._events = events
        self._now = now
        self._own: list[Informer] = []
        self.claims, self.volumes = self._caches(informers)
        caches = (self.claims, self.volumes)
        self._claims = Reconciler("provisioner", caches, self._sync_claim, workers=AT_ONCE, longest=SLOW, first=FIRST_RETRY)
        self._volumes = Reconciler("remover", caches, self._sync_volume, workers=AT_ONCE, longest=SLOW)
        self._resizer = Resizer(client, engine, events, now, *caches, self._is_ours, self._source)
        self._leftovers = Leftovers(client, engine, *caches, self._is_asked)
        self.reconcilers = (self._claims, self._volumes, self._resizer.reconciler, self._leftovers.reconciler)
        self.claims.on_change(self._claim_changed)
        self.volumes.on_change(lambda _old, new: self._consider(new))

    def _caches(self, informers: InformerSet | None) -> tuple[Informer, Informer]:
        if informers is not None:
            return informers[PERSISTENTVOLUMECLAIMS], informers[PERSISTENTVOLUMES]
        self._own = [Informer(self._client, resource) for resource in (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)]
        return self._own[0], self._own[1]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for cache in self._own:
                tasks.create_task(cache.run())
            for reconciler in self.reconcilers:
                tasks.create_task(reconciler.run())
            tasks.create_task(self._leftovers.find())

    def _claim_changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is not None and not new["spec"].get("volumeName") and self._is_asked(new):
            self._claims.queue.add(meta.key(new))

    def _is_asked(self, claim: Obj) -> bool:
        """By the node that was chosen, which is known first; without nodes, by the binder's word."""
        annotations = meta.annotations_of(claim)
        return annotations.get(SELECTED_NODE) == self._node if self._node else annotations.get(PROVISIONERS[0]) == self._engine.name

    def _consider(self, volume: Obj | None) -> None:
        if volume is not None and self._is_ours(volume):
            self._volumes.queue.add(meta.name(volume))

    def _is_ours(self, volume: Obj) -> bool:
        source = sources.read(volume["spec"], "")
        if source is None or source.driver != self._engine.name:
            return False
        if self._node:
            return pinned_to(volume) == self._node
        return meta.annotations_of(volume).get(PROVISIONED_BY) == self._engine.name

    async def _source(self, volume: Obj) -> Source:
        """As who expands and deletes it reaches it. Raises VolumeError when its Secret is not there."""
        source = sources.read(volume["spec"], "")
        assert source is not None
        annotations = meta.annotations_of(volume)
        attributes = {**source.attributes, **json.loads(annotations.get(make.ADMIN) or "{}")}
        name = annotations.get(make.SECRET_NAME)
        secret = (annotations.get(make.SECRET_NAMESPACE) or "default", name) if name else None
        return Source(source.handle, attributes, await self._secrets(secret))

    async def _secrets(self, secret: tuple[str, str] | None) -> dict[str, str]:
        if secret is None:
            return {}
        found = await find(self._client, SECRETS, secret[1], secret[0])
        if found is None:
            raise VolumeError(f'secret "{secret[0]}/{secret[1]}" not found: {self._engine.name} reaches its storage with it')
        return sources.secret_data(found)

    # Making

    async def _sync_claim(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = await find(self._client, PERSISTENTVOLUMECLAIMS, name, namespace)
        if claim is None or meta.is_terminating(claim) or claim["spec"].get("volumeName") or not self._is_asked(claim):
            return
        found, volume = await asyncio.gather(
            find(self._client, STORAGECLASSES, class_of(claim)), find(self._client, PERSISTENTVOLUMES, make.name_of(claim))
        )
        if found is None or found["provisioner"] != self._engine.name or volume is not None:
            return  # with a volume it only waits for the binder
        self._events.event(
            claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim "{meta.key(claim)}"'
        )
        self._leftovers.making.add(make.name_of(claim))
        try:
            await self._provision(claim, found)
        except VolumeError as error:
            text = f'failed to provision volume with StorageClass "{meta.name(found)}": {error}'
            self._events.event(claim, "Warning", "ProvisioningFailed", text)
            raise OSError(text) from error
        except Exception:  # the claim may be gone, and nothing will be heard of it again
            self._leftovers.reconciler.queue.add(make.name_of(claim))
            raise
        finally:
            self._leftovers.making.discard(make.name_of(claim))

    async def _provision(self, claim: Obj, found: Obj) -> None:
        if why := make.refusal(claim, self._engine.name, network=self._engine.network):
            raise VolumeError(why)
        block = claim["spec"].get("volumeMode") == "Block"
        name, parameters = make.name_of(claim), {**(found.get("parameters") or {}), **(BLOCK if block else {})}
        wanted = quantity.to_int(claim["spec"]["resources"]["requests"]["storage"])
        secret = make.secret_of(self._engine.provisioner_secret, parameters, "default")
        made = await self._engine.create(name, wanted, parameters, await self._secrets(secret))
        fs_type = "" if block else made.fs_type or parameters.get(FS_TYPE) or "xfs"
        volume = make.volume(claim, found, made, self._engine, self._node, fs_type)
        try:
            await self._client.create(PERSISTENTVOLUMES, volume)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        self._events.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
        if made.caveat:
            for about in (claim, found):
                self._events.event(about, "Warning", "CapacityNotEnforced", f"volume {name}: {made.caveat}")

    # Removing

    async def _sync_volume(self, name: str) -> None:
        volume = await find(self._client, PERSISTENTVOLUMES, name)
        if volume is None or not self._is_ours(volume):
            return
        if await self._guard(volume) or volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            return
        reference = volume["spec"].get("claimRef") or {}
        claim = await find(self._client, PERSISTENTVOLUMECLAIMS, reference["name"], reference["namespace"]) if reference else None
        if claim is not None and meta.uid(claim) == reference.get("uid"):
            return
        phase = (volume.get("status") or {}).get("phase")
        going = meta.is_terminating(volume) and FINALIZER in _finalizers(volume) and not _protected(volume)
        released = phase in ("Released", "Failed") and reference.get("uid")
        if not released and not (going and PROVISIONED_BY in meta.annotations_of(volume)):
            return
        try:
            source = await self._source(volume)
            await self._engine.delete(replace(source, record=orjson.dumps(volume).decode()))
        except VolumeError as error:
            await self._failed(volume, str(error))
            raise OSError(str(error)) from error
        await self._remove_record(volume)

    async def _guard(self, volume: Obj) -> bool:
        """The finalizer that keeps a volume's record until its data is gone: on bound ones whose policy is Delete, made by
        whomever; not under any other policy. True when it was changed: that comes here again.
        """
        held, deletes = FINALIZER in _finalizers(volume), volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        if held and not deletes:
            await self._set_finalizers(volume, [f for f in _finalizers(volume) if f != FINALIZER])
        elif not held and deletes and bound and not meta.is_terminating(volume):
            await self._set_finalizers(volume, [*_finalizers(volume), FINALIZER])
        else:
            return False
        return True

    async def _set_finalizers(self, volume: Obj, finalizers: list[str]) -> None:
        metadata = {"uid": meta.uid(volume), "resourceVersion": volume["metadata"]["resourceVersion"]}
        await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": {**metadata, "finalizers": finalizers or None}})

    async def _failed(self, volume: Obj, why: str) -> None:
        """Tried again, as often as it takes; until then the volume says what stands in the way."""
        self._events.event(volume, "Warning", "VolumeFailedDelete", why)
        status: Obj = {"phase": "Failed", "message": why}
        present = volume.get("status") or {}
        if all(present.get(k) == v for k, v in status.items()):
            return
        if present.get("phase") != "Failed":
            status["lastPhaseTransitionTime"] = rfc3339(self._now())
        patch = {"metadata": {"uid": meta.uid(volume)}, "status": status}
        await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), "", patch, subresource="status")

    async def _remove_record(self, volume: Obj) -> None:
        name, uid = meta.name(volume), meta.uid(volume)
        try:
            if not meta.is_terminating(volume):
                await self._client.delete(PERSISTENTVOLUMES, name, uid=uid)
            # Read again: others take their finalizers off at the same time.
            volume = await self._client.get(PERSISTENTVOLUMES, name)
            if FINALIZER in _finalizers(volume) and meta.uid(volume) == uid:
                await self._set_finalizers(volume, [f for f in _finalizers(volume) if f != FINALIZER])
        except ApiError as error:
            if error.code != 404:
                raise


def _finalizers(volume: Obj) -> list[str]:
    return volume["metadata"].get("finalizers") or []


def _protected(volume: Obj) -> bool:
    return any(f != FINALIZER for f in _finalizers(volume))
