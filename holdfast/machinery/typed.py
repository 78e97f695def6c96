"""Objects seen through their schema, as server-side apply sees them: which fields are there, what changed, merge, remove.

Structs, maps and associative lists are walked into; scalars and what the schema calls atomic are leaves. The rules
are those of structured-merge-diff (KEP-555); ``registry.managers`` decides with them who owns what.
"""

from __future__ import annotations

from typing import Any

import orjson

from holdfast.machinery.errors import ApiError, bad_request
from holdfast.machinery.fields import SELF, Fields, node, union
from holdfast.machinery.schema import UNSET, Json, Schema

Absent: Any = object()


class UntypedError(Exception):
    """A value that is not what its schema says. ``str`` is upstream's ``PATH: FAULT``."""


def is_leaf(schema: Schema) -> bool:
    """Scalars, atomic maps and lists, and trees without a schema."""
    if schema.type == "object":
        return schema.map_type == "atomic" or not (schema.properties or schema.values is not None)
    return schema.type != "array" or not is_associative(schema)


def is_associative(schema: Schema) -> bool:
    """Whether a list's items are owned one by one: list types map and set, or upstream's older merge strategy."""
    if schema.list_type:
        return schema.list_type != "atomic"
    return "merge" in schema.patch_strategy


def _keys(schema: Schema) -> tuple[str, ...]:
    return schema.list_keys or ((schema.patch_key,) if schema.patch_key else ())


def element(schema: Schema, item: Json) -> str:
    """The path element of an item of an associative list: by its keys, where absent by their defaults, or by its value."""
    keys = _keys(schema)
    if not keys or not isinstance(item, dict):
        return "v:" + orjson.dumps(item).decode()
    assert schema.items is not None
    found = {}
    for key in keys:
        value = item.get(key)
        if value is None:
            declared = schema.items.properties.get(key)
            value = declared.default if declared is not None and declared.default is not UNSET else None
        if value is not None:
            found[key] = value
    return "k:" + orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def child(schema: Schema, name: str) -> Schema | None:
    return schema.properties.get(name) or schema.values


# Which fields an object has.


def fields_of(schema: Schema, value: Json) -> Fields | None:
    """The set that applying ``value`` claims. Raises UntypedError for what the schema does not allow."""
    return _fields(schema, value, "")


def _fields(schema: Schema, value: Json, path: str) -> Fields | None:
    _check(schema, value, path)
    if value is None or is_leaf(schema):
        return {}
    if isinstance(value, list):
        return _item_fields(schema, value, path)
    children: Fields = {}
    for name, item in value.items():
        below = child(schema, name)
        if below is None:
            raise UntypedError(f"{path}.{name}: field not declared in schema")
        found = _fields(below, item, f"{path}.{name}")
        if item is None or item == {} or name not in schema.properties:
            found = union(found, {})
        if found is not None:
            children["f:" + name] = found
    return node(children, member=False)


def _item_fields(schema: Schema, value: list[Json], path: str) -> Fields | None:
    assert schema.items is not None
    children: Fields = {}
    for item in value:
        name = element(schema, item)
        if name in children:
            shown = _element_shown(name)
            raise UntypedError(f"{path}: duplicate entries for key {shown}")
        children[name] = union(_fields(schema.items, item, f"{path}{_element_shown(name)}"), {}) or {}
    return node(children, member=False)


def _element_shown(name: str) -> str:
    if name.startswith("v:"):
        return f"[={name[2:]}]"
    pairs = orjson.loads(name[2:])
    return "[" + ",".join(f"{key}={orjson.dumps(pairs[key]).decode()}" for key in sorted(pairs)) + "]"


_PYTHON = {"object": dict, "array": list, "string": str, "boolean": bool}


def _check(schema: Schema, value: Json, path: str) -> None:
    if value is None:
        return
    if schema.int_or_string or schema.format == "quantity":
        fits = isinstance(value, str | int | float) and not isinstance(value, bool)
        wanted = "string"
    else:
        wanted = {"object": "map", "array": "list", "integer": "numeric (int or float)", "number": "numeric (int or float)"}.get(
            schema.type, schema.type
        )
        kind: Any = _PYTHON.get(schema.type, int | float)
        fits = not schema.type or (isinstance(value, kind) and (schema.type == "boolean" or not isinstance(value, bool)))
    if not fits:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        raise UntypedError(f"{path}: expected {wanted}, got &value.valueUnstructured{{Value:{text}}}")


# What changed from one object to another.


def compare(schema: Schema, old: Json, new: Json) -> tuple[Fields | None, Fields | None]:
    """(added or modified, removed)."""
    if old is Absent:
        return _all(schema, new), None
    if new is Absent:
        return None, _all(schema, old)
    if old == new:
        return None, None
    if is_leaf(schema) or type(old) is not type(new) or not (old or new):
        return {}, None
    paired: Any = _paired_items if isinstance(old, list) else _paired_fields
    pairs = paired(schema, old, new)
    more: Fields = {}
    fewer: Fields = {}
    for name, below, before, after in pairs:
        changed, removed = compare(below, before, after)
        if changed is not None:
            more[name] = changed
        if removed is not None:
            fewer[name] = removed
    return more or None, fewer or None


