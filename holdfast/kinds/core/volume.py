"""PersistentVolume and PersistentVolumeClaim: storage, and somebody's right to it."""

from __future__ import annotations

import copy

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.claim import SOURCES
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery import quantity
from holdfast.machinery.fielderror import FieldError, forbidden, invalid, required

_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_CLAIM_TEXT = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _SHORT.items() if mode in (modes or []))


def _state(obj: Obj, _now: float) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str((obj.get("status") or {}).get("phase") or "")


def _claimed(obj: Obj, _now: float) -> str:
    claim = obj["spec"].get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _prepare(new: Obj, old: Obj | None) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}


def _check_volume(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if not new.get("spec"):
        return [required("spec.capacity")]
    if old is None:
        return []
    before = {s: old["spec"][s] for s in SOURCES if s in old["spec"]}
    after = {s: new["spec"][s] for s in SOURCES if s in new["spec"]}
    found = (
        [] if before == after else [forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")]
    )
    if old["spec"].get("volumeMode") != new["spec"].get("volumeMode"):
        found.append(invalid("spec.volumeMode", new["spec"].get("volumeMode"), "field is immutable"))
    return found


def _check_claim(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if not new.get("spec"):
        return [required("spec.accessModes")]
    if old is None:
        return []
    before, after = copy.deepcopy(old["spec"]), copy.deepcopy(new["spec"])
    found: list[FieldError] = []
    sizes = [(spec.get("resources") or {}).get("requests", {}).pop("storage", "0") for spec in (before, after)]
    if sizes[0] != sizes[1]:
        found += _check_resize(new, old, sizes)
    if not before.get("volumeName"):
        before.pop("volumeName", None)
        after.pop("volumeName", None)
    if before.get("storageClassName") is None:  # a default class may be assigned later
        after.pop("storageClassName", None)
    before.pop("volumeAttributesClassName", None)
    after.pop("volumeAttributesClassName", None)
    if before != after:
        found.append(forbidden("spec", _CLAIM_TEXT))
    return found


def _check_resize(new: Obj, old: Obj, sizes: list[str]) -> list[FieldError]:
    if (old.get("status") or {}).get("phase") != "Bound":
        return [forbidden("spec", _CLAIM_TEXT)]
    try:
        smaller = quantity.parse(sizes[1]) < quantity.parse((old.get("status") or {}).get("capacity", {}).get("storage", sizes[0]))
    except ValueError:
        return []
    del new
    return [forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")] if smaller else []


CLAIM = Kind(
    resource=PERSISTENTVOLUMECLAIMS,
    schema=schema_of(CORE + "PersistentVolumeClaim"),
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    storage="persistentvolumeclaims",
    prepare=(_prepare,),
    checks=(_check_claim,),
    subresources={"status": Subresource("status", ("get", "patch", "update"))},
    columns=(
        NAME,
        Column("Status", _state, description="Pending, Bound or Lost."),
        Column("Volume", at("spec", "volumeName", default=""), description="The volume that it is bound to."),
        Column("Capacity", at("status", "capacity", "storage", default=""), description="What the volume holds."),
        Column("Access Modes", lambda o, _n: _modes((o.get("status") or {}).get("accessModes")), description="How it may be mounted."),
        Column("StorageClass", at("spec", "storageClassName", default=""), description="Its class."),
        Column(
            "VolumeAttributesClass", at("spec", "volumeAttributesClassName", default="<unset>"), description="Its attributes class."
        ),
        AGE,
        Column("VolumeMode", at("spec", "volumeMode", default="<unset>"), priority=1, description="Filesystem or Block."),
    ),
    has_generation=False,
)
VOLUME = Kind(
    resource=PERSISTENTVOLUMES,
    schema=schema_of(CORE + "PersistentVolume"),
    singular="persistentvolume",
    short_names=("pv",),
    storage="persistentvolumes",
    prepare=(_prepare,),
    checks=(_check_volume,),
    subresources={"status": Subresource("status", ("get", "patch", "update"))},
    columns=(
        NAME,
        Column("Capacity", at("spec", "capacity", "storage", default=""), description="What it holds."),
        Column("Access Modes", lambda o, _n: _modes(o["spec"].get("accessModes")), description="How it may be mounted."),
        Column(
            "Reclaim Policy", at("spec", "persistentVolumeReclaimPolicy", default=""), description="What becomes of it when released."
        ),
        Column("Status", _state, description="Available, Bound, Released or Failed."),
        Column("Claim", _claimed, description="Whose it is."),
        Column("StorageClass", at("spec", "storageClassName", default=""), description="Its class."),
        Column(
            "VolumeAttributesClass", at("spec", "volumeAttributesClassName", default="<unset>"), description="Its attributes class."
        ),
        Column("Reason", at("status", "reason", default=""), description="Why it is in this state."),
        AGE,
        Column("VolumeMode", at("spec", "volumeMode", default="<unset>"), priority=1, description="Filesystem or Block."),
    ),
    has_generation=False,
)
