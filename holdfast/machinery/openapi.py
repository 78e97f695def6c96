"""A Schema as an OpenAPI definition: v2 (``#/definitions/``) and v3 (``#/components/schemas/``).

Descriptions are no part of a Schema: they come along as a tree of the same shape (``told``), where each node may have
a ``description``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.machinery.schema import UNSET, Schema

V2, V3 = "#/definitions/", "#/components/schemas/"
Told = Mapping[str, Any]
_NOTHING: Told = {}


def definition(schema: Schema, base: str, told: Told = _NOTHING) -> dict[str, Any]:
    """The document of a definition's root node; other definitions are references below ``base``."""
    return _described(_render(schema, base, told), told)


def _described(node: dict[str, Any], told: Told) -> dict[str, Any]:
    return {"description": told["description"], **node} if told.get("description") else node


def _render(schema: Schema, base: str, told: Told) -> dict[str, Any]:
    if schema.format == "quantity":
        return {"type": "string"} if base == V2 else {"oneOf": [{"type": "string"}, {"type": "number"}]}
    if schema.int_or_string:
        if base == V2:
            return {"type": "string", "format": "int-or-string"}
        return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
    out: dict[str, Any] = {}
    if schema.type:
        out["type"] = schema.type
    if schema.format:
        out["format"] = schema.format
    if schema.properties:
        under = told.get("properties") or _NOTHING
        out["properties"] = {name: _use(child, base, under.get(name) or _NOTHING) for name, child in schema.properties.items()}
    if schema.values is not None:
        extra = told.get("additionalProperties")
        out["additionalProperties"] = _use(schema.values, base, extra if isinstance(extra, Mapping) else _NOTHING)
    if schema.items is not None:
        out["items"] = _use(schema.items, base, told.get("items") or _NOTHING)
    if schema.required:
        out["required"] = list(schema.required)
    if base == V3:
        out |= _of_v3(schema)
    return out | _extensions(schema)


def _of_v3(schema: Schema) -> dict[str, Any]:
    """What upstream's v2 documents leave out."""
    out: dict[str, Any] = {}
    if schema.enum:
        out["enum"] = list(schema.enum)
    if schema.nullable:
        out["nullable"] = True
    if schema.default is not UNSET and isinstance(schema.default, str | int | bool):
        out["default"] = schema.default
    return out


def _use(schema: Schema, base: str, told: Told) -> dict[str, Any]:
    if not schema.definition:
        return _described(_render(schema, base, told), told)
    reference: dict[str, Any] = {"$ref": base + schema.definition}
    if base == V3:
        # A default must itself be valid, so it is named only where an empty object is.
        empty = bool(schema.properties) and not schema.required
        reference = {"allOf": [reference]} | ({"default": {}} if empty else {})
    return _described(reference | _patching(schema), told)


def _patching(schema: Schema) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if schema.patch_strategy:
        out["x-kubernetes-patch-strategy"] = schema.patch_strategy
    if schema.patch_key:
        out["x-kubernetes-patch-merge-key"] = schema.patch_key
    return out


def _extensions(schema: Schema) -> dict[str, Any]:
    out: dict[str, Any] = {} if schema.definition else _patching(schema)
    if schema.list_type:
        out["x-kubernetes-list-type"] = schema.list_type
    if schema.list_keys:
        out["x-kubernetes-list-map-keys"] = list(schema.list_keys)
    if schema.map_type:
        out["x-kubernetes-map-type"] = schema.map_type
    if schema.preserve_unknown and not schema.definition:
        out["x-kubernetes-preserve-unknown-fields"] = True
    if schema.group_version_kind:
        out["x-kubernetes-group-version-kind"] = [{"group": g, "kind": k, "version": v} for g, v, k in schema.group_version_kind]
    return out
