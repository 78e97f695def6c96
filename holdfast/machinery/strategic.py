"""Strategic merge patch: lists of objects merge by their key, with $patch, $retainKeys, $setElementOrder and
$deleteFromPrimitiveList. Rules: the API conventions' description of the format; keys come from the Schema.
"""

from __future__ import annotations

import copy
from typing import Any

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
        if name.startswith(_ORDER) and (field := name.removeprefix(_ORDER)) not in patch and out.get(field):
            out[field] = _ordered(out[field], order, _key(schema, field))
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
            merged = _list(node, out.get(name) or [], value)
            out[name] = _ordered(merged, order, node.patch_key) if order is not None else merged
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
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        places = [n for n, old in enumerate(out) if isinstance(old, dict) and _same(old, item, node)]
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


def _same(old: dict[str, Any], item: dict[str, Any], node: Schema) -> bool:
    """Equal by the merge key; ports also by protocol, as apply's list keys say, when the patch names it."""
    if old.get(node.patch_key) != item.get(node.patch_key):
        return False
    return all(old.get(k) == item[k] for k in node.list_keys if k in item and k in old)


def _ordered(items: list[Json], order: list[Json], key: str) -> list[Json]:
    """Items in the patch's order; those it does not name keep their place behind the one they followed."""
    wanted = [entry.get(key) if key and isinstance(entry, dict) else entry for entry in order]

    def ident(item: Json) -> Json:
        return item.get(key) if key and isinstance(item, dict) else item

    named = iter(sorted((item for item in items if ident(item) in wanted), key=lambda item: wanted.index(ident(item))))
    return [next(named) if ident(item) in wanted else item for item in items]
