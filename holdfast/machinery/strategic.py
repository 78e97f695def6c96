"""Strategic merge patch: lists of objects merge by their key, with $patch, $retainKeys, $setElementOrder and
$deleteFromPrimitiveList. Rules: the API conventions' description of the format; keys come from the Schema.
"""

from __future__ import annotations

import copy
from typing import Any

from holdfast.machinery.decode import go_text
from holdfast.machinery.errors import bad_request
from holdfast.machinery.schema import Json, Schema

_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_merge(schema: Schema | None, current: Json, patch: Json) -> Json:
    """A new value. Raises ApiError 400 for a patch that breaks the format."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if not name.startswith("$")}
    if directive == "delete":
        return None
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type: {directive}")
    out: dict[str, Any] = dict(current) if isinstance(current, dict) else {}
    retained = patch.get("$retainKeys")
    if retained is not None:
        out = {name: value for name, value in out.items() if name in retained}
    for name, value in patch.items():
        if name.startswith(_DELETE_PRIMITIVE):
            field = name.removeprefix(_DELETE_PRIMITIVE)
            out[field] = [item for item in out.get(field) or [] if item not in value]
        elif not name.startswith("$"):
            _field(schema, out, name, value, patch.get(_ORDER + name))
    for name, order in patch.items():
        field = name.removeprefix(_ORDER)
        if field != name and field not in patch and out.get(field):
            out[field] = _ordered(out[field], order, out[field], _key(schema, field))
    return out


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
            live = out.get(name) or []
            if order is not None:
                _check_order(value, order, node.patch_key)
            out[name] = _ordered(_list(node, live, value), value if order is None else order, live, node.patch_key)
        else:
            out[name] = copy.deepcopy(value)
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
        return [*current, *(copy.deepcopy(item) for item in patch if item not in current)]
    key = node.patch_key
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    out = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {go_text(item)} does not contain declared merge key: {key}")
        places = [n for n, old in enumerate(out) if isinstance(old, dict) and old.get(key) == item[key]]
        if item.get("$patch") == "delete":
            out = [old for n, old in enumerate(out) if n not in places]
        elif places:
            merged = strategic_merge(node.items, out[places[0]], {k: v for k, v in item.items() if k != "$patch"} | _directive(item))
            out[places[0]] = merged
        else:
            added = strategic_merge(node.items, {}, item)
            if added is not None:
                out.append(added)
    return out


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
    wanted = [_ident(entry, key) for entry in order]
    before = [_ident(item, key) for item in live]
    named = sorted((item for item in items if _ident(item, key) in wanted), key=lambda item: wanted.index(_ident(item, key)))
    others = [item for item in items if _ident(item, key) not in wanted]
    out: list[Json] = []
    while others and named:
        other, one = _ident(others[0], key), _ident(named[0], key)
        first = other in before and one in before and before.index(other) < before.index(one)
        out.append(others.pop(0) if first else named.pop(0))
    return out + others + named
