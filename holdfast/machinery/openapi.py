"""A Schema as an OpenAPI definition: v2 (``#/definitions/``) and v3 (``#/components/schemas/``)."""

from __future__ import annotations

from typing import Any

from holdfast.machinery.schema import Schema

V2, V3 = "#/definitions/", "#/components/schemas/"


def definition(schema: Schema, base: str) -> dict[str, Any]:
    """The document of a definition's root node; other definitions are references below ``base``."""
    return _render(schema, base)


def _render(schema: Schema, base: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if schema.format == "quantity":
        return {"type": "string"}
    if schema.int_or_string:
        out = {"type": "string", "format": "int-or-string"}
        return out if base == V2 else {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
    if schema.type:
        out["type"] = schema.type
    if schema.format:
        out["format"] = schema.format
    if schema.properties:
        out["properties"] = {name: _use(child, base) for name, child in schema.properties.items()}
    if schema.values is not None:
        out["additionalProperties"] = _use(schema.values, base)
    if schema.items is not None:
        out["items"] = _use(schema.items, base)
    if schema.required:
        out["required"] = list(schema.required)
    return out | _extensions(schema)


def _use(schema: Schema, base: str) -> dict[str, Any]:
    if not schema.definition:
        return _render(schema, base)
    reference = {"$ref": base + schema.definition}
    if base == V2:
        return reference
    return {"allOf": [reference], "default": {}} if schema.properties else {"allOf": [reference]}


def _extensions(schema: Schema) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if schema.list_type:
        out["x-kubernetes-list-type"] = schema.list_type
    if schema.list_keys:
        out["x-kubernetes-list-map-keys"] = list(schema.list_keys)
    if schema.patch_strategy:
        out["x-kubernetes-patch-strategy"] = schema.patch_strategy
    if schema.patch_key:
        out["x-kubernetes-patch-merge-key"] = schema.patch_key
    if schema.group_version_kind:
        out["x-kubernetes-group-version-kind"] = [{"group": g, "kind": k, "version": v} for g, v, k in schema.group_version_kind]
    return out
