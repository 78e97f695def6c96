"""From bytes to a pruned tree: strict JSON, then types and unknown fields by the schema.

The stdlib parser takes NaN, duplicate keys and lone surrogates, and dies of depth; orjson takes only
duplicates. So orjson parses, a scan bounds the depth, and duplicates are looked for only where
strictness was asked for. ``decode`` then walks tree and schema together: a mistyped field is an
error naming its path; an unknown one is dropped and reported, as fieldValidation wants it.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from holdfast.machinery import errors
from holdfast.machinery.schema import Json, Schema

MAX_DEPTH = 250
_GO = {"string": "string", "integer": "int", "number": "float64", "boolean": "bool"}


def parse_json(raw: bytes) -> Json:
    """The value of a JSON text. Raises ApiError 400 for anything RFC 8259 does not allow, or nested too deep."""
    if _depth(raw) > MAX_DEPTH:
        raise errors.bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"the body is not valid JSON: {error}") from None


def _depth(raw: bytes) -> int:
    """Deepest nesting, strings skipped; cheap where there are few brackets."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x7B, 0x5B):
            depth += 1
            deepest = max(deepest, depth)
        elif byte in (0x7D, 0x5D):
            depth -= 1
    return deepest


def duplicate_fields(raw: bytes) -> list[str]:
    """Paths of object keys that stand twice (the last one counts)."""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> Any:
        out: dict[str, Any] = {}
        for name, value in items:
            if name in out:
                found.append(name)
            out[name] = value
        return out

    try:
        tree = json.loads(raw, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    return [_locate(tree, name) for name in found]


def _locate(tree: Any, name: str, path: str = "") -> str:
    if isinstance(tree, dict):
        for key, value in tree.items():
            here = f"{path}.{key}" if path else key
            if key == name:
                return here
            below = _locate(value, name, here)
            if below != name:
                return below
    if isinstance(tree, list):
        for position, value in enumerate(tree):
            below = _locate(value, name, f"{path}[{position}]")
            if below != name:
                return below
    return name


def decode(schema: Schema, body: Json, path: str = "") -> tuple[Json, list[str]]:
    """A pruned copy of ``body`` and the paths of unknown fields. Raises ApiError 400 for a mistyped field."""
    unknown: list[str] = []
    return _decode(schema, body, path, unknown), unknown


def _decode(schema: Schema, value: Json, path: str, unknown: list[str]) -> Json:
    if value is None:
        return None
    if schema.int_or_string:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _mistyped(value, "int or string", path)
        return value
    if schema.format == "quantity":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _mistyped(value, "quantity", path)
        return value if isinstance(value, str) else str(value)
    if schema.type == "object":
        return _object(schema, value, path, unknown)
    if schema.type == "array":
        if not isinstance(value, list):
            raise _mistyped(value, "slice", path)
        assert schema.items is not None
        return [_decode(schema.items, item, f"{path}[{position}]", unknown) for position, item in enumerate(value)]
    return _scalar(schema, value, path)


def _object(schema: Schema, value: Json, path: str, unknown: list[str]) -> Json:
    if not isinstance(value, dict):
        raise _mistyped(value, schema.definition.rpartition(".")[2] or "map", path)
    if schema.values is not None:
        return {name: _decode(schema.values, item, f"{path}.{name}", unknown) for name, item in value.items() if item is not None}
    if not schema.properties:
        return value
    out = {}
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        child = schema.properties.get(name)
        if child is None:
            if schema.preserve_unknown:
                out[name] = item
            else:
                unknown.append(below)
        elif item is not None:
            out[name] = _decode(child, item, below, unknown)
    return out


def _scalar(schema: Schema, value: Json, path: str) -> Json:
    kind = schema.type
    if kind == "string":
        fits = isinstance(value, str)
    elif kind == "integer":
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "boolean":
        fits = isinstance(value, bool)
    else:
        fits = True
    if not fits:
        raise _mistyped(value, _GO.get(kind, kind), path)
    if kind == "integer":
        bits = 31 if schema.format == "int32" else 63
        if not -(2**bits) <= value < 2**bits:
            raise errors.bad_request(f"json: cannot unmarshal number {value} into Go struct field {path} of type int{bits + 1}")
    return value


def _mistyped(value: Json, wanted: str, path: str) -> errors.ApiError:
    given = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}[type(value)]
    return errors.bad_request(f"json: cannot unmarshal {given} into Go struct field {path} of type {wanted}")
