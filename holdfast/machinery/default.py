"""Fills what the author left out: constants first, then the definition's own defaulter, then its children."""

from __future__ import annotations

import copy

from holdfast.machinery.schema import UNSET, Json, Schema


def apply_defaults(schema: Schema, value: Json) -> None:
    """In place. ``value`` must be the caller's own copy, decoded by the same schema."""
    if schema.type == "array" and schema.items is not None and isinstance(value, list):
        for item in value:
            apply_defaults(schema.items, item)
        return
    if not isinstance(value, dict):
        return
    if schema.values is not None:
        for item in value.values():
            apply_defaults(schema.values, item)
        return
    for name, child in schema.properties.items():
        if child.default is not UNSET and value.get(name) is None:
            value[name] = copy.deepcopy(child.default)
    if schema.defaulter is not None:
        schema.defaulter(value)
    for name, item in value.items():
        node = schema.properties.get(name)
        if node is not None and isinstance(item, dict | list):
            apply_defaults(node, item)
