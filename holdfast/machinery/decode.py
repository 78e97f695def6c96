"""From bytes to a pruned tree: strict JSON, then types and unknown fields by the schema.

The stdlib parser takes NaN, duplicate keys and lone surrogates, and dies of depth; orjson takes only
duplicates. So orjson parses, a scan bounds the depth, and duplicates are looked for only where
strictness was asked for. ``decode`` then walks tree and schema together: a mistyped field is an
error naming its path; an unknown one is dropped and reported, as fieldValidation wants it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Any

import orjson

from holdfast.machinery import base64fault, errors, quantity
from holdfast.machinery.jsonfault import go_fault
from holdfast.machinery.schema import Json, Schema

MAX_DEPTH = 250
MAX_DUPLICATES = 100
_TOO_DEEP = "invalid character '{' exceeded max depth"
_GO = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
_GIVEN = {bool: ("bool", "bool"), int: ("number", "int64"), float: ("number", "float64"), str: ("string", "string")}
_GIVEN |= {list: ("array", "slice"), dict: ("object", "map")}
_SPACED = re.compile(rb'"\s+:')
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_USUAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_TIME = [
    (layout, re.compile(pattern))
    for layout, pattern in (
        ("2006", r"\d{4}"),
        ("-", "-"),
        ("01", r"\d\d"),
        ("-", "-"),
        ("02", r"\d\d"),
        ("T", "T"),
        ("15", r"\d\d"),
        (":", ":"),
        ("04", r"\d\d"),
        (":", ":"),
        ("05", r"\d\d(\.\d{1,9})?"),
        ("Z07:00", r"Z|[-+]\d\d:\d\d"),
    )
]
_POSITION = re.compile(r"\[\d+]")


class MistypedError(errors.ApiError):
    """``restored`` says the fault as upstream's converter of patched trees does, the message as its JSON decoder."""

    def __init__(self, message: str, restored: str) -> None:
        super().__init__(400, "BadRequest", message)
        self.restored = restored


class _Mistyped(Exception):
    """On its way up each level puts its field in front of the path; the innermost definition says whose field it is."""

    def __init__(self, value: Json, wanted: str) -> None:
        super().__init__(wanted)
        self.value = value
        self.wanted = wanted
        self.path = ""
        self.owner = ""

    def error(self) -> MistypedError:
        json_type, go_kind = _GIVEN[type(self.value)]
        if isinstance(self.value, float) and self.wanted.startswith("int"):
            json_type = f"number {self.value!r}"
        place = ".".join(part for part in (self.owner, _POSITION.sub("", self.path)) if part)
        message = f"json: cannot unmarshal {json_type} into Go struct field {place} of type {self.wanted}"
        composite = {"[": "slice", "m": "map", "v": "struct"}.get(self.wanted[0]) if self.wanted[1:2] in "]a123456789" else None
        return MistypedError(
            message, f"cannot restore {composite} from: {go_kind}" if composite else f"unrecognized type: {self.wanted}"
        )


class _OutOfRange(_Mistyped):
    def error(self) -> MistypedError:
        message = f"json: cannot unmarshal number {self.value} into Go struct field {self.path} of type {self.wanted}"
        return MistypedError(message, message)


class NotJsonError(errors.ApiError):
    """A body that is no JSON; ``fault`` says why, for those who word the refusal in their own way."""

    def __init__(self, fault: str) -> None:
        super().__init__(400, "BadRequest", f"couldn't get version/kind; json parse error: {fault}")
        self.fault = fault


def parse_json(raw: bytes) -> Json:
    """The value of a JSON text. Raises ApiError 400 for anything RFC 8259 does not allow, or nested too deep."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(_TOO_DEEP if "depth limit" in error.msg else go_fault(raw)) from error
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise NotJsonError(_TOO_DEEP)
    return value


def _depth(raw: bytes) -> int:
    """Deepest nesting of a text that is known to be JSON."""
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def duplicate_fields(raw: bytes, tree: Json) -> list[str]:
    """Paths of object keys that stand twice (the last one counts), the first hundred. ``tree`` is what ``raw`` was parsed to."""
    if raw.count(b'":') == _keys(tree) and not _SPACED.search(raw):
        return []  # as many keys in the text as in the tree
    try:
        whole = json.loads(raw, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return []
    return list(islice(_doubled(whole, ""), MAX_DUPLICATES))


class _Pairs(list[tuple[str, Any]]):
    """An object as its text has it: every pair, in order."""


def _doubled(tree: Json, path: str) -> Iterator[str]:
    if isinstance(tree, _Pairs):
        seen: set[str] = set()
        for name, value in tree:
            here = f"{path}.{name}" if path else name
            if name in seen:
                yield here
            seen.add(name)
            if isinstance(value, list):
                yield from _doubled(value, here)
    else:
        for position, item in enumerate(tree):
            if isinstance(item, list):
                yield from _doubled(item, f"{path}[{position}]")


def _keys(tree: Json) -> int:
    """How many keys all objects of a tree have."""
    count, waiting = 0, [tree]
    for node in waiting:  # which grows
        if type(node) is dict:
            count += len(node)
            waiting += [value for value in node.values() if type(value) is dict or type(value) is list]
        elif type(node) is list:
            waiting += node
    return count


def decode(schema: Schema, body: Json) -> tuple[Json, list[str]]:
    """A pruned copy of ``body`` and the paths of unknown fields. Raises ApiError 400 for a mistyped field."""
    unknown: list[str] = []
    try:
        return _decode(schema, body, unknown), unknown
    except _Mistyped as fault:
        raise fault.error() from None


def _joined(name: str, path: str) -> str:
    return f"{name}{path}" if not path or path[0] == "[" else f"{name}.{path}"


def _below(schema: Schema, value: Json, unknown: list[str], name: str) -> Json:
    """A child's value; paths are put together only when there is something to tell."""
    known = len(unknown)
    try:
        found = _decode(schema, value, unknown)
    except _Mistyped as fault:
        fault.path = _joined(name, fault.path)
        raise
    for position in range(known, len(unknown)):
        unknown[position] = _joined(name, unknown[position])
    return found


