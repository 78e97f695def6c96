"""The operations on one kind, as the path items of OpenAPI v2; ``v3`` says the same in the words of v3.

An operation's id, tag and extensions are names that generated clients are made of: they are put together as upstream
puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.kinds import schemas
from holdfast.kinds.kind import Kind, Subresource
from holdfast.machinery import openapi
from holdfast.registry.verbs.delete import ANSWERED_WITH_OBJECT
from holdfast.server.documents import parameters

Json = dict[str, Any]
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_PRODUCES = ["application/json", "application/yaml"]
_STREAMS = ["application/json;stream=watch"]
_PATCHES = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
_METHODS = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "delete",
}
_PREFIXES = {"get": "read", "update": "replace", "deletecollection": "delete"}
_ACTIONS = {"list": "list", "deletecollection": "deletecollection"}
_CODES: Mapping[str, tuple[int, ...]] = {"create": (200, 201, 202), "update": (200, 201), "patch": (200, 201), "delete": (200, 202)}
_TEXTS = {200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized"}
_ABOUT = {
    "get": "read the specified {}",
    "list": "list or watch objects of kind {}",
    "create": "create a {}",
    "update": "replace the specified {}",
    "patch": "partially update the specified {}",
    "delete": "delete a {}",
    "deletecollection": "delete collection of {}",
}


def reference(definition: str) -> Json:
    return {"$ref": openapi.V2 + definition}


def definition_name(kind: Kind) -> str:
    """A kind that brings its own schema is named by its group, most general part first."""
    resource = kind.resource
    own = [*reversed(resource.group.split(".")), resource.version, resource.kind]
    return kind.schema.definition or ".".join(own)


def group_words(group: str, version: str = "") -> tuple[str, str]:
    """How operation ids and tags call a group version: (StorageV1, storage_v1)."""
    labels = (group or "core").removesuffix(".k8s.io").split(".")
    name = "".join(label[:1].upper() + label[1:] for label in labels)
    tag = name[:1].lower() + name[1:]
    return (name + version[:1].upper() + version[1:], f"{tag}_{version}") if version else (name, tag)


def answers(schema: Json, codes: tuple[int, ...] = (200,)) -> Json:
    found: Json = {str(code): {"description": _TEXTS[code], "schema": schema} for code in codes}
    return found | {"401": {"description": _TEXTS[401]}}


def plain(path: str, about: str, operation_id: str, tag: str, schema: Json) -> Json:
    """A page that is no resource."""
    operation: Json = {
        "consumes": _PRODUCES,
        "description": about,
        "operationId": operation_id,
        "produces": _PRODUCES,
        "responses": answers(schema),
        "schemes": ["https"],
        "tags": [tag],
    }
    return {path: {"get": operation}}


class Operations:
    """All paths of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._resource = kind.resource
        self._words, self._tag = group_words(self._resource.group, self._resource.version)
        self._scope = "Namespaced" if self._resource.namespaced else ""
        self._own = reference(definition_name(kind))

    def paths(self) -> Json:
        resource, verbs = self._resource, self._kind.verbs
        out: Json = {}
        if resource.namespaced and "list" in verbs:
            item = {"get": self._operation("list", f"list{self._words}{resource.kind}ForAllNamespaces", parameters.LISTING)}
            out[resource.path()] = item | {"parameters": parameters.query(("pretty",))}
        collection = resource.path("{namespace}" if resource.namespaced else "")
        self._put(out, collection, ("list", "create", "deletecollection"))
        self._put(out, f"{collection}/{{name}}", ("get", "update", "patch", "delete"))
        for sub in self._kind.subresources.values():
            self._below(out, f"{collection}/{{name}}/{sub.name}", sub)
        if "watch" in verbs:
            self._watches(out, collection)
        return out

    def _put(self, out: Json, path: str, verbs: tuple[str, ...]) -> None:
        item: Json = {}
        for verb in verbs:
            if verb in self._kind.verbs:
                middle = "Collection" if verb == "deletecollection" else ""
                name = f"{_PREFIXES.get(verb, verb)}{self._words}{middle}{self._scope}{self._resource.kind}"
                item[_METHODS[verb]] = self._operation(verb, name, parameters.OF_VERB.get(verb, ()))
        if item:
            out[path] = item | {"parameters": self._of_path(path)}

    def _of_path(self, path: str) -> list[Json]:
        found = []
        if "{name}" in path:
            found.append(parameters.in_path("name", f"name of the {self._resource.kind}"))
        if "{namespace}" in path:
            found.append(parameters.in_path("namespace", "the namespace in which the object is"))
        if "{path}" in path:
            found.append(parameters.in_path("path", "what is asked for behind the proxy"))
        return [*found, *parameters.query(("pretty",))]

    def _operation(self, verb: str, operation_id: str, query: tuple[str, ...]) -> Json:
        resource = self._resource
        answer = self._own
        if verb == "list":
            answer = reference(f"{definition_name(self._kind)}List")
        elif verb == "deletecollection" or (verb == "delete" and resource.plural not in ANSWERED_WITH_OBJECT):
            answer = reference(META + "Status")
        out: Json = {
            "consumes": _PATCHES if verb == "patch" else ["*/*"],
            "description": _ABOUT[verb].format(resource.kind),
            "operationId": operation_id,
            "parameters": [*self._bodies(verb, self._own), *parameters.query(query)],
            "produces": _PRODUCES + (_STREAMS if verb == "list" else []),
            "responses": answers(answer, _CODES.get(verb, (200,))),
            "schemes": ["https"],
            "tags": [self._tag],
            "x-kubernetes-action": _ACTIONS.get(verb, _METHODS[verb]),
        }
        return out | _names(resource.group, resource.version, resource.kind)

    @staticmethod
    def _bodies(verb: str, own: Json) -> list[Json]:
        if verb in ("create", "update"):
            return [parameters.body(own, required=True)]
        if verb == "patch":
            return [parameters.body(reference(META + "Patch"), required=True)]
        if verb in ("delete", "deletecollection"):
            return [parameters.body(reference(META + "DeleteOptions"), required=False)]
        return []

    def _below(self, out: Json, path: str, sub: Subresource) -> None:
        """A subresource: the object's other half, another kind, or a connection to what runs."""
        resource = self._resource
        group, version = (sub.group, sub.version) if sub.group else (resource.group, resource.version)
        schema = schemas.of_kind(group, version, sub.kind) if sub.kind else None
        suffix = sub.name[:1].upper() + sub.name[1:]
        named = _names(group, version, sub.kind or resource.kind)
        if sub.kind and schema is None:
            self._connection(out, path, sub, suffix, named)
            if sub.name == "proxy":
                self._connection(out, f"{path}/{{path}}", sub, f"{suffix}WithPath", named)
            return
        own = reference(schema.definition) if schema else self._own
        item: Json = {}
        for verb in sub.verbs:
            query = parameters.OF_SUBRESOURCE.get(sub.name) or parameters.OF_VERB.get(verb, ())
            operation = self._operation(verb, f"{_PREFIXES.get(verb, verb)}{self._words}{self._scope}{resource.kind}{suffix}", query)
            about = _ABOUT[verb].format(f"{sub.name} of the specified {resource.kind}").replace("the specified ", "", 1)
            operation |= named | {"description": about, "responses": answers(own, _CODES.get(verb, (200,)))}
            operation["parameters"] = [*self._bodies(verb, own), *parameters.query(query)]
            if sub.name == "log":
                operation |= {"produces": ["text/plain", *_PRODUCES], "responses": answers({"type": "string"})}
            item[_METHODS[verb]] = operation
        out[path] = item | {"parameters": self._of_path(path)}

    def _connection(self, out: Json, path: str, sub: Subresource, suffix: str, named: Json) -> None:
        item: Json = {}
        for verb in sub.verbs:
            method = _METHODS[verb]
            item[method] = {
                "consumes": ["*/*"],
                "description": f"connect {method.upper()} requests to {sub.name} of {self._resource.kind}",
                "operationId": f"connect{self._words}{method.capitalize()}{self._scope}{self._resource.kind}{suffix}",
                "parameters": parameters.query(parameters.OF_SUBRESOURCE.get(sub.name, ())),
                "produces": ["*/*"],
                "responses": answers({"type": "string"}),
                "schemes": ["https"],
                "tags": [self._tag],
                "x-kubernetes-action": "connect",
                **named,
            }
        out[path] = item | {"parameters": self._of_path(path)[:-1]}

    def _watches(self, out: Json, collection: str) -> None:
        """The former way to watch, by path."""
        resource = self._resource
        whole = f"watch{self._words}{self._scope}{resource.kind}"
        found = {collection: (f"{whole}List", "watchlist"), f"{collection}/{{name}}": (whole, "watch")}
        if resource.namespaced:
            found[resource.path()] = (f"watch{self._words}{resource.kind}ListForAllNamespaces", "watchlist")
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        for path, (operation_id, action) in found.items():
            operation = self._operation("list", operation_id, parameters.LISTING)
            operation["description"] = f"watch {resource.kind}. deprecated: use the 'watch' parameter with a list operation instead."
            operation |= {"x-kubernetes-action": action, "responses": answers(reference(META + "WatchEvent"))}
            out[root + "/watch" + path.removeprefix(root)] = {"get": operation, "parameters": self._of_path(path)}


