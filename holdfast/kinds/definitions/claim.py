"""PersistentVolumeClaimSpec and PersistentVolumeSpec: the rules that claims, volumes and claim templates share."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.machinery.fielderror import FieldError, child, forbidden, index, not_supported, required

Obj = dict[str, Any]
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def _modes(new: Obj, path: str) -> list[FieldError]:
    modes = new.get("accessModes") or []
    here = child(path, "accessModes")
    if not modes:
        return [required(here, "at least 1 access mode is required")]
    found = [not_supported(index(here, n), mode, ACCESS_MODES) for n, mode in enumerate(modes) if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        found.append(forbidden(here, "may not use ReadWriteOncePod with other access modes"))
    return found


def _claim(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    found = _modes(new, path)
    if ((new.get("resources") or {}).get("requests") or {}).get("storage") is None:
        found.append(required(child(path, "resources") + "[storage]"))
    return found


def _volume(new: Obj, _old: Obj | None, path: str) -> list[FieldError]:
    found = _modes(new, path)
    if not (new.get("capacity") or {}).get("storage"):
        found.append(required(child(path, "capacity")))
    sources = [source for source in SOURCES if new.get(source) is not None]
    if not sources:
        found.append(required(path, "must specify a volume type"))
    found += [forbidden(child(path, source), "may not specify more than 1 volume type") for source in sources[1:]]
    return found


SOURCES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker", "gcePersistentDisk",
    "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO",
    "storageos", "vsphereVolume",
)  # fmt: skip

overlay(
    CORE + "PersistentVolumeClaimSpec",
    defaults={"volumeMode": "Filesystem"},
    checks=(_claim,),
    fields={"volumeMode": {"enum": VOLUME_MODES}},
)
overlay(
    CORE + "PersistentVolumeSpec",
    defaults={"volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"},
    checks=(_volume,),
    fields={"persistentVolumeReclaimPolicy": {"enum": ("Delete", "Recycle", "Retain")}, "volumeMode": {"enum": VOLUME_MODES}},
)
overlay(CORE + "PersistentVolumeClaimStatus", defaults={"phase": "Pending"})
overlay(CORE + "PersistentVolumeStatus", defaults={"phase": "Pending"})
overlay(CORE + "RBDPersistentVolumeSource", defaults={"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"})
