"""What storage drivers say of themselves and are asked for: CSIDriver, CSINode, attachments, capacities, attribute classes."""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import overlay
from holdfast.kinds.definitions.plain import STORAGE
from holdfast.kinds.definitions.rules import all_not_negative, amount, fill_absent, items, one_of, subdomain, subdomain_texts
from holdfast.machinery.fielderror import FieldError, child, duplicate, invalid, not_supported, required, too_long

NAME_LIMIT = 63
NODE_ID_LIMIT = 192
MESSAGE_LIMIT = 32 * 1024
METADATA_LIMIT = 256 * 1024
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32
_MODES = ("Ephemeral", "Persistent")


def driver_name(path: str, name: str) -> list[FieldError]:
    """A driver's name: a short DNS name, in whatever case."""
    if not name:
        return [required(path)]
    found = [too_long(path, "", NAME_LIMIT)] if len(name) > NAME_LIMIT else []
    return found + [invalid(path, name, text) for text in subdomain_texts(name.lower())]


def _driver_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, attachRequired=True, podInfoOnMount=False, storageCapacity=False, fsGroupPolicy="ReadWriteOnceWithFSType")
    fill_absent(spec, requiresRepublish=False, seLinuxMount=False)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _check_driver(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = one_of(child(path, "fsGroupPolicy"), spec.get("fsGroupPolicy"), ("File", "None", "ReadWriteOnceWithFSType"))
    audiences: set[str] = set()
    for request, here in items(spec, path, "tokenRequests"):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        if audience in audiences:
            found.append(duplicate(child(here, "audience"), audience))
        audiences.add(audience)
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            found.append(invalid(child(here, "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
        if seconds is not None and seconds > _LONGEST_TOKEN:
            found.append(invalid(child(here, "expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
    for mode in spec.get("volumeLifecycleModes") or []:
        if mode not in _MODES:
            found.append(not_supported(child(path, "volumeLifecycleModes"), mode, _MODES))
    return found


def _check_node(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for driver, here in items(spec, path, "drivers"):
        name, node = driver.get("name") or "", driver.get("nodeID") or ""
        found += driver_name(child(here, "name"), name)
        if not node:
            found.append(required(child(here, "nodeID")))
        elif len(node) > NODE_ID_LIMIT:
            found.append(invalid(child(here, "nodeID"), node, f"must be {NODE_ID_LIMIT} characters or less"))
        found += all_not_negative(driver.get("allocatable") or {}, child(here, "allocatable"), ("count",))
        keys = driver.get("topologyKeys") or []
        found += [duplicate(child(here, "topologyKeys"), key) for at, key in enumerate(keys) if key in keys[:at]]
        if name in seen:
            found.append(duplicate(child(here, "name"), name))
        seen.add(name)
    return found


def _check_attachment(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = driver_name(child(path, "attacher"), spec.get("attacher") or "")
    source = spec.get("source") or {}
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    here = child(path, "source")
    if inline is None and volume is None:
        found.append(required(here, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
    elif inline is not None and volume is not None:
        found.append(invalid(here, source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
    elif volume == "":
        found.append(required(child(here, "persistentVolumeName"), "must specify non empty persistentVolumeName"))
    if not spec.get("nodeName"):
        found.append(required(child(path, "nodeName")))
    return found


def _check_capacity(capacity: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = subdomain(child(path, "storageClassName"), capacity.get("storageClassName") or "")
    for name in ("capacity", "maximumVolumeSize"):
        size = amount(capacity[name]) if capacity.get(name) is not None else None
        if size is not None and size < 0:
            found.append(invalid(child(path, name), capacity[name], "must be greater than or equal to 0"))
    return found


def _check_attributes(attributes: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = driver_name(child(path, "driverName"), attributes.get("driverName") or "")
    parameters = attributes.get("parameters") or {}
    if not parameters:
        found.append(required(child(path, "parameters"), "must contain at least one key/value pair"))
    return found + [invalid(child(path, "parameters"), name, "field can not be empty.") for name in parameters if not name]


def _attachment_errors(status: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = [
        too_long(child(path, name, "message"), "", MESSAGE_LIMIT)
        for name in ("attachError", "detachError")
        if len((status.get(name) or {}).get("message") or "") > MESSAGE_LIMIT
    ]
    told = status.get("attachmentMetadata") or {}
    if sum(len(name) + len(value) for name, value in told.items()) > METADATA_LIMIT:
        found.append(too_long(child(path, "attachmentMetadata"), "", METADATA_LIMIT))
    return found


overlay(STORAGE + "CSIDriverSpec", defaulter=_driver_defaults, checks=(_check_driver,))
overlay(STORAGE + "CSINodeSpec", checks=(_check_node,), optional=("drivers",))
overlay(STORAGE + "CSINodeDriver", optional=("name", "nodeID"))
overlay(STORAGE + "VolumeAttachmentSpec", checks=(_check_attachment,), optional=("attacher", "nodeName", "source"))
overlay(STORAGE + "VolumeAttachmentStatus", checks=(_attachment_errors,), defaults={"attached": False})
overlay(STORAGE + "CSIStorageCapacity", checks=(_check_capacity,), optional=("storageClassName",))
overlay(STORAGE + "VolumeAttributesClass", checks=(_check_attributes,), optional=("driverName",))
