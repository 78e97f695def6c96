"""PersistentVolumeClaims: as objects, and inside StatefulSets and ephemeral volumes."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import fill, one_of, positive_quantity, subdomain, unsupported
from holdfast.machinery.fielderror import FieldError, child, forbidden, key, required

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def _claim_defaults(claim: dict[str, Any]) -> None:
    if claim.get("status") is None:
        claim["status"] = {}
    fill(claim["status"], phase="Pending")


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill(spec, volumeMode="Filesystem")


def _reference_defaults(reference: dict[str, Any]) -> None:
    reference.setdefault("apiGroup", None)


def check_access_modes(modes: list[str], path: str) -> list[FieldError]:
    found = [unsupported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        found.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return found


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    here = child(path, "accessModes")
    modes = spec.get("accessModes") or []
    found = check_access_modes(modes, here) if modes else [required(here, "at least 1 access mode is required")]
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    place = key(child(path, "resources"), "storage")
    found += [required(place)] if storage is None else positive_quantity(place, storage)
    if spec.get("storageClassName"):
        found += subdomain(child(path, "storageClassName"), spec["storageClassName"])
    return found + one_of(child(path, "volumeMode"), spec.get("volumeMode"), ("Block", "Filesystem"))


overlay(CORE + "PersistentVolumeClaim", defaults={"spec": {}}, defaulter=_claim_defaults)
overlay(CORE + "PersistentVolumeClaimSpec", defaulter=_spec_defaults, checks=(_check_spec,))
overlay(CORE + "TypedLocalObjectReference", defaulter=_reference_defaults, optional=("kind", "name"))
overlay(CORE + "TypedObjectReference", defaulter=_reference_defaults, optional=("kind", "name"))
