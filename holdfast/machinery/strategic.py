"""Strategic merge patch: lists of objects merge by their key, with $patch, $retainKeys, $setElementOrder and
$deleteFromPrimitiveList. Rules: the API conventions' description of the format; keys come from the Schema.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from holdfast.machinery.decode import go_text
from holdfast.machinery.errors import bad_request
from holdfast.machinery.schema import Json, Schema
from holdfast.machinery.tree import copied

_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(schema: Schema | None, current: Json, patch: Json) -> Json:
    """A new value. Raises ApiError 400 for a patch that breaks the format."""
    if not isinstance(patch, dict):
        return copied(patch)
    if not any(name.startswith("$") for name in patch):
        return _plain(schema, dict(current) if isinstance(current, dict) else {}, patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: copied(value) for name, value in patch.items() if not name.startswith("$")}
    if directive == "delete":
        return None
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type: {directive}")
    out: dict[str, Any] = dict(current) if isinstance(current, dict) else {}
    _check_directives(patch)
    retained = patch.get("$retainKeys")
    if retained is not None:
        out = {name: value for name, value in out.items() if name in retained}
    for name, value in patch.items():
        if name.startswith(_DELETE_PRIMITIVE):
            field = name.removeprefix(_DELETE_PRIMITIVE)
            out[field] = [item for item in _items(out.get(field)) if item not in value]
        elif not name.startswith("$"):
            _field(schema, out, name, value, patch.get(_ORDER + name))
    for name, order in patch.items():
        field = name.removeprefix(_ORDER)
        if field != name and field not in patch and _items(out.get(field)):
            out[field] = _ordered(out[field], order, out[field], _key(schema, field))
    return out


def _plain(schema: Schema | None, out: dict[str, Any], patch: dict[str, Any]) -> Json:
    """A patch without directives of its own, as most parts of one are."""
    for name, value in patch.items():
        if value is None or isinstance(value, dict | list):
            _field(schema, out, name, value, None)
        else:
            out[name] = value
    return out


def _check_directives(patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if name.startswith(("$retainKeys", _DELETE_PRIMITIVE, _ORDER)) and not isinstance(value, list):
            raise bad_request(f"invalid patch: {name} needs a list of names or keys, not {go_text(value)}")


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _key(schema: Schema | None, name: str) -> str:
    node = schema.properties.get(name) if schema else None
    return node.patch_key if node else ""


def _field(schema: Schema | None, out: dict[str, Any], name: str, value: Json, order: list[Json] | None) -> None:
    if value is None:
        out.pop(name, None)
        return
    node = None
    if schema is not None:
        node = schema.properties.get(name) or schema.values
    if isinstance(value, list):
        if node is not None and "merge" in node.patch_strategy:
            live = _items(out.get(name))
            if order is not None:
                _check_order(value, order, node.patch_key)
            out[name] = _ordered(_list(node, live, value), value if order is None else order, live, node.patch_key)
        else:
            out[name] = copied(value)
        return
    if isinstance(value, dict):
        replaced = node is not None and node.patch_strategy == "replace"
        merged = strategic_merge(node, None if replaced else out.get(name), value)
        if merged is None:
            out.pop(name, None)
        else:
            out[name] = merged
        return
    out[name] = value


def _list(node: Schema, current: list[Json], patch: list[Json]) -> list[Json]:
    if not node.patch_key:
        return [*current, *(copied(item) for item in patch if item not in current)]
    key = node.patch_key
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copied(item) for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    out = list(current)
    gone: set[int] = set()
    known: dict[str, list[int]] = {}
    for position, old in enumerate(out):
        if isinstance(old, dict):
            known.setdefault(go_text(old.get(key)), []).append(position)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {go_text(item)} does not contain declared merge key: {key}")
        places = known.get(go_text(item[key]), [])
        if item.get("$patch") == "delete":
            gone.update(known.pop(go_text(item[key]), []))
        elif places:
            merged = strategic_merge(node.items, out[places[0]], {k: v for k, v in item.items() if k != "$patch"} | _directive(item))
            out[places[0]] = merged
        else:
            added = strategic_merge(node.items, {}, item)
            if added is not None:
                known.setdefault(go_text(item[key]), []).append(len(out))
                out.append(added)
    return [item for position, item in enumerate(out) if position not in gone]


def _directive(item: dict[str, Any]) -> dict[str, Any]:
    return {"$patch": "replace"} if item.get("$patch") == "replace" else {}


def _ident(item: Json, key: str) -> Json:
    return item.get(key) if key and isinstance(item, dict) else item


def _check_order(patch: list[Json], order: list[Json], key: str) -> None:
    """What a patch adds or changes must stand in its order, in that order."""
    rest = iter([_ident(entry, key) for entry in order])
    given = [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    if not all(_ident(item, key) in rest for item in given):
        raise bad_request(f"The order in patch list:\n{go_text(patch)}\n doesn't match $setElementOrder list:\n{go_text(order)}\n")


def _ordered(items: list[Json], order: list[Json], live: list[Json], key: str) -> list[Json]:
    """Items that ``order`` names, in its order; each other one before the first of these that it preceded in the live list."""
    wanted = _places(order, key)
    before = _places(live, key)
    named = sorted((item for item in items if _text(item, key) in wanted), key=lambda item: wanted[_text(item, key)])
    others = [item for item in items if _text(item, key) not in wanted]
    out: list[Json] = []
    left, right = deque(others), deque(named)
    while left and right:
        other, one = before.get(_text(left[0], key)), before.get(_text(right[0], key))
        first = other is not None and one is not None and other < one
        out.append(left.popleft() if first else right.popleft())
    return [*out, *left, *right]


def _text(item: Json, key: str) -> str:
    ident = _ident(item, key)
    return ident if type(ident) is str else go_text(ident)


def _places(items: list[Json], key: str) -> dict[str, int]:
    """Where each identity stands first."""
    return {_text(item, key): position for position, item in reversed(list(enumerate(items)))}
