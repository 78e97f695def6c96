"""The Schema: what a value may be, as a tree of nodes compiled once per process.

One node carries everything any walker needs: type, bounds, defaults, list keys, patch strategy,
checks. The walkers stand beside this file, one each: ``decode`` (prune, mistyped and unknown
fields), ``default``, ``validate``, ``strategic`` (merge patch), ``openapi``, ``protobuf``. Nodes are
compiled by ``kinds.schemas`` out of the upstream data file and our overlay (DESIGN rule 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.machinery.fielderror import FieldError

Json = Any
"""A JSON value: dict, list, str, int, float, bool or None."""

Check = Callable[[Any, Any, str], list[FieldError]]
"""(new value, old value or None on create, path) -> faults. Pure."""

Defaulter = Callable[[dict[str, Any]], None]
"""Fills absent fields of one object in place (the object is the pipeline's own copy)."""

UNSET: Any = object()


@dataclass(eq=False)
class Schema:
    """One node. ``type`` is object, array, string, integer, number, boolean or "" (any JSON)."""

    type: str = ""
    format: str = ""
    definition: str = ""
    """The OpenAPI definition name, when this node is a definition's root (``io.k8s.api.core.v1.PodSpec``)."""
    properties: Mapping[str, Schema] = field(default_factory=dict)
    """Shared nodes: a ``$ref`` is the referred Schema itself, so trees may be cyclic (JSONSchemaProps)."""
    values: Schema | None = None
    """additionalProperties of a map."""
    items: Schema | None = None
    required: tuple[str, ...] = ()
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str = ""
    nullable: bool = False
    int_or_string: bool = False
    preserve_unknown: bool = False
    list_type: str = ""
    """atomic, set, map or "" (then as atomic for apply)."""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    """atomic: owned as a whole by who applies it."""
    held: tuple[str, ...] = ()
    """Properties that upstream keeps by value: they are there, empty, in every object of this kind, and nobody adds them."""
    patch_strategy: str = ""
    """merge, replace, retainKeys, or "merge,retainKeys"."""
    patch_key: str = ""
    default: Any = UNSET
    defaulter: Defaulter | None = None
    """Runs on an object after its constant defaults, before its children's."""
    checks: tuple[Check, ...] = ()
    proto: int = 0
    group_version_kind: tuple[tuple[str, str, str], ...] = ()
    plans: dict[str, Any] = field(default_factory=dict, init=False)
    """What a walker has worked out about this node once and for all, by the walker's name."""


def reaches(schema: Schema, aspect: str, here: Callable[[Schema], bool]) -> bool:
    """Whether ``here`` holds for this node or one below: worked out once for the whole tree, which may be cyclic."""
    known: bool | None = schema.plans.get(aspect)
    if known is not None:
        return known
    above: dict[int, list[Schema]] = {}
    nodes = {id(schema): schema}
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        for child in (*node.properties.values(), *(c for c in (node.values, node.items) if c is not None)):
            above.setdefault(id(child), []).append(node)
            if id(child) not in nodes:
                nodes[id(child)] = child
                waiting.append(child)
    reaching = [node for node in nodes.values() if here(node)]
    for node in nodes.values():
        node.plans[aspect] = False
    while reaching:
        node = reaching.pop()
        if not node.plans[aspect]:
            node.plans[aspect] = True
            reaching.extend(above.get(id(node), ()))
    result: bool = schema.plans[aspect]
    return result