def _all(schema: Schema, value: Json) -> Fields:
    """Every field of a value that was not there before, itself included."""
    if not value or is_leaf(schema) or not isinstance(value, dict | list):
        return {}
    out: Fields = {SELF: {}}
    if isinstance(value, list):
        assert schema.items is not None
        for item in value:
            name = element(schema, item)
            out[name] = _all(schema.items, item) if name not in out else {}
        return out
    for name, item in value.items():
        below = child(schema, name)
        if below is not None:
            out["f:" + name] = _all(below, item)
    return out


_EMPTY: dict[str, Json] = {"array": [], "object": {}, "string": ""}
"""What a field that is held by value is before anybody writes it."""
_WHOLE = Schema()
"""Items of one name, which a list should not have: told from others, but not looked into."""


def _paired_fields(schema: Schema, old: dict[str, Json], new: dict[str, Json]) -> list[tuple[str, Schema, Json, Json]]:
    """Fields that differ. One that upstream holds by value is there even where nobody wrote it."""
    out = []
    for name in (*new, *(n for n in old if n not in new)):
        below = child(schema, name)
        if below is None:
            continue
        before, after = old.get(name, Absent), new.get(name, Absent)
        if name in schema.held:
            empty = _EMPTY.get(below.type)
            before, after = (empty if value is Absent or value is None else value for value in (before, after))
        if before is not after:
            out.append(("f:" + name, below, before, after))
    return out


def _of_name(schema: Schema, value: list[Json], name: str) -> list[Json]:
    return [item for item in value if element(schema, item) == name]


def _paired_items(schema: Schema, old: list[Json], new: list[Json]) -> list[tuple[str, Schema, Json, Json]]:
    assert schema.items is not None
    before = {element(schema, item): item for item in old}
    after = {element(schema, item): item for item in new}
    names = (*after, *(name for name in before if name not in after))
    if len(before) < len(old) or len(after) < len(new):
        groups = [(name, _of_name(schema, old, name), _of_name(schema, new, name)) for name in names]
        return [(name, _WHOLE, then or Absent, now or Absent) for name, then, now in groups]
    return [(name, schema.items, before.get(name, Absent), after.get(name, Absent)) for name in names]


# Merging and removing.


def merge(schema: Schema, live: Json, applied: Json) -> Json:
    """``live`` with what was applied on top. Neither is changed; parts are shared."""
    if live is Absent or live is None or applied is None or is_leaf(schema) or type(live) is not type(applied):
        return applied
    if isinstance(applied, dict):
        out = dict(live)
        for name, item in applied.items():
            below = child(schema, name)
            out[name] = item if below is None else merge(below, live.get(name, Absent), item)
        return out
    return _merged_items(schema, live, applied)


def _merged_items(schema: Schema, live: list[Json], applied: list[Json]) -> list[Json]:
    """Applied items in their own order; each live one that nobody applied stays behind the one it followed."""
    assert schema.items is not None
    named = {element(schema, item): item for item in live}
    wanted = [(element(schema, item), item) for item in applied]
    ours = {name for name, _ in wanted}
    shared = [name for name, _ in wanted if name in named]
    out: list[Json] = []
    queue = list(wanted)

    def take(upto: str) -> None:
        while queue:
            name, item = queue.pop(0)
            out.append(merge(schema.items, named.get(name, Absent), item))  # type: ignore[arg-type]
            if name == upto:
                return

    for item in live:
        name = element(schema, item)
        if name not in ours:
            out.append(item)
        elif shared and name == shared[0]:
            take(name)
            shared.pop(0)
    while queue:
        take("")
    return out


def remove(schema: Schema, value: Json, fields: Fields) -> Json:
    """``value`` without the members of ``fields``; what is left empty by that becomes None."""
    if not isinstance(value, dict | list) or not value or is_leaf(schema):
        return value
    if isinstance(value, list):
        assert schema.items is not None
        items = []
        for item in value:
            below = fields.get(element(schema, item))
            if below is None:
                items.append(item)
            elif below and SELF not in below:
                items.append(remove(schema.items, item, below))
        return items or None
    out = {}
    for name, item in value.items():
        below = fields.get("f:" + name)
        if below is None:
            out[name] = item
        elif below and SELF not in below:
            kept = child(schema, name)
            out[name] = item if kept is None else remove(kept, item, below)
    return out or None


def with_named(schema: Schema, fields: Fields | None) -> Fields | None:
    """The set with each declared field a member that something of is one: a struct belongs to whoever has a part of it."""
    if not fields:
        return fields
    children: Fields = {}
    for name, below in fields.items():
        if name == SELF:
            continue
        is_field = name.startswith("f:")
        inner = child(schema, name[2:]) if is_field else schema.items
        grown = below if inner is None else with_named(inner, below)
        if is_field and name[2:] in schema.properties:
            grown = union(grown, {})
        children[name] = grown
    return node(children, member=SELF in fields)


def untyped(error: UntypedError, name: str, api_version: str, kind: str) -> ApiError:
    """Upstream answers 500; it is the client's mistake."""
    version = api_version if "/" in api_version else f"/{api_version}"
    return bad_request(f"failed to create typed patch object ({name}; {version}, Kind={kind}): {error}")