def _names(group: str, version: str, kind: str) -> Json:
    return {"x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version}}


# v3.


def v3(paths: Json) -> Json:
    """The same paths in OpenAPI v3."""
    return {path: {name: _item_v3(name, part) for name, part in item.items()} for path, item in paths.items()}


def _item_v3(name: str, part: Any) -> Any:
    return [_parameter_v3(p) for p in part] if name == "parameters" else _operation_v3(part)


def _parameter_v3(parameter: Json) -> Json:
    kept = {name: value for name, value in parameter.items() if name not in ("type", "uniqueItems")}
    return kept | {"schema": {"type": parameter["type"], "uniqueItems": True}}


def _operation_v3(operation: Json) -> Json:
    out = {name: value for name, value in operation.items() if name not in ("consumes", "produces", "schemes", "parameters")}
    bodies = [p for p in operation.get("parameters", []) if p["in"] == "body"]
    others = [_parameter_v3(p) for p in operation.get("parameters", []) if p["in"] != "body"]
    if others:
        out["parameters"] = others
    for body in bodies:
        out["requestBody"] = {"content": _content(operation["consumes"], body["schema"])}
        if body.get("required"):
            out["requestBody"]["required"] = True
    out["responses"] = {code: _answer_v3(answer, operation["produces"]) for code, answer in operation["responses"].items()}
    return out


def _answer_v3(answer: Json, produces: list[str]) -> Json:
    if "schema" not in answer:
        return answer
    return {"description": answer["description"], "content": _content(produces, answer["schema"])}


def _content(media: list[str], schema: Json) -> Json:
    if "$ref" in schema:
        schema = {"$ref": openapi.V3 + schema["$ref"].removeprefix(openapi.V2)}
    return {one: {"schema": schema} for one in media}
