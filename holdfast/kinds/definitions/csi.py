"""What storage drivers tell of themselves: CSIDriver, CSINode, CSIStorageCapacity; and VolumeAttachment, their errands.

A driver registers itself once (CSIDriver), per node (CSINode) and per place that it has room in
(CSIStorageCapacity). Upstream's rules are mostly bounds; what must not change is the kind's affair.
"""

from __future__ import annotations

from typing import Any

from holdfast.kinds.definitions.overlay import STORAGE, overlay
from holdfast.kinds.definitions.rules import (
    amount,
    fill,
    fill_absent,
    items,
    not_negative,
    one_of,
    qualified,
    subdomain,
    subdomain_texts,
)
from holdfast.machinery.fielderror import FieldError, child, duplicate, forbidden, invalid, required, too_long

_LONGEST_NAME = 63
_LONGEST_NODE_ID = 192
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Persistent", "Ephemeral")
_LARGEST_METADATA = 256 * 1024
_LONGEST_MESSAGE = 1024
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def driver_name(path: str, name: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    found = [too_long(path, name, _LONGEST_NAME)] if len(name) > _LONGEST_NAME else []
    return found + [invalid(path, name, text) for text in subdomain_texts(name.lower())]


def _driver_defaults(spec: dict[str, Any]) -> None:
    fill_absent(spec, attachRequired=True, podInfoOnMount=False, storageCapacity=False, requiresRepublish=False, seLinuxMount=False)
    fill(spec, fsGroupPolicy="ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _check_driver(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found = one_of(child(path, "fsGroupPolicy"), spec.get("fsGroupPolicy"), _GROUP_POLICIES)
    seen: set[str] = set()
    for request, here in items(spec, path, "tokenRequests"):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        if audience in seen:
            found.append(duplicate(child(here, "audience"), audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            found.append(invalid(child(here, "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
        if seconds is not None and seconds > _LONGEST_TOKEN:
            found.append(invalid(child(here, "expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
    for mode in spec.get("volumeLifecycleModes") or []:
        found += one_of(child(path, "volumeLifecycleModes"), mode, _LIFECYCLES)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        found.append(invalid(child(path, "nodeAllocatableUpdatePeriodSeconds"), period, "must be greater than or equal to 10 seconds"))
    return found


def _check_node(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    found: list[FieldError] = []
    seen: set[str] = set()
    for driver, here in items(spec, path, "drivers"):
        name, node = driver.get("name") or "", driver.get("nodeID") or ""
        found += driver_name(child(here, "name"), name)
        if not node:
            found.append(required(child(here, "nodeID")))
        if len(node) > _LONGEST_NODE_ID:
            found.append(invalid(child(here, "nodeID"), node, f"must be {_LONGEST_NODE_ID} characters or less"))
        found += not_negative(child(here, "allocatable", "count"), (driver.get("allocatable") or {}).get("count"))
        if name in seen:
            found.append(duplicate(child(here, "name"), name))
        seen.add(name)
        found += _check_topology(driver.get("topologyKeys") or [], here)
    return found


def _check_topology(keys: list[str], path: str) -> list[FieldError]:
    found: list[FieldError] = []
    for position, name in enumerate(keys):
        if not name:
            found.append(required(path))
        if name in keys[:position]:
            found.append(duplicate(path, name))
        found += qualified(path, name)
    return found


def _check_capacity(capacity: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    name = capacity.get("storageClassName") or ""
    found = subdomain(child(path, "storageClassName"), name)
    value = capacity.get("capacity")
    number = amount(value) if value is not None else None
    if number is not None and number < 0:
        found.append(invalid(child(path, "capacity"), value, "must be greater than or equal to 0"))
    return found


def _check_attachment(spec: dict[str, Any], old: Any, path: str) -> list[FieldError]:
    attacher, source = spec.get("attacher") or "", spec.get("source") or {}
    here, name = child(path, "source"), source.get("persistentVolumeName")
    found = driver_name(child(path, "attacher"), attacher)
    if (name is None) == (source.get("inlineVolumeSpec") is None):
        found.append((required if name is None else forbidden)(here, _ONE_SOURCE))
    elif name == "":
        found.append(required(child(here, "persistentVolumeName"), "must specify non empty persistentVolumeName"))
    elif name is not None:
        found += subdomain(child(here, "persistentVolumeName"), name)
    return found + subdomain(child(path, "nodeName"), spec.get("nodeName") or "")


def check_attached(status: dict[str, Any], path: str) -> list[FieldError]:
    """A VolumeAttachment's status, which drivers write through its subresource."""
    metadata = status.get("attachmentMetadata") or {}
    found: list[FieldError] = []
    if sum(len(name) + len(str(value)) for name, value in metadata.items()) > _LARGEST_METADATA:
        found.append(too_long(child(path, "attachmentMetadata"), "", _LARGEST_METADATA))
    for name in ("attachError", "detachError"):
        error, here = status.get(name) or {}, child(path, name)
        if len(error.get("message") or "") > _LONGEST_MESSAGE:
            found.append(too_long(child(here, "message"), "", _LARGEST_METADATA))
        if (error.get("errorCode") or 0) < 0:
            text = "must be between 0 and 2147483647, inclusive"
            found.append(invalid(child(here, "errorCode"), error["errorCode"], text))
    return found


overlay(STORAGE + "CSIDriverSpec", defaulter=_driver_defaults, checks=(_check_driver,))
overlay(STORAGE + "TokenRequest", optional=("audience",))
overlay(STORAGE + "CSINodeSpec", checks=(_check_node,), defaults={"drivers": []}, optional=("drivers",))
overlay(STORAGE + "CSINodeDriver", optional=("name", "nodeID"))
overlay(STORAGE + "CSIStorageCapacity", checks=(_check_capacity,), optional=("storageClassName",))
overlay(STORAGE + "VolumeAttachmentSpec", checks=(_check_attachment,), optional=("attacher", "nodeName", "source"))
overlay(STORAGE + "VolumeAttachment", defaults={"status": {"attached": False}})
