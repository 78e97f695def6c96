"""Volumes of a pod: one source each, the sources' defaults and rules."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.container import ENV_FIELDS, check_field_ref
from holdfast.kinds.definitions.overlay import CORE, overlay
from holdfast.kinds.definitions.rules import (
    absolute_path,
    amount,
    exactly_one,
    fill,
    fill_absent,
    items,
    label,
    no_backsteps,
    one_of,
    relative_path,
)
from holdfast.machinery.fielderror import FieldError, child, forbidden, invalid, required

VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", *ENV_FIELDS[:3])
PATH_TYPES = ("BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"


_LOOKED_AT_FIRST = ("emptyDir", "hostPath", "secret", "nfs", "persistentVolumeClaim", "rbd", "downwardAPI", "configMap")


def sources(volume: dict[str, Any]) -> list[str]:
    """The kinds of volume that it says it is, in the order in which upstream looks at them."""
    given = [name for name, value in volume.items() if name != "name" and value is not None]
    return sorted(given, key=lambda name: _LOOKED_AT_FIRST.index(name) if name in _LOOKED_AT_FIRST else len(_LOOKED_AT_FIRST))


def _volume_defaults(volume: dict[str, Any]) -> None:
    if not sources(volume):
        volume["emptyDir"] = {}


def _check_volume(volume: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = label(child(path, "name"), volume["name"]) if volume.get("name") else []
    return found + exactly_one(path, sources(volume), "volume", [required(path, "must specify a volume type")])


def _mode_defaults(source: dict[str, Any]) -> None:
    fill_absent(source, defaultMode=420)


def _check_items(source: dict[str, Any], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    mode = source.get("defaultMode")
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        found.append(invalid(child(path, "defaultMode"), mode, _MODE_TEXT))
    for item, here in items(source, path, "items"):
        if item.get("path"):
            found += relative_path(child(here, "path"), item["path"])
        mode = item.get("mode")
        if isinstance(mode, int) and not 0 <= mode <= 0o777:
            found.append(invalid(child(here, "mode"), mode, _MODE_TEXT))
    return found


def _check_config_map(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    missing = [] if source.get("name") else [required(child(path, "name"))]
    return missing + _check_items(source, path)


def _check_secret(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    missing = [] if source.get("secretName") else [required(child(path, "secretName"))]
    return missing + _check_items(source, path)


def _check_downward(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = _check_items(source, path)
    for item, _ in items(source, path, "items"):
        given = [name for name in ("fieldRef", "resourceFieldRef") if item.get(name) is not None]
        if not given:
            found.append(required(path, "one of fieldRef and resourceFieldRef is required"))
        elif len(given) > 1:
            found.append(invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
        if item.get("fieldRef"):
            found += check_field_ref(item["fieldRef"], child(path, "fieldRef"), VOLUME_FIELDS)
    return found


def _check_projected(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    tokens = [part["serviceAccountToken"] for part in source.get("sources") or [] if part.get("serviceAccountToken") is not None]
    return [required(child(path, "path")) for token in tokens if not token.get("path")]


def _check_projection(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    given = [name for name, value in source.items() if value is not None]
    found = exactly_one(path, given, "volume", [])
    for name in ("configMap", "secret"):
        part = source.get(name)
        if part is not None:
            found += [] if part.get("name") else [required(child(path, name, "name"))]
            found += _check_items(part, child(path, name))
    return found


def _token_defaults(source: dict[str, Any]) -> None:
    fill_absent(source, expirationSeconds=3600)


def _check_token(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    here = child(path, "expirationSeconds")
    seconds = source.get("expirationSeconds") or 0
    if seconds < 600:
        return [invalid(here, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > 1 << 32:
        return [invalid(here, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def _host_path_defaults(source: dict[str, Any]) -> None:
    fill_absent(source, type="")


def _check_host_path(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    if not source.get("path"):
        return []
    return no_backsteps(child(path, "path"), source["path"]) + one_of(child(path, "type"), source.get("type"), PATH_TYPES)


def _check_nfs(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return absolute_path(child(path, "path"), source["path"]) if source.get("path") else []


def _check_empty_dir(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    size = amount(source.get("sizeLimit") or "0")
    if size is not None and size < 0:
        return [forbidden(child(path, "sizeLimit"), "SizeLimit field must be a valid resource quantity")]
    return []


def _rbd_defaults(source: dict[str, Any]) -> None:
    fill(source, pool="rbd", user="admin", keyring="/etc/ceph/keyring")


def _iscsi_defaults(source: dict[str, Any]) -> None:
    fill(source, iscsiInterface="default")


def _scale_io_defaults(source: dict[str, Any]) -> None:
    fill(source, storageMode="ThinProvisioned", fsType="xfs")


def _azure_disk_defaults(source: dict[str, Any]) -> None:
    fill(source, cachingMode="ReadWrite", fsType="ext4", kind="Shared")
    fill_absent(source, readOnly=False)


def _azure_file_defaults(source: dict[str, Any]) -> None:
    source.setdefault("secretNamespace", None)


def _image_defaults(source: dict[str, Any]) -> None:
    tag = str(source.get("reference") or "").rsplit("/", 1)[-1]
    fill(source, pullPolicy="Always" if ":" not in tag or tag.endswith(":latest") else "IfNotPresent")


def _ephemeral_defaults(source: dict[str, Any]) -> None:
    if isinstance(source.get("volumeClaimTemplate"), dict):
        fill_absent(source["volumeClaimTemplate"], metadata={})


def _check_ephemeral(source: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    return [] if source.get("volumeClaimTemplate") else [required(child(path, "volumeClaimTemplate"))]


overlay(CORE + "Volume", defaulter=_volume_defaults, checks=(_check_volume,))
overlay(CORE + "ConfigMapVolumeSource", defaulter=_mode_defaults, checks=(_check_config_map,))
overlay(CORE + "SecretVolumeSource", defaulter=_mode_defaults, checks=(_check_secret,))
overlay(CORE + "DownwardAPIVolumeSource", defaulter=_mode_defaults, checks=(_check_downward,))
overlay(CORE + "DownwardAPIProjection", checks=(_check_downward,))
overlay(CORE + "ProjectedVolumeSource", defaulter=_mode_defaults, checks=(_check_projected,))
overlay(CORE + "VolumeProjection", checks=(_check_projection,))
overlay(CORE + "ServiceAccountTokenProjection", defaulter=_token_defaults, checks=(_check_token,), optional=("path",))
overlay(CORE + "HostPathVolumeSource", defaulter=_host_path_defaults, checks=(_check_host_path,))
overlay(CORE + "NFSVolumeSource", checks=(_check_nfs,))
overlay(CORE + "EmptyDirVolumeSource", checks=(_check_empty_dir,))
overlay(CORE + "ImageVolumeSource", defaulter=_image_defaults)
overlay(CORE + "EphemeralVolumeSource", defaulter=_ephemeral_defaults, checks=(_check_ephemeral,))
overlay(CORE + "AzureDiskVolumeSource", defaulter=_azure_disk_defaults)
overlay(CORE + "AzureFilePersistentVolumeSource", defaulter=_azure_file_defaults)
for _place in ("VolumeSource", "PersistentVolumeSource"):
    overlay(CORE + "RBD" + _place, defaulter=_rbd_defaults)
    overlay(CORE + "ISCSI" + _place, defaulter=_iscsi_defaults)
    overlay(CORE + "ScaleIO" + _place, defaulter=_scale_io_defaults)
