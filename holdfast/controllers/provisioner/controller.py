"""The provisioner of an engine: claims that chose this node get a volume, released volumes lose their data by policy.

A volume's name is made of its claim's uid, so that doing it twice does it once. Data is removed only when the policy
is Delete, the claim's uid is gone by a live read, and the engine says that nothing uses the image (P-4).
"""

from __future__ import annotations

import asyncio

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer
from holdfast.client.reconciler import Reconciler
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from holdfast.machinery import meta, quantity
from holdfast.machinery.errors import ApiError
from holdfast.volumes.api import Engine, Source, VolumeError

SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
HOSTNAME = "kubernetes.io/hostname"
_MODES = {"ReadWriteOnce", "ReadWriteOncePod"}


class Provisioner:
    def __init__(self, client: Client, engine: Engine, node: str, events: EventRecorder) -> None:
        self._client = client
        self._engine = engine
        self._node = node
        self._events = events
        self._claim_cache = Informer(client, PERSISTENTVOLUMECLAIMS)
        self._volume_cache = Informer(client, PERSISTENTVOLUMES)
        self._claims = Reconciler("provisioner", (self._claim_cache, self._volume_cache), self._sync_claim, workers=1)
        self._volumes = Reconciler("remover", (self._claim_cache, self._volume_cache), self._sync_volume, workers=1)
        self._claim_cache.on_change(self._claim_changed)
        self._volume_cache.on_change(lambda _old, new: self._consider(new))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for work in (self._claim_cache, self._volume_cache, self._claims, self._volumes):
                tasks.create_task(work.run())

    def _claim_changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is not None and not new["spec"].get("volumeName") and meta.annotations_of(new).get(SELECTED_NODE) == self._node:
            self._claims.queue.add(meta.key(new))

    def _consider(self, volume: Obj | None) -> None:
        if volume is not None and self._is_ours(volume):
            self._volumes.queue.add(meta.name(volume))

    def _is_ours(self, volume: Obj) -> bool:
        source = volume["spec"].get("csi") or {}
        return source.get("driver") == self._engine.name and _node_of(volume) == self._node

    # Making

    async def _sync_claim(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        claim = await self._live(namespace, name)
        if claim is None or meta.is_terminating(claim) or claim["spec"].get("volumeName"):
            return
        if meta.annotations_of(claim).get(SELECTED_NODE) != self._node:
            return
        try:
            found = await self._client.get(STORAGECLASSES, claim["spec"].get("storageClassName") or "-")
        except ApiError as error:
            if error.code == 404:
                return
            raise
        if found["provisioner"] != self._engine.name or await self._is_made(claim):
            return
        self._events.event(
            claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim "{meta.key(claim)}"'
        )
        try:
            await self._provision(claim, found)
        except VolumeError as error:
            text = f'failed to provision volume with StorageClass "{meta.name(found)}": {error}'
            self._events.event(claim, "Warning", "ProvisioningFailed", text)
            raise OSError(text) from error

    async def _is_made(self, claim: Obj) -> bool:
        """Whether its volume is there and only waits for the binder."""
        try:
            await self._client.get(PERSISTENTVOLUMES, f"pvc-{meta.uid(claim)}")
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    async def _provision(self, claim: Obj, found: Obj) -> None:
        spec = claim["spec"]
        asked = set(spec.get("accessModes") or [])
        if not asked <= _MODES:
            raise VolumeError(f"accessModes: {', '.join(sorted(asked - _MODES))} is not offered by {self._engine.name}")
        if spec.get("selector"):
            raise VolumeError(f"selector: not offered by {self._engine.name}")
        if spec.get("dataSource") or spec.get("dataSourceRef"):
            raise VolumeError(f"dataSource: not offered by {self._engine.name}")
        if (spec.get("volumeMode") or "Filesystem") != "Filesystem":
            raise VolumeError(f"volumeMode: Block is not offered by {self._engine.name}")
        wanted = quantity.to_int(spec["resources"]["requests"]["storage"])
        name = f"pvc-{meta.uid(claim)}"
        made = await self._engine.create(name, wanted, found.get("parameters") or {}, {})
        size = spec["resources"]["requests"]["storage"] if made.capacity == wanted else quantity.format_bytes(made.capacity)
        try:
            await self._client.create(PERSISTENTVOLUMES, self._volume(name, claim, found, size))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        self._events.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    def _volume(self, name: str, claim: Obj, found: Obj, size: str) -> Obj:
        policy = found.get("reclaimPolicy") or "Delete"
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": meta.namespace(claim),
            "name": meta.name(claim),
            "uid": meta.uid(claim),
            "resourceVersion": claim["metadata"]["resourceVersion"],
        }
        here = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [self._node]}]}
        metadata: Obj = {"name": name, "annotations": {PROVISIONED_BY: self._engine.name}}
        if policy == "Delete":
            metadata["finalizers"] = [FINALIZER]
        return {
            "metadata": metadata,
            "spec": {
                "capacity": {"storage": size},
                "accessModes": claim["spec"]["accessModes"],
                "persistentVolumeReclaimPolicy": policy,
                "storageClassName": meta.name(found),
                "volumeMode": "Filesystem",
                "claimRef": reference,
                "csi": {"driver": self._engine.name, "volumeHandle": name, "fsType": "xfs"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
            },
        }

    async def _live(self, namespace: str, name: str) -> Obj | None:
        try:
            return await self._client.get(PERSISTENTVOLUMECLAIMS, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    # Removing

    async def _sync_volume(self, name: str) -> None:
        try:
            volume = await self._client.get(PERSISTENTVOLUMES, name)
        except ApiError as error:
            if error.code == 404:
                return
            raise
        if not self._is_ours(volume) or volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            return
        reference = volume["spec"].get("claimRef") or {}
        claim = await self._live(reference.get("namespace", "-"), reference.get("name", "-")) if reference else None
        if claim is not None and meta.uid(claim) == reference.get("uid"):
            return
        released = (volume.get("status") or {}).get("phase") in ("Released", "Failed")
        if not released and not (meta.is_terminating(volume) and not _protected(volume)):
            return
        try:
            await self._engine.delete(Source(volume["spec"]["csi"]["volumeHandle"]))
        except VolumeError as error:
            self._events.event(volume, "Warning", "VolumeFailedDelete", str(error))
            raise OSError(str(error)) from error
        await self._remove_record(volume)

    async def _remove_record(self, volume: Obj) -> None:
        name, uid = meta.name(volume), meta.uid(volume)
        try:
            if not meta.is_terminating(volume):
                await self._client.delete(PERSISTENTVOLUMES, name, uid=uid)
            # Read again: others take their finalizers off at the same time.
            volume = await self._client.get(PERSISTENTVOLUMES, name)
            held = volume["metadata"].get("finalizers") or []
            if FINALIZER in held and meta.uid(volume) == uid:
                metadata = {"uid": uid, "resourceVersion": volume["metadata"]["resourceVersion"]}
                left = [f for f in held if f != FINALIZER]
                await self._client.patch(PERSISTENTVOLUMES, name, "", {"metadata": {**metadata, "finalizers": left or None}})
        except ApiError as error:
            if error.code != 404:
                raise


def _protected(volume: Obj) -> bool:
    return any(f != FINALIZER for f in volume["metadata"].get("finalizers") or [])


def _node_of(volume: Obj) -> str:
    """The one node that a volume of ours can be used on."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    for term in required.get("nodeSelectorTerms") or []:
        for expression in term.get("matchExpressions") or []:
            if expression["key"] == HOSTNAME and expression["operator"] == "In" and len(expression.get("values") or []) == 1:
                return str(expression["values"][0])
    return ""