def _decode(schema: Schema, value: Json, unknown: list[str]) -> Json:
    if value is None:
        return None
    kind = schema.type
    if kind == "object":
        return _object(schema, value, unknown)
    if kind == "array":
        if not isinstance(value, list):
            raise _Mistyped(value, _go_type(schema))
        assert schema.items is not None
        return [
            _zero(schema.items) if item is None else _below(schema.items, item, unknown, f"[{position}]")
            for position, item in enumerate(value)
        ]
    if kind == "string" and isinstance(value, str) and not schema.format:
        return value
    if schema.int_or_string:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise _Mistyped(value, "intstr.IntOrString")
        return value
    if schema.format == "quantity":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _Mistyped(value, "resource.Quantity")
        text = value if isinstance(value, str) else str(value)
        try:
            quantity.parse(text)
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
        return text
    return _scalar(schema, value)


def _zero(schema: Schema) -> Json:
    """What null is as an item of a list: the empty value of its type."""
    if schema.int_or_string:
        return 0
    if schema.format == "quantity":
        return "0"
    return {"object": {}, "array": [], "string": "", "integer": 0, "number": 0, "boolean": False}.get(schema.type)


def _object(schema: Schema, value: Json, unknown: list[str]) -> Json:
    if not isinstance(value, dict):
        raise _Mistyped(value, _go_type(schema))
    if schema.values is not None:
        return _map(schema.values, value, unknown)
    if not schema.properties:
        return value
    try:
        return _fields(schema, value, unknown)
    except _Mistyped as fault:
        fault.owner = fault.owner or schema.definition.rpartition(".")[2]
        raise


def _map(schema: Schema, value: dict[str, Json], unknown: list[str]) -> Json:
    out = {}
    for name, item in value.items():
        if item is None:
            if schema.type == "string" and not schema.format and not schema.int_or_string:
                out[name] = ""  # what null is to a map of strings
            continue
        try:
            out[name] = (
                item if schema.type == "string" and isinstance(item, str) and not schema.format else _below(schema, item, unknown, name)
            )
        except _Mistyped as fault:
            if not fault.owner:
                fault.path = ""  # upstream names the map, not the key
            raise
    return out


def _fields(schema: Schema, value: dict[str, Json], unknown: list[str]) -> Json:
    out = {}
    for name, item in value.items():
        child = schema.properties.get(name)
        if child is None:
            if schema.preserve_unknown:
                out[name] = item
            else:
                unknown.append(name)
        elif item is not None:
            found = item if _is_plain(child, item) else _below(child, item, unknown, name)
            if found or not _is_omitted(schema, name, child, found):
                out[name] = found
    return out


def _is_plain(schema: Schema, value: Json) -> bool:
    """A scalar that is plainly what it should be, as most are: to be looked at no further."""
    given = type(value)
    if given is str:
        return schema.type == "string" and (
            not schema.format or (schema.format == "date-time" and _USUAL_TIME.fullmatch(value) is not None)
        )
    return given is bool and schema.type == "boolean"


def _is_omitted(schema: Schema, name: str, child: Schema, value: Json) -> bool:
    """Empty lists and maps are not kept, unless their field is one that is always written; an empty struct is a choice."""
    return (value == [] or (value == {} and child.values is not None)) and name not in schema.required


def _scalar(schema: Schema, value: Json) -> Json:
    kind = schema.type
    if kind == "string":
        fits = isinstance(value, str)
    elif kind == "integer":
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "boolean":
        fits = isinstance(value, bool)
    else:
        fits = True
    if not fits:
        raise _Mistyped(value, _go_type(schema))
    if schema.format == "date-time":
        _check_time(value)
    if schema.format == "byte":
        try:
            return base64fault.canonical(value)
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
    if kind == "integer":
        bits = 31 if schema.format == "int32" else 63
        if not -(2**bits) <= value < 2**bits:
            raise _OutOfRange(value, f"int{bits + 1}")
    return value


def _check_time(text: str) -> None:
    """Refuses what Go's time.Parse does not take as RFC 3339, in its words."""
    if _USUAL_TIME.fullmatch(text):
        return
    rest = text
    for layout, pattern in _TIME:
        match = pattern.match(rest)
        if match is None:
            why = f'parsing time {json.dumps(text)} as "2006-01-02T15:04:05Z07:00": cannot parse {json.dumps(rest)} as "{layout}"'
            raise errors.bad_request(why)
        rest = rest[match.end() :]
    if rest:
        raise errors.bad_request(f"parsing time {json.dumps(text)}: extra text: {json.dumps(rest)}")


def _go_type(schema: Schema) -> str:
    """The Go type that upstream's texts name: int32, v1.PodSpec, []v1.Container, map[string]string."""
    if schema.type == "array":
        return f"[]{_go_type(schema.items)}" if schema.items else "[]interface {}"
    if schema.type == "object":
        if schema.values is not None:
            return f"map[string]{_go_type(schema.values)}"
        return ".".join(schema.definition.split(".")[-2:]) or "map[string]interface {}"
    return schema.format if schema.format in ("int32", "int64") else _GO.get(schema.type, schema.type)


def go_text(value: Json) -> str:
    """A tree as Go's %v prints it; upstream shows refused patches so."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{go_text(value[name])}' for name in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
