"""StorageClass: how volumes of a kind come to be."""

from __future__ import annotations

from holdfast.kinds.columns import AGE, at
from holdfast.kinds.definitions.overlay import STORAGE
from holdfast.kinds.definitions.rules import immutable
from holdfast.kinds.kind import Column, Kind, Obj
from holdfast.kinds.resources import STORAGECLASSES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError

DEFAULT = "storageclass.kubernetes.io/is-default-class"
DEFAULTS = (DEFAULT, "storageclass.beta.kubernetes.io/is-default-class")
"""Annotations that mark a class as the default: the newest so marked is given to claims that name none."""
NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAITS = "WaitForFirstConsumer"
"""The volumeBindingMode, and the word for what such a claim waits for."""


def is_default(obj: Obj) -> bool:
    annotations = obj["metadata"].get("annotations") or {}
    return any(annotations.get(mark) == "true" for mark in DEFAULTS)


def _name(obj: Obj, _now: float) -> str:
    return f"{obj['metadata']['name']} (default)" if is_default(obj) else str(obj["metadata"]["name"])


def _check(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    return [] if old is None else immutable(new, old, "", ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"))


KIND = Kind(
    resource=STORAGECLASSES,
    schema=schema_of(STORAGE + "StorageClass"),
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
            lambda o, _n: bool(o.get("allowVolumeExpansion")),
            description="Whether claims may grow.",
        ),
        AGE,
    ),
    has_status=False,
    has_generation=False,
)
