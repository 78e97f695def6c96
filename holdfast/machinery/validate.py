"""Checks a value against its schema: required, enums, bounds, patterns, then the node's own checks.

All faults are reported at once. Texts are upstream's where users know them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from holdfast.machinery import quantity
from holdfast.machinery.fielderror import FieldError, child, index, invalid, key, not_supported, required
from holdfast.machinery.schema import Json, Schema, reaches


def validate(schema: Schema, new: Json, old: Json = None, path: str = "") -> list[FieldError]:
    """Faults of ``new``; ``old`` is the value at the same place before (None on create or when it was absent)."""
    found: list[FieldError] = []
    _walk(schema, new, old, path, found)
    return found


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _walk(schema: Schema, new: Json, old: Json, path: str, found: list[FieldError]) -> None:
    if not reaches(schema, "rules", _has_rules):
        return
    if isinstance(new, dict):
        _object(schema, new, old if isinstance(old, dict) else {}, path, found)
    elif isinstance(new, list):
        if schema.items is not None:
            before = old if isinstance(old, list) else []
            for position, item in enumerate(new):
                _walk(schema.items, item, _counterpart(schema, item, before, position), index(path, position), found)
    else:
        _scalar(schema, new, path, found)
    for check in schema.checks:
        found.extend(check(new, old, path))


def _has_rules(schema: Schema) -> bool:
    bounded = schema.minimum is not None or schema.maximum is not None
    return bool(schema.required or schema.enum or schema.pattern or schema.checks) or bounded or schema.format == "quantity"


def _counterpart(schema: Schema, item: Json, before: list[Json], position: int) -> Json:
    """The old item with the same list keys; without keys, the one at the same place."""
    keys = schema.list_keys or ((schema.patch_key,) if schema.patch_key else ())
    if keys and isinstance(item, dict):
        for candidate in before:
            if isinstance(candidate, dict) and all(candidate.get(k) == item.get(k) for k in keys):
                return candidate
        return None
    return before[position] if position < len(before) else None


def _object(schema: Schema, new: dict[str, Json], old: dict[str, Json], path: str, found: list[FieldError]) -> None:
    for name in schema.required:
        if new.get(name) is None or new[name] == "" or (new[name] == [] and schema.properties[name].type == "array"):
            node = schema.properties.get(name)
            if new.get(name) is None or node is None or node.type in ("string", "array"):
                found.append(required(child(path, name)))
    if schema.values is not None:
        if reaches(schema.values, "rules", _has_rules):
            for name, item in new.items():
                _walk(schema.values, item, old.get(name), key(path, name), found)
        return
    for name, item in new.items():
        node = schema.properties.get(name)
        if node is not None and reaches(node, "rules", _has_rules):
            _walk(node, item, old.get(name), child(path, name), found)


def _scalar(schema: Schema, value: Json, path: str, found: list[FieldError]) -> None:
    if schema.enum and isinstance(value, str) and value and value not in schema.enum:
        found.append(not_supported(path, value, schema.enum))
    if schema.format == "quantity" and isinstance(value, str):
        try:
            quantity.parse(value)
        except ValueError as error:
            found.append(invalid(path, value, str(error)))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if schema.minimum is not None and value < schema.minimum:
            found.append(invalid(path, value, f"must be greater than or equal to {schema.minimum:g}"))
        if schema.maximum is not None and value > schema.maximum:
            found.append(invalid(path, value, f"must be less than or equal to {schema.maximum:g}"))
    if schema.pattern and isinstance(value, str) and not _pattern(schema.pattern).fullmatch(value):
        found.append(invalid(path, value, f"must match {schema.pattern}"))
