"""Paths to requests: which kind, namespace, name and subresource a URL names, and which verb a method means.

One rule set for all kinds; the KindTable says what is served. Segments are checked before anything
else: no empty ones, no ``.`` or ``..``, nothing that hides a separator (API-78).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from holdfast.kinds.kind import Kind
from holdfast.kinds.table import KindTable
from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry.authorize import Attributes
from holdfast.registry.options import flag

STREAMS = ("exec", "attach", "portforward", "log")


@dataclass(frozen=True)
class Target:
    kind: Kind
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class Proxied:
    """What is to be proxied to, and the rest of the path, as it was sent: "" or begins with a slash."""

    target: Target
    path: str
    prefix: str
    """The path up to there."""


def not_there() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


class NoPageError(Exception):
    """Nothing of the API lies at this path: the answer is a plain 404 page."""


def segments(raw_path: str) -> list[str]:
    """Decoded path segments. Raises ApiError for one that could name another object than it shows (SEC-27)."""
    found = raw_path.strip("/").split("/")
    if "%" in raw_path:
        found = [unquote(part) for part in found]
    for part in found:
        if part in (".", ".."):
            raise errors.bad_request(f"Name parameter invalid: \"{part}\": may not be '{part}'")
        if not part or "/" in part:
            raise not_there()
        if "%" in part or "\x00" in part:
            raise errors.bad_request(f"Name parameter invalid: {json.dumps(part)}: may not contain '%'")
    return found


def resolve(kinds: KindTable, method: str, parts: list[str], options: Mapping[str, str]) -> Target:
    """The target of ``/api/v1/...`` or ``/apis/GROUP/VERSION/...``. Raises ApiError 404 or 405."""
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        if len(parts) < 4:
            raise not_there()
        group, version, rest = parts[1], parts[2], parts[3:]
        if group not in kinds.groups:
            raise NoPageError
    watching = bool(rest) and rest[0] == "watch"
    if watching:  # the legacy form /api/v1/watch/...
        rest = rest[1:]
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and kinds.lookup(group, version, rest[2]) is not None:
        namespace, rest = rest[1], rest[2:]
    if not rest:
        raise not_there()
    kind = kinds.lookup(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace and not kind.resource.namespaced):
        raise not_there()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if name and kind.resource.namespaced and not namespace:
        raise not_there()
    if subresource and subresource not in kind.subresources:
        raise not_there()
    if watching or (not name and method == "GET" and flag(options, "watch")):
        return Target(kind, "watch", namespace, name)
    return Target(kind, _verb(kind, method, name, subresource), namespace, name, subresource)


_PROXY_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PROXY_AT = {"nodes": 5, "namespaces": 7}
"""Where ``proxy`` stands: /api/v1/nodes/NAME/proxy, /api/v1/namespaces/NAMESPACE/{pods,services}/NAME/proxy."""


def proxied(kinds: KindTable, method: str, raw_path: str) -> Proxied | None:
    """The target of a proxy path; None for any other. What follows ``proxy`` is not ours to read, but climbs nowhere."""
    parts = raw_path.split("/")
    at = _PROXY_AT.get(parts[3], 0) if len(parts) > 5 and parts[:3] == ["", "api", "v1"] else 0
    if not at or parts[at : at + 1] != ["proxy"]:
        return None
    kind = kinds.lookup("", "v1", parts[at - 2])
    if kind is None or "proxy" not in kind.subresources:
        return None
    prefix = "/".join(parts[: at + 1])
    if any(unquote(part) in (".", "..") for part in parts[at:]):
        raise errors.bad_request("the path to be proxied to must not contain '.' or '..'")
    target = resolve(kinds, "GET", segments(prefix), {})
    return Proxied(replace(target, verb=_PROXY_VERBS.get(method, "get")), raw_path[len(prefix) :], prefix)


def asked(method: str, parts: list[str], options: Mapping[str, str]) -> Attributes:
    """What a path asks for, read without knowing what is served: who may not ask does not learn whether it is there."""
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = [*rest, "", "", ""][:3]
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete" if name else "deletecollection"}
    reading = "get" if name else "watch" if flag(options, "watch") else "list"
    return Attributes(verbs.get(method, reading), group, resource, subresource, namespace, name)


def _verb(kind: Kind, method: str, name: str, subresource: str) -> str:
    if subresource in STREAMS:
        return "get" if subresource == "log" else "create"
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if not name:
        verbs = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
    verb = verbs.get(method)
    if verb is None or (name and not subresource and verb == "create"):
        raise not_allowed()
    allowed = kind.subresources[subresource].verbs if subresource else kind.verbs
    if verb not in allowed:
        raise not_allowed()
    return verb


def not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
