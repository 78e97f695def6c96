"""Claims get the default StorageClass; claims, volumes and their classes get the finalizers that keep them while they are used."""

from __future__ import annotations

from fractions import Fraction

from holdfast.kinds.core.claims import LEGACY_CLASS, class_of, newest_default
from holdfast.kinds.definitions.rules import amount
from holdfast.kinds.kind import Obj
from holdfast.kinds.storage.storageclass import DEFAULTS
from holdfast.machinery import errors, meta
from holdfast.registry.write import Write

CLASSES = "/registry/storageclasses/"
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
    if not isinstance(spec, dict) or spec.get("storageClassName") is not None or LEGACY_CLASS in meta.annotations_of(write.new):
        return
    chosen = newest_default((item.obj for item in write.cache.list(CLASSES)), DEFAULTS)
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


async def resize(write: Write) -> None:
    """A claim may ask for more only where its class lets volumes grow."""
    resource = write.kind.resource
    if write.old is None or write.request.subresource or (resource.group, resource.plural) != ("", "persistentvolumeclaims"):
        return
    before, wanted = _asked(write.old), _asked(write.new)
    if before is None or wanted is None or wanted <= before:
        return
    if (write.old.get("status") or {}).get("phase") != "Bound":
        raise errors.forbidden(resource.plural, meta.name(write.new), "Only bound persistent volume claims can be expanded")
    name = class_of(write.new)
    found = write.cache.get(CLASSES + name) if name and name == class_of(write.old) else None
    if found is None or not found.obj.get("allowVolumeExpansion"):
        why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
        raise errors.forbidden(resource.plural, meta.name(write.new), why)


def _asked(claim: Obj) -> Fraction | None:
    return amount(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage") or "")
