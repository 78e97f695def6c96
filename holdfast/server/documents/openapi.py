"""OpenAPI v2 and v3: paths out of the KindTable, definitions out of its schemas.

kubectl looks into these before it writes: at the PATCH operation of a kind, for the query parameter
``fieldValidation``; and at definitions, for ``explain`` and client-side checks.
"""

from __future__ import annotations

from typing import Any

from holdfast.kinds.kind import Kind
from holdfast.kinds.schemas import definitions_below
from holdfast.kinds.table import KindTable
from holdfast.machinery import openapi
from holdfast.machinery.schema import Schema

Json = dict[str, Any]
_OPTIONS = ("dryRun", "fieldManager", "fieldValidation")
_LIST_OPTIONS = ("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch")
_PATCHES = ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"]
_ACTIONS = {
    "get": ("get", "get"),
    "list": ("get", "list"),
    "create": ("post", "post"),
    "update": ("put", "put"),
    "patch": ("patch", "patch"),
    "delete": ("delete", "delete"),
    "deletecollection": ("delete", "deletecollection"),
}


def _schemas(kinds: list[Kind]) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for kind in kinds:
        found |= definitions_below(kind.schema)
    return dict(sorted(found.items()))


def _query(name: str, *, v3: bool) -> Json:
    kind = "boolean" if name == "watch" else "integer" if name == "limit" else "string"
    base: Json = {"name": name, "in": "query"}
    return base | ({"schema": {"type": kind}} if v3 else {"type": kind, "uniqueItems": True})


def _path_parameters(kind: Kind, *, named: bool, v3: bool) -> list[Json]:
    names = (["namespace"] if kind.resource.namespaced else []) + (["name"] if named else [])
    typed: Json = {"schema": {"type": "string"}} if v3 else {"type": "string", "uniqueItems": True}
    return [{"name": n, "in": "path", "required": True} | typed for n in names]


def _operation(kind: Kind, verb: str, *, v3: bool) -> Json:
    resource = kind.resource
    action = _ACTIONS[verb][1]
    writes = verb in ("create", "update", "patch")
    names = _OPTIONS if writes else _LIST_OPTIONS if verb in ("list", "deletecollection") else ("dryRun",) if verb == "delete" else ()
    parameters = [_query(n, v3=v3) for n in (*names, *(("force",) if verb == "patch" else ()))]
    base = openapi.V3 if v3 else openapi.V2
    reference = {"$ref": base + kind.schema.definition}
    ok: Json = {"description": "OK"}
    if verb not in ("list", "delete", "deletecollection"):
        ok |= {"content": {"application/json": {"schema": reference}}} if v3 else {"schema": reference}
    version = resource.version[:1].upper() + resource.version[1:]
    scope = "Namespaced" if resource.namespaced else ""
    group = "".join(p.capitalize() for p in (resource.group or "core").removesuffix(".k8s.io").split("."))
    out: Json = {
        "operationId": f"{verb}{group}{version}{scope}{resource.kind}",
        "tags": [f"{group.lower()}_{resource.version}"],
        "parameters": parameters,
        "responses": {"200": ok},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": resource.group, "kind": resource.kind, "version": resource.version},
    }
    if writes:
        _body(out, verb, reference, v3=v3)
    return out


def _body(operation: Json, verb: str, reference: Json, *, v3: bool) -> None:
    types = _PATCHES if verb == "patch" else ["*/*"]
    schema = {"type": "object"} if verb == "patch" else reference
    if v3:
        operation["requestBody"] = {"content": {t: {"schema": schema} for t in types}, "required": True}
    else:
        operation["consumes"] = types
        operation["parameters"] = [{"name": "body", "in": "body", "required": True, "schema": schema}, *operation["parameters"]]


def paths(kinds: list[Kind], *, v3: bool) -> Json:
    out: Json = {}
    for kind in kinds:
        resource = kind.resource
        collection = resource.path("{namespace}" if resource.namespaced else "")
        for path, verbs, named in (
            (collection, ("list", "create", "deletecollection"), False),
            (f"{collection}/{{name}}", ("get", "update", "patch", "delete"), True),
        ):
            item: Json = {_ACTIONS[v][0]: _operation(kind, v, v3=v3) for v in verbs if v in kind.verbs}
            out[path] = item | {"parameters": _path_parameters(kind, named=named, v3=v3)}
    return out


def v2(kinds: KindTable, version: str) -> Json:
    served = list(kinds)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths(served, v3=False),
        "definitions": {name: openapi.definition(schema, openapi.V2) for name, schema in _schemas(served).items()},
    }


def v3(kinds: KindTable, group: str, group_version: str, version: str) -> Json | None:
    """The document of one group version; None when it is not served."""
    served = [k for k in kinds if (k.resource.group, k.resource.version) == (group, group_version)]
    if not served:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths(served, v3=True),
        "components": {"schemas": {name: openapi.definition(schema, openapi.V3) for name, schema in _schemas(served).items()}},
    }
