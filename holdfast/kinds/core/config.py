"""ConfigMap, Secret and ServiceAccount: what pods are given from outside."""

from __future__ import annotations

import base64
import binascii
import re

from holdfast.kinds.columns import AGE, NAME, at
from holdfast.kinds.definitions.overlay import CORE
from holdfast.kinds.kind import Column, Kind, Obj, Subresource
from holdfast.kinds.resources import CONFIGMAPS, SECRETS, SERVICEACCOUNTS
from holdfast.kinds.schemas import schema_of
from holdfast.machinery.fielderror import FieldError, forbidden, invalid, key, required, too_long

LIMIT = 1024 * 1024
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name',"
    " regex used for validation is '[-._a-zA-Z0-9]+')"
)
_IMMUTABLE = "field is immutable when `immutable` is set"


def _keys(obj: Obj, *fields: str) -> list[FieldError]:
    return [
        invalid(key(field, name), name, _KEY_TEXT)
        for field in fields
        for name in obj.get(field) or {}
        if len(name) > 253 or not _KEY.fullmatch(name) or name in (".", "..")
    ]


def _frozen(new: Obj, old: Obj | None, *fields: str) -> list[FieldError]:
    if not old or not old.get("immutable"):
        return []
    found = [] if new.get("immutable") else [forbidden("immutable", _IMMUTABLE)]
    return found + [forbidden(field, _IMMUTABLE) for field in fields if (new.get(field) or {}) != (old.get(field) or {})]


def _check_config_map(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found = _keys(new, "data", "binaryData")
    both = set(new.get("data") or {}) & set(new.get("binaryData") or {})
    found += [invalid(key("data", name), name, "duplicate of key present in binaryData") for name in sorted(both)]
    size = sum(len(v.encode()) for v in (new.get("data") or {}).values()) + sum(
        len(v) * 3 // 4 for v in (new.get("binaryData") or {}).values()
    )
    if size > LIMIT:
        found.append(too_long("", "", LIMIT))
    return found + _frozen(new, old, "data", "binaryData")


CONFIGMAP = Kind(
    resource=CONFIGMAPS,
    schema=schema_of(CORE + "ConfigMap"),
    singular="configmap",
    short_names=("cm",),
    storage="configmaps",
    checks=(_check_config_map,),
    columns=(
        NAME,
        Column("Data", lambda o, _n: len(o.get("data") or {}) + len(o.get("binaryData") or {}), description="How many keys."),
        AGE,
    ),
    has_status=False,
    has_generation=False,
)


def _prepare_secret(new: Obj, old: Obj | None) -> None:
    """stringData is for writing only: it joins data, encoded."""
    text = new.pop("stringData", None)
    if text:
        new.setdefault("data", {}).update({k: base64.b64encode(v.encode()).decode() for k, v in text.items()})
    new.setdefault("type", "Opaque" if old is None else old.get("type", "Opaque"))


def _check_secret(new: Obj, old: Obj | None, _path: str) -> list[FieldError]:
    found = _keys(new, "data")
    size = 0
    for name, value in (new.get("data") or {}).items():
        try:
            size += len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            found.append(invalid(key("data", name), "", "must be base64"))
    if size > LIMIT:
        found.append(too_long("data", "", LIMIT))
    wanted = {"kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",)}
    found += [required(key("data", name)) for name in wanted.get(new.get("type", ""), ()) if name not in (new.get("data") or {})]
    if old is not None and new.get("type") != old.get("type"):
        found.append(invalid("type", new.get("type"), "field is immutable"))
    return found + _frozen(new, old, "data")


SECRET = Kind(
    resource=SECRETS,
    schema=schema_of(CORE + "Secret"),
    singular="secret",
    storage="secrets",
    prepare=(_prepare_secret,),
    checks=(_check_secret,),
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
    subresources={
        "token": Subresource("token", ("create",), kind="TokenRequest", group="authentication.k8s.io", version="v1"),
    },
    columns=(NAME, AGE),
    has_status=False,
    has_generation=False,
)
