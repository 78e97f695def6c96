"""PersistentVolume and PersistentVolumeClaim: storage, and somebody's right to it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.core import growth, outdated
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.persistent_volume import sources
from holdfast.kinds.definitions.rules import IMMUTABLE, amount, one_of
from holdfast.kinds.diffs import changed
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden, invalid, key

_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_ATTRIBUTES, _CURRENT = "volumeAttributesClassName", "currentVolumeAttributesClassName"
_CLAIM_TEXT = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _SHORT.items() if mode in (modes or []))


def _state(obj: Obj, _now: float) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str((obj.get("status") or {}).get("phase") or "")


def _claimed(obj: Obj, _now: float) -> str:
    claim = obj["spec"].get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


_SOURCES = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


def _prepare_claim(new: Obj, old: Obj | None) -> None:
    """dataSource and dataSourceRef are one choice under two names; the older name takes claims and snapshots only."""
    if old is None:
        new["status"] = {"phase": "Pending"}
    spec = new["spec"]
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if old is None and source and (source.get("apiGroup") or "", source.get("kind")) not in _SOURCES:
        source = spec.pop("dataSource", None) and None
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)


def _prepare_volume(new: Obj, old: Obj | None) -> None:
    if old is None:
        created = new["metadata"].get("creationTimestamp")
        new["status"] = {"phase": "Pending", **({"lastPhaseTransitionTime": created} if created else {})}


def _check_volume(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    if old is None:
        return []
    before, after = ({name: obj["spec"][name] for name in sources(obj["spec"])} for obj in (old, new))
    found: list[FieldError] = []
    if before != after:
        text = f"spec.persistentvolumesource is immutable after creation\n{changed(before, after)}"
        found.append(forbidden("spec.persistentvolumesource", text))
    if old["spec"].get("volumeMode") != new["spec"].get("volumeMode"):
        found.append(invalid("volumeMode", new["spec"].get("volumeMode"), IMMUTABLE))
    if old["spec"].get("nodeAffinity") and old["spec"]["nodeAffinity"] != new["spec"].get("nodeAffinity"):
        found.append(invalid("spec.nodeAffinity", new["spec"].get("nodeAffinity"), IMMUTABLE))
    if old["spec"].get(_ATTRIBUTES) is not None and new["spec"].get(_ATTRIBUTES) is None:
        found.append(forbidden(f"spec.{_ATTRIBUTES}", "update from non-nil value to nil is forbidden"))
    return found


def _check_claim(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    """Only a bound claim may grow; the binder may name the volume and the class once."""
    if old is None:
        return []
    before, after = old["spec"], copy.deepcopy(new["spec"])
    bound = (new.get("status") or {}).get("phase") == "Bound"
    found: list[FieldError] = []
    if bound:
        found += _check_resize(after, old)
        wanted = (before.get("resources") or {}).get("requests") or {}
        if "storage" in wanted and "storage" in ((after.get("resources") or {}).get("requests") or {}):
            after["resources"]["requests"]["storage"] = wanted["storage"]
    for name, free in (
        ("volumeName", not before.get("volumeName")),
        ("storageClassName", before.get("storageClassName") is None),
        ("volumeAttributesClassName", bound),
    ):
        if free:
            after.pop(name, None)
            after |= {name: before[name]} if name in before else {}
    if after != before:
        found.append(forbidden("spec", f"{_CLAIM_TEXT}\n{changed(before, after)}"))
    if old["spec"].get("volumeMode") != new["spec"].get("volumeMode"):
        found.append(invalid("volumeMode", new["spec"].get("volumeMode"), IMMUTABLE))
    if before.get(_ATTRIBUTES) is not None and not new["spec"].get(_ATTRIBUTES) and (old.get("status") or {}).get(_CURRENT):
        what = "nil" if new["spec"].get(_ATTRIBUTES) is None else "an empty string"
        found.append(forbidden(f"spec.{_ATTRIBUTES}", f"update to {what} is forbidden when status.{_CURRENT} is not nil"))
    return found


def _check_claim_status(new: Obj, _old: Obj | None, _path: str) -> list[FieldError]:
    """What a growth has come to: one of the stages that there are, of storage."""
    found: list[FieldError] = []
    for name, stage in ((new.get("status") or {}).get("allocatedResourceStatuses") or {}).items():
        found += one_of(key("status.allocatedResourceStatus", name), stage, growth.STAGES)
    return found


def _check_resize(spec: Obj, old: Obj) -> list[FieldError]:
    """A claim may shrink again (a failed growth), but never below what its volume has."""
    wanted = amount(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "")
    before = amount(((old["spec"].get("resources") or {}).get("requests") or {}).get("storage") or "")
    has = amount(((old.get("status") or {}).get("capacity") or {}).get("storage") or "")
    if wanted is None or before is None or wanted >= before:
        return []
    if has is not None and wanted > has:
        return []
    return [forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")]


def _bound_cell(cell: Callable[[Obj, float], Any]) -> Callable[[Obj, float], Any]:
    """Capacity and modes are the volume's: nothing to show before there is one."""
    return lambda claim, now: cell(claim, now) if claim["spec"].get("volumeName") else ""


CLAIM = Kind(
    resource=PERSISTENTVOLUMECLAIMS,
    schema=schema_of(CORE + "PersistentVolumeClaim"),
    singular="persistentvolumeclaim",
    short_names=("pvc",),
    storage="persistentvolumeclaims",
    read_by="view",
    changed_by="edit",
    prepare=(_prepare_claim,),
    checks=(_check_claim,),
    status_checks=(_check_claim_status,),
    subresources={"status": Subresource("status", ("get", "patch", "update"))},
    columns=(
        NAME,
        Column("Status", _state, description="Pending, Bound or Lost."),
        Column("Volume", at("spec", "volumeName", default=""), description="The volume that it is bound to."),
        Column("Capacity", _bound_cell(at("status", "capacity", "storage", default="")), description="What the volume holds."),
        Column(
            "Access Modes",
            _bound_cell(lambda o, _n: _modes((o.get("status") or {}).get("accessModes"))),
            description="How it may be mounted.",
        ),
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
    prepare=(_prepare_volume,),
    checks=(_check_volume,),
    subresources={"status": Subresource("status", ("get", "patch", "update"))},
    warnings=(outdated.of_volume,),
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
