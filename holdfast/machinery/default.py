"""Fills what the author left out: constants first, then the definition's own defaulter, then its children."""

from __future__ import annotations

from holdfast.machinery.schema import UNSET, Json, Schema, reaches
from holdfast.machinery.tree import copied


def apply_defaults(schema: Schema, value: Json) -> None:
    """In place. ``value`` must be the caller's own copy, decoded by the same schema."""
    if not reaches(schema, "defaults", _has_defaults):
        return
    if isinstance(value, list):
        if schema.items is not None:
            for item in value:
                apply_defaults(schema.items, item)
        return
    if not isinstance(value, dict):
        return
    if schema.values is not None:
        for item in value.values():
            apply_defaults(schema.values, item)
        return
    for name, default in _constants(schema):
        if value.get(name) is None:
            value[name] = copied(default)
    if schema.defaulter is not None:
        schema.defaulter(value)
    deeper = _deeper(schema)
    for name, item in value.items():
        if name in deeper and item is not None:
            apply_defaults(deeper[name], item)


def _deeper(schema: Schema) -> dict[str, Schema]:
    """The fields below which there is something to fill in, were they empty."""
    found: dict[str, Schema] | None = schema.plans.get("deeper")
    if found is None:
        found = {name: child for name, child in schema.properties.items() if reaches(child, "defaults", _has_defaults)}
        schema.plans["deeper"] = found
    return found


def _has_defaults(schema: Schema) -> bool:
    return schema.defaulter is not None or bool(_constants(schema))


def _constants(schema: Schema) -> list[tuple[str, Json]]:
    found: list[tuple[str, Json]] | None = schema.plans.get("constants")
    if found is None:
        found = [(name, child.default) for name, child in schema.properties.items() if child.default is not UNSET]
        schema.plans["constants"] = found
    return found
