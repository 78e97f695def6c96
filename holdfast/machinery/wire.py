"""Protobuf request bodies as JSON trees: the envelope ``k8s\\0`` around a message of the Kubernetes API.

kubectl 1.32 and later create some kinds this way. The field table (``data/messages``) holds facts: per
message and number the JSON name, the type, and whether it repeats, is a map, or is inlined in its parent.
The format writes zero values of plain fields, which JSON leaves out; they are dropped, except where zero
says something (``_MEANT``).
"""

from __future__ import annotations

import base64
import struct
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from holdfast.lib.clock import rfc3339, rfc3339_micro
from holdfast.machinery.errors import bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_MEANT = {
    "allowPrivilegeEscalation", "automountServiceAccountToken", "blockOwnerDeletion", "controller", "enableServiceLinks",
    "expirationSeconds", "fsGroup", "gracePeriodSeconds", "optional", "partition", "privileged", "readOnlyRootFilesystem", "replicas",
    "revisionHistoryLimit", "runAsGroup", "runAsNonRoot", "runAsUser", "storageClassName", "terminationGracePeriodSeconds",
    "tolerationSeconds", "orphanDependents",
}  # fmt: skip
_GROUPS = {
    "": "core", "apps": "apps", "batch": "batch", "policy": "policy", "autoscaling": "autoscaling", "events.k8s.io": "events",
    "discovery.k8s.io": "discovery", "storage.k8s.io": "storage", "coordination.k8s.io": "coordination", "node.k8s.io": "node",
    "rbac.authorization.k8s.io": "rbac", "authorization.k8s.io": "authorization", "authentication.k8s.io": "authentication",
    "networking.k8s.io": "networking", "scheduling.k8s.io": "scheduling",
}  # fmt: skip


@cache
def _messages() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = orjson.loads((Path(__file__).parent / "data" / "messages-1.36.json").read_bytes())[
        "messages"
    ]
    return found


def decode_body(raw: bytes) -> dict[str, Any]:
    """The object in a protobuf body. Raises ApiError 400."""
    if not raw.startswith(_MAGIC):
        raise bad_request("the body is not a Kubernetes protobuf message")
    try:
        envelope = dict(_fields(raw[len(_MAGIC) :]))
        type_meta = dict(_fields(envelope[1]))
        api_version, kind = (bytes(type_meta.get(n, b"")).decode() for n in (1, 2))
        group, _, version = api_version.rpartition("/")
        name = f"k8s.io.api.{_GROUPS[group]}.{version}.{kind}"
        if kind == "DeleteOptions":
            name = _META + kind
        body = _message(name, envelope.get(2, b""))
    except (KeyError, ValueError, IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise bad_request(f"the protobuf body cannot be read: {error!r}") from None
    return {"kind": kind, "apiVersion": api_version, **body}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _fields(data: bytes) -> list[tuple[int, Any]]:
    """(number, raw value) of each field: int for varints, bytes for the rest."""
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            found.append((number, value))
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field is cut off")
        found.append((number, data[at : at + size]))
        at += size
    return found


def _message(name: str, data: bytes) -> dict[str, Any]:
    table = _messages()[name]
    out: dict[str, Any] = {}
    for number, raw in _fields(data):
        entry = table.get(str(number))
        if entry is None:
            continue
        field, kind, form = entry
        if form == "inline":
            out |= _message(kind, raw)
        elif form == "map":
            pair = dict(_fields(raw))
            out.setdefault(field, {})[pair.get(1, b"").decode()] = _value(kind, pair.get(2, b""))
        elif form == "repeated":
            out.setdefault(field, []).append(_value(kind, raw))
        else:
            value = _value(kind, raw)
            if value not in ("", 0, False, None, {}) or field in _MEANT:
                out[field] = value
    return out


def _value(kind: str, raw: Any) -> Any:
    if kind == "string":
        return bytes(raw).decode()
    if kind == "bytes":
        return base64.b64encode(raw).decode()
    if kind == "bool":
        return bool(raw)
    if kind in ("int32", "int64", "uint32", "uint64"):
        return raw - (1 << 64) if raw >= 1 << 63 else raw
    if kind == "double":
        return struct.unpack("<d", raw)[0]
    return _well_known(kind, raw)


def _well_known(kind: str, raw: bytes) -> Any:
    """Types whose JSON form is not an object."""
    short = kind.rpartition(".")[2]
    if short == "Quantity":
        return bytes(dict(_fields(raw)).get(1, b"")).decode()
    if short == "IntOrString":
        found = dict(_fields(raw))
        return bytes(found.get(3, b"")).decode() if found.get(1) else _value("int32", found.get(2, 0))
    if kind in (_META + "Time", _META + "MicroTime"):
        found = dict(_fields(raw))
        seconds = found.get(1, 0)
        if not seconds:
            return None
        return rfc3339(seconds) if short == "Time" else rfc3339_micro(seconds + found.get(2, 0) / 1e9)
    if short in ("FieldsV1", "RawExtension"):
        text = dict(_fields(raw)).get(1, b"")
        return orjson.loads(text) if text else None
    return _message(kind, raw)
