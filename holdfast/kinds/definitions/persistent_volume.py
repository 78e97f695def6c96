"""PersistentVolumes: capacity, one source, the reclaim policy, where the volume can be reached."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.claim import check_access_modes
from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import exactly_one, fill, no_backsteps, one_of, positive_quantity, subdomain, unsupported
from holdfast.machinery.fielderror import FieldError, child, forbidden, key, required

_PLAIN = {
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
}


def sources(spec: dict[str, Any]) -> list[str]:
    return [name for name, value in spec.items() if name not in _PLAIN and value is not None]


def _spec_defaults(spec: dict[str, Any]) -> None:
    fill(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")


def _volume_defaults(volume: dict[str, Any]) -> None:
    if volume.get("status") is None:
        volume["status"] = {}
    fill(volume["status"], phase="Pending")


def _check_capacity(spec: dict[str, Any], path: str) -> list[FieldError]:
    here = child(path, "capacity")
    capacity = spec.get("capacity")
    found = [] if capacity else [required(here)]
    if not capacity or set(capacity) != {"storage"}:
        found.append(unsupported(here, dict(sorted(capacity.items())) if capacity else None, ("storage",)))
    for name, value in (capacity or {}).items():
        if name == "storage":
            found += positive_quantity(key(here, name), value)
    return found


def _check_spec(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    modes = spec.get("accessModes") or []
    here = child(path, "accessModes")
    found = check_access_modes(modes, here) if modes else [required(here)]
    found += _check_capacity(spec, path)
    policy_path = child(path, "persistentVolumeReclaimPolicy")
    policy = spec.get("persistentVolumeReclaimPolicy")
    found += one_of(policy_path, policy, ("Delete", "Recycle", "Retain"))
    given = sources(spec)
    found += exactly_one(path, given, "volume", [required(path, "must specify a volume type")])
    if (spec.get("hostPath") or {}).get("path") == "/" and policy == "Recycle":
        found.append(forbidden(policy_path, "may not be 'recycle' for a hostPath mount of '/'"))
    if spec.get("nodeAffinity") is not None and not spec["nodeAffinity"].get("required"):
        found.append(required(child(path, "nodeAffinity", "required"), "must specify required node constraints"))
    if spec.get("local") is not None:
        if spec["local"].get("path"):
            found += no_backsteps(child(path, "local", "path"), spec["local"]["path"])
        if not (spec.get("nodeAffinity") or {}).get("required"):
            found.append(required(child(path, "nodeAffinity"), "Local volume requires node affinity"))
    if spec.get("storageClassName"):
        found += subdomain(child(path, "storageClassName"), spec["storageClassName"])
    return found + one_of(child(path, "volumeMode"), spec.get("volumeMode"), ("Block", "Filesystem"))


overlay(CORE + "PersistentVolume", defaults={"spec": {}}, defaulter=_volume_defaults)
overlay(CORE + "PersistentVolumeSpec", defaulter=_spec_defaults, checks=(_check_spec,))
