"""What ``kubectl apply`` sends: a strategic merge patch from what was applied last to what is wanted now.

Fields that nobody applied (the server's defaults, what others wrote) are left out, so they stay as they are; what was
applied and is wanted no more goes. ``strategic`` is what the server makes of it.
"""

from __future__ import annotations

from typing import Any

from holdfast.machinery.schema import Json, Schema


def three_way(schema: Schema | None, former: Json, wanted: dict[str, Any]) -> dict[str, Any]:
    """``former``: what was applied last; anything but an object counts as nothing."""
    before: dict[str, Any] = former if isinstance(former, dict) else {}
    patch: dict[str, Any] = {name: None for name in before if name not in wanted}
    for name, value in wanted.items():
        node = (schema.properties.get(name) or schema.values) if schema else None
        if isinstance(value, dict):
            patch[name] = three_way(node, before.get(name), value)
        elif isinstance(value, list) and node is not None and "merge" in node.patch_strategy:
            _list(patch, name, node, before.get(name), value)
        else:
            patch[name] = value
    return patch


def _list(patch: dict[str, Any], name: str, node: Schema, former: Json, wanted: list[Json]) -> None:
    key = node.patch_key
    old = former if isinstance(former, list) else []
    if not key:
        patch[name] = wanted
        if gone := [item for item in old if item not in wanted]:
            patch[f"$deleteFromPrimitiveList/{name}"] = gone
        return
    before = {str(item.get(key)): item for item in old if isinstance(item, dict)}
    items: list[Json] = []
    for item in wanted:
        made = three_way(node.items, before.pop(str(item.get(key)), None), item) if isinstance(item, dict) else item
        if "retainKeys" in node.patch_strategy and isinstance(made, dict):
            made["$retainKeys"] = sorted(item)
        items.append(made)
    patch[name] = [*items, *({"$patch": "delete", key: item[key]} for item in before.values() if key in item)]
    patch[f"$setElementOrder/{name}"] = [{key: item[key]} for item in wanted if isinstance(item, dict) and key in item]
