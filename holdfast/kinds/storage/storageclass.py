"""StorageClass: how volumes of a kind come to be."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, at
from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import STORAGECLASSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden, not_supported

DEFAULT = "storageclass.kubernetes.io/is-default-class"
_DEFINITION = "io.k8s.api.storage.v1.StorageClass"


def is_default(obj: Obj) -> bool:
    return (obj["metadata"].get("annotations") or {}).get(DEFAULT) == "true"


def _name(obj: Obj, _now: float) -> str:
    return f"{obj['metadata']['name']} (default)" if is_default(obj) else str(obj["metadata"]["name"])


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found = []
    if new.get("reclaimPolicy") not in ("Delete", "Retain"):
        found.append(not_supported("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain")))
    if new.get("volumeBindingMode") not in ("Immediate", "WaitForFirstConsumer"):
        found.append(not_supported("volumeBindingMode", new.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer")))
    if old is not None:
        found += [
            forbidden(field, f"updates to {field} are forbidden.")
            for field in ("parameters", "provisioner", "reclaimPolicy")
            if (new.get(field) or None) != (old.get(field) or None)
        ]
    return found


overlay(_DEFINITION, defaults={"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})
KIND = Kind(
    resource=STORAGECLASSES,
    schema=schema_of(_DEFINITION),
    singular="storageclass",
    short_names=("sc",),
    storage="storageclasses",
    checks=(_check,),
    columns=(
        Column("Name", _name, format="name", description="Name of the object."),
        Column("Provisioner", at("provisioner"), description="Who makes its volumes."),
        Column("ReclaimPolicy", at("reclaimPolicy"), description="What becomes of released volumes."),
        Column("VolumeBindingMode", at("volumeBindingMode"), description="When claims are bound."),
        Column(
            "AllowVolumeExpansion",
            lambda o, _n: "true" if o.get("allowVolumeExpansion") else "false",
            description="Whether claims may grow.",
        ),
        AGE,
    ),
    has_status=False,
    has_generation=False,
)
