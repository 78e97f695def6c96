"""OpenAPI v2 and v3: paths out of the KindTable, definitions out of its schemas, descriptions where they are installed.

kubectl looks into these before it writes: at the PATCH operation of a kind, for the query parameter
``fieldValidation``; and at definitions, for ``explain`` and client-side checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from holdfast.kinds import schemas
from holdfast.kinds.kind import Kind
from holdfast.kinds.schemas import definitions_below
from holdfast.kinds.table import KindTable
from holdfast.machinery import openapi, openapi_protobuf
from holdfast.machinery.schema import Schema
from holdfast.server.documents import discovery, operations, prose
from holdfast.server.documents.operations import META, group_words, plain, reference

Json = dict[str, Any]
Tell = Callable[[], Mapping[str, Any]]
JSON = "application/json"
FORMS_V2 = {JSON: JSON, openapi_protobuf.V2: openapi_protobuf.V2, openapi_protobuf.V2.replace("v2.v1", "v2@v1"): openapi_protobuf.V2}
FORMS_V3 = {JSON: JSON, openapi_protobuf.V3: openapi_protobuf.V3, openapi_protobuf.V3.replace("v3.v1", "v3@v1"): openapi_protobuf.V3}
"""As asked for > as answered."""
_ENCODERS: dict[str, Callable[[Json], bytes]] = {
    JSON: orjson.dumps,
    openapi_protobuf.V2: openapi_protobuf.encode_v2,
    openapi_protobuf.V3: openapi_protobuf.encode_v3,
}
_ISSUER = ".well-known/openid-configuration"
_KEYS = "openid/v1/jwks"
_SECURITY: Json = {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header"}
_REFERENCE = re.compile(r'"\$ref":"#/(?:definitions|components/schemas)/([^"]+)"')


def encoded(document: Json, media: str) -> bytes:
    return _ENCODERS[media](document)


def v2(kinds: KindTable, version: str, told: Tell | None = None) -> Json:
    """``told`` gives the descriptions, where many documents are made at once."""
    paths: Json = {}
    for part in parts(kinds):
        paths |= _paths(kinds, part)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": dict(sorted(paths.items())),
        "definitions": _definitions(kinds, paths, openapi.V2, told),
        "securityDefinitions": {"BearerToken": _SECURITY},
        "security": [{"BearerToken": []}],
    }


def v3(kinds: KindTable, part: str, version: str, told: Tell | None = None) -> Json:
    """The document of one of ``parts``."""
    paths = _paths(kinds, part)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": operations.v3(dict(sorted(paths.items()))),
        "components": {"schemas": _definitions(kinds, paths, openapi.V3, told), "securitySchemes": {"BearerToken": _SECURITY}},
        "security": [{"BearerToken": []}],
    }


def parts(kinds: KindTable) -> list[str]:
    """The names of the v3 documents: a group version each, a group each, and the pages that belong to none."""
    found = [_ISSUER, "api", "apis", _KEYS, "version"]
    for group, versions in discovery.groups(kinds).items():
        found += [f"apis/{group}"] if group else []
        found += [f"apis/{group}/{version}" if group else f"api/{version}" for version in versions]
    return sorted(found)


def _paths(kinds: KindTable, part: str) -> Json:
    """The path items of one document, in the words of v2."""
    page = partial(plain, f"/{part}/")
    text: Json = {"type": "string"}
    first, *rest = part.split("/")
    if part == _ISSUER:
        return page("get service account issuer OpenID configuration", "getServiceAccountIssuerOpenIDConfiguration", "WellKnown", text)
    if part == _KEYS:
        return page("get the keys that verify service account tokens", "getServiceAccountIssuerOpenIDKeyset", "openid", text)
    if part == "version":
        return page("get the version information for this server", "getCodeVersion", "version", reference(schemas.VERSION))
    if part == "api":
        return page("get available API versions", "getCoreAPIVersions", "core", reference(META + "APIVersions"))
    if part == "apis":
        return page("get available API versions", "getAPIVersions", "apis", reference(META + "APIGroupList"))
    group, version = ("", rest[0]) if first == "api" else (rest[0], rest[1] if len(rest) > 1 else "")
    words, tag = group_words(group, version)
    if not version:
        return page("get information of a group", f"get{words}APIGroup", tag, reference(META + "APIGroup"))
    found = page("get available resources", f"get{words}APIResources", tag, reference(META + "APIResourceList"))
    for kind in kinds:
        if (kind.resource.group, kind.resource.version) == (group, version):
            found |= operations.Operations(kind).paths()
    return found


def _definitions(kinds: KindTable, paths: Json, base: str, told: Tell | None) -> Json:
    """What the paths refer to, and what that refers to."""
    own = _own(kinds)
    found: dict[str, Schema] = {}
    for name in set(_REFERENCE.findall(orjson.dumps(paths).decode())):
        root = own.get(name) or schemas.schema_of(name)
        found[name] = root
        for below, schema in definitions_below(root).items():
            found[below] = own.get(below) or schemas.known(below) or schema
    described = (told or prose.definitions)()
    return {name: openapi.definition(found[name], base, described.get(name) or {}) for name in sorted(found)}


def _own(kinds: KindTable) -> Mapping[str, Schema]:
    """The kinds' own schemas and those of their lists, by the names that the paths use."""
    found: dict[str, Schema] = {}
    for kind in kinds:
        name = operations.definition_name(kind)
        served = ((kind.resource.group, kind.resource.version, kind.resource.kind),)
        found[name] = kind.schema if kind.schema.definition else replace(kind.schema, definition=name, group_version_kind=served)
        found[f"{name}List"] = schemas.known(f"{name}List") or _list_of(kind, name)
    return found


def _list_of(kind: Kind, name: str) -> Schema:
    resource = kind.resource
    item = Schema(definition=name, type="object", properties=kind.schema.properties)
    return Schema(
        definition=f"{name}List",
        type="object",
        properties={
            "apiVersion": Schema(type="string"),
            "items": Schema(type="array", items=item),
            "kind": Schema(type="string"),
            "metadata": schemas.schema_of(META + "ListMeta"),
        },
        required=("items",),
        group_version_kind=((resource.group, resource.version, f"{resource.kind}List"),),
    )
