"""Sets of field paths in the form that managedFields carry (FieldsV1), and their algebra.

A node is a dict of path elements: ``f:NAME`` a field, ``k:{...}`` the list item with these keys, ``v:VALUE`` an item
of a set. A node without elements is a member of the set itself; one with elements is a member when it has ``"."``.
``None`` is the empty set. Format: KEP-555 and the API reference of FieldsV1. The walks that make such sets out of
objects are in ``machinery.typed``. Nothing here changes its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

Fields = dict[str, Any]
SELF = "."


def is_member(node: Fields) -> bool:
    return not node or SELF in node


def node(children: Fields, *, member: bool) -> Fields | None:
    """A node of these children; None when it would be empty and no member."""
    if not children:
        return {} if member else None
    return {SELF: {}, **children} if member else children


def union(one: Fields | None, two: Fields | None) -> Fields | None:
    if one is None or two is None or one is two:
        return two if one is None else one
    children = {name: child for name, child in one.items() if name != SELF}
    for name, child in two.items():
        if name != SELF:
            there = children.get(name)
            children[name] = child if there is None else union(there, child)
    return node(children, member=is_member(one) or is_member(two))


def difference(one: Fields | None, two: Fields | None) -> Fields | None:
    """The members of ``one`` that are none of ``two``."""
    if one is None or two is None:
        return one
    children = {}
    for name, child in one.items():
        if name != SELF:
            left = difference(child, two.get(name))
            if left is not None:
                children[name] = left
    return node(children, member=is_member(one) and not is_member(two))


def intersection(one: Fields | None, two: Fields | None) -> Fields | None:
    if one is None or two is None:
        return None
    children = {}
    for name, child in one.items():
        if name != SELF:
            both = intersection(child, two.get(name))
            if both is not None:
                children[name] = both
    return node(children, member=is_member(one) and is_member(two))


def members(fields: Fields | None, path: str = "") -> Iterator[str]:
    """The members as upstream prints them in conflicts: ``.spec.containers[name="a"].image``."""
    if fields is None:
        return
    if path and is_member(fields):
        yield path
    for name in sorted(fields):
        if name != SELF:
            yield from members(fields[name], path + _shown(name))


def _shown(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "f":
        return f".{text}"
    if kind == "k":
        pairs = orjson.loads(text)
        return "[" + ",".join(f"{name}={orjson.dumps(pairs[name]).decode()}" for name in sorted(pairs)) + "]"
    return f"[={text}]"
