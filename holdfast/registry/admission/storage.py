"""Claims get the default class; claims and volumes get the finalizer that keeps them while they are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.kinds.storage.storageclass import is_default

if TYPE_CHECKING:
    from holdfast.registry.pipeline import Write

FINALIZERS = {"PersistentVolumeClaim": "kubernetes.io/pvc-protection", "PersistentVolume": "kubernetes.io/pv-protection"}


async def default_class(write: Write) -> None:
    """Unset means the default class (the newest of them); "" means none."""
    spec = write.new.get("spec")
    if write.kind.resource.kind != "PersistentVolumeClaim" or write.old is not None or not isinstance(spec, dict):
        return
    if spec.get("storageClassName") is not None:
        return
    classes = [i.obj for i in write.registry.cache.list("/registry/storageclasses/") if is_default(i.obj)]
    if classes:
        newest = max(classes, key=lambda c: (c["metadata"]["creationTimestamp"], c["metadata"]["name"]))
        spec["storageClassName"] = newest["metadata"]["name"]


async def in_use_protection(write: Write) -> None:
    finalizer = FINALIZERS.get(write.kind.resource.kind)
    if finalizer and write.old is None:
        finalizers = write.new["metadata"].setdefault("finalizers", [])
        if finalizer not in finalizers:
            finalizers.append(finalizer)
