"""Compiles Schemas out of the upstream data file and our overlay (DESIGN rule 2).

The data file (``scripts/boil_schemas.py``) knows names, types, formats and list keys; the overlay
(``kinds.definitions``) knows defaults, bounds and checks. Nodes are compiled when first asked for and
shared: a reference is the referred node itself, so recursive definitions are cyclic trees.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from holdfast.kinds import definitions
from holdfast.kinds.definitions.overlay import OVERLAYS
from holdfast.machinery.schema import Defaulter, Schema

LEVEL = "1.36"
FREE_FORM = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
}
VERSION = "io.k8s.apimachinery.pkg.version.Info"
_compiled: dict[str, Schema] = {}


@cache
def _data() -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads((Path(__file__).parent / "data" / f"definitions-{LEVEL}.json").read_bytes())
    for module in pkgutil.iter_modules(definitions.__path__):
        importlib.import_module(f"{definitions.__name__}.{module.name}")
    return loaded


def schema_of(definition: str) -> Schema:
    """The compiled node of a definition, the same object each time. Raises KeyError for an unknown name."""
    found = _compiled.get(definition)
    if found is None:
        found = _compiled[definition] = Schema(definition=definition)
        _fill(found, _data()[definition])
        _overlay(found)
    return found


def known(definition: str) -> Schema | None:
    """``schema_of``, or None for an unknown name."""
    return schema_of(definition) if definition in _data() else None


def of_kind(group: str, version: str, kind: str) -> Schema | None:
    """The schema of a kind of the data file, served or only sent to a subresource; None when it has none."""
    name = _by_kind().get((group, version, kind))
    return schema_of(name) if name else None


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    return {(g, v, k): name for name, raw in _data().items() for g, v, k in raw.get("gvk", ())}


def definitions_below(schema: Schema) -> dict[str, Schema]:
    """Every definition that ``schema`` reaches, itself included, by name."""
    found: dict[str, Schema] = {}
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if node.definition:
            if node.definition in found:
                continue
            found[node.definition] = node
        waiting.extend(node.properties.values())
        waiting.extend(child for child in (node.items, node.values) if child is not None)
    return found


def _node(raw: dict[str, Any]) -> Schema:
    if "ref" in raw:
        shared = schema_of(raw["ref"])
        if len(raw) == 1:
            return shared
        # A use of a definition may carry a patch strategy of its own (EnvVarSource does not, PodAffinity does).
        node = replace(shared, definition=shared.definition)
        _attributes(node, raw)
        return node
    node = Schema()
    _fill(node, raw)
    return node


def _attributes(node: Schema, raw: dict[str, Any]) -> None:
    node.format = raw.get("format", node.format)
    node.list_type = raw.get("listType", node.list_type)
    node.list_keys = tuple(raw.get("listKeys", node.list_keys))
    node.map_type = raw.get("mapType", node.map_type)
    node.patch_strategy = raw.get("patchStrategy", node.patch_strategy)
    node.patch_key = raw.get("patchKey", node.patch_key)


def _fill(node: Schema, raw: dict[str, Any]) -> None:
    node.type = raw.get("type", "")
    _attributes(node, raw)
    if node.format == "int-or-string":
        node.int_or_string = True
    node.properties = {name: _node(child) for name, child in raw.get("properties", {}).items()}
    if "values" in raw:
        node.values = _node(raw["values"])
    if "items" in raw:
        node.items = _node(raw["items"])
    node.required = tuple(raw.get("required", ()))
    node.enum = tuple(raw.get("enum", ()))
    node.group_version_kind = tuple((g[0], g[1], g[2]) for g in raw.get("gvk", ()))
    if node.group_version_kind:
        node.held = tuple(name for name in ("metadata", "spec", "status") if name in node.properties)
    node.preserve_unknown = node.definition in FREE_FORM or (node.type == "object" and not node.properties and node.values is None)


def _chain(defaulters: list[Defaulter]) -> Defaulter:
    def run(obj: dict[str, Any]) -> None:
        for defaulter in defaulters:
            defaulter(obj)

    return run


def _overlay(node: Schema) -> None:
    entry = OVERLAYS.get(node.definition)
    if entry is None:
        return
    changed = dict(node.properties)
    for name, attributes in entry.fields.items():
        changed[name] = replace(changed[name], **attributes)
    for name, value in entry.defaults.items():
        changed[name] = replace(changed[name], default=value)
    node.properties = changed
    node.checks = tuple(entry.checks)
    node.held += entry.held
    node.required = tuple(name for name in dict.fromkeys((*node.required, *entry.required)) if name not in entry.optional)
    if entry.defaulters:
        node.defaulter = _chain(entry.defaulters)
