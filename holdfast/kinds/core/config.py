"""ConfigMap, Secret and ServiceAccount: what pods are given from outside."""

from __future__ import annotations

import base64
import json

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.definitions.rules import config_keys
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import CONFIGMAPS, SECRETS, SERVICEACCOUNTS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden, invalid, key, required, too_long
from holdfast.machinery.jsonfault import go_fault

LIMIT = 1024 * 1024
_IMMUTABLE = "field is immutable when `immutable` is set"
# What a Secret of a type must hold; basic-auth needs one of its two.
_WANTED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _frozen(new: Obj, old: Obj | None, *fields: str) -> list[FieldError]:
    if not old or not old.get("immutable"):
        return []
    found = [] if new.get("immutable") else [forbidden("immutable", _IMMUTABLE)]
    return found + [forbidden(field, _IMMUTABLE) for field in fields if (new.get(field) or {}) != (old.get(field) or {})]


def _check_config_map(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    found = config_keys("data", data) + config_keys("binaryData", binary)
    found += [
        invalid(key("data", name), name, "duplicate of key present in binaryData") for name in sorted(data.keys() & binary.keys())
    ]
    size = sum(len(v) if v.isascii() else len(v.encode()) for v in data.values()) + sum(len(v) * 3 // 4 for v in binary.values())
    if size > LIMIT:
        found.append(too_long("[]", "", LIMIT))
    return found + _frozen(new, old, "data", "binaryData")


CONFIGMAP = Kind(
    resource=CONFIGMAPS,
    schema=schema_of(CORE + "ConfigMap"),
    singular="configmap",
    short_names=("cm",),
    storage="configmaps",
    read_by="view",
    changed_by="edit",
    checks=(_check_config_map,),
    columns=(
        NAME,
        Column("Data", lambda o, _n: len(o.get("data") or {}) + len(o.get("binaryData") or {}), description="How many keys."),
        AGE,
    ),
    has_status=False,
    has_generation=False,
)


def _decoded(secret: Obj) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}


def _check_secret(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    data = new.get("data") or {}
    found = config_keys("data", data)
    decoded = _decoded(new)
    if sum(map(len, decoded.values())) > LIMIT:
        found.append(too_long("data", "", LIMIT))
    found += _check_type(new, decoded)
    if old is not None and new.get("type") != old.get("type"):
        found.append(invalid("type", new.get("type"), "field is immutable"))
    return found + _frozen(new, old, "data")


def _check_type(secret: Obj, data: dict[str, bytes]) -> list[FieldError]:
    kind = str(secret.get("type") or "")
    found = [required(key("data", name)) for name in _WANTED.get(kind, ()) if name not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        found += [required(key("data", "username")), required(key("data", "password"))]
    if kind == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        if not (secret["metadata"].get("annotations") or {}).get(name):
            found.append(required(key("metadata.annotations", name)))
    for name in (".dockerconfigjson", ".dockercfg"):
        if name in _WANTED.get(kind, ()) and name in data:
            try:
                json.loads(data[name])
            except ValueError:
                found.append(invalid(key("data", name), "<secret contents redacted>", go_fault(data[name])))
    return found


def _warn_of_certificate(new: Obj, old: Obj | None) -> list[str]:
    """What would not load as a certificate and its key."""
    if new.get("type") != "kubernetes.io/tls" or (old is not None and new.get("data") == old.get("data")):
        return []
    data = _decoded(new)
    for name, what in (("tls.crt", "certificate"), ("tls.key", "key")):
        if b"-----BEGIN " not in data.get(name, b""):
            return [f"tls: failed to find any PEM data in {what} input"]
    return []


SECRET = Kind(
    resource=SECRETS,
    schema=schema_of(CORE + "Secret"),
    singular="secret",
    storage="secrets",
    read_by="edit",
    changed_by="edit",
    checks=(_check_secret,),
    warnings=(_warn_of_certificate,),
    columns=(
        NAME,
        Column("Type", at("type", default=""), description="What it is for."),
        Column("Data", lambda o, _n: len(o.get("data") or {}), description="How many keys."),
        AGE,
    ),
    selectable={"type": lambda obj: str(obj.get("type") or "")},
    has_status=False,
    has_generation=False,
)

SERVICEACCOUNT = Kind(
    resource=SERVICEACCOUNTS,
    schema=schema_of(CORE + "ServiceAccount"),
    singular="serviceaccount",
    short_names=("sa",),
    storage="serviceaccounts",
    read_by="view",
    changed_by="edit",
    subresources={
        "token": Subresource("token", ("create",), kind="TokenRequest", group="authentication.k8s.io", version="v1"),
    },
    columns=(NAME, AGE),
    has_status=False,
    has_generation=False,
    unconditional_update=False,
)
