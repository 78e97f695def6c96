"""Claims get the default StorageClass; claims, volumes and their classes get the finalizers that keep them while they are used."""

from __future__ import annotations

from holdfast.machinery import meta
from holdfast.registry.admission.classes import newest_default
from holdfast.registry.write import Write

_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_LEGACY_CLASS = "volume.beta.kubernetes.io/storage-class"
PROTECTION = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


async def default_class(write: Write) -> None:
    resource = write.kind.resource
    if write.old is not None or (resource.group, resource.plural) != ("", "persistentvolumeclaims"):
        return
    spec = write.new.get("spec")
    if not isinstance(spec, dict) or spec.get("storageClassName") is not None or _LEGACY_CLASS in meta.annotations_of(write.new):
        return
    chosen = newest_default((item.obj for item in write.cache.list("/registry/storageclasses/")), _DEFAULT)
    if chosen:
        spec["storageClassName"] = chosen


async def in_use_protection(write: Write) -> None:
    resource = write.kind.resource
    finalizer = PROTECTION.get((resource.group, resource.plural))
    if write.old is not None or finalizer is None:
        return
    finalizers = write.new["metadata"].get("finalizers") or []
    if finalizer not in finalizers:
        write.new["metadata"]["finalizers"] = [*finalizers, finalizer]
