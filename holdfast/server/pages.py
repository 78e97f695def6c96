"""Everything that is not a resource: health, version, discovery, OpenAPI, the token issuer's documents.

Small documents are written anew each time; the large ones are derived from the KindTable by ``documents`` and kept in
its library.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from holdfast import __version__
from holdfast.machinery import errors, protobuf
from holdfast.registry.registry import Registry
from holdfast.server import health, render, routes
from holdfast.server.answer import JSON, Answer
from holdfast.server.documents import discovery, openapi
from holdfast.server.documents.library import Document, Library
from holdfast.server.health import TEXT, Health
from holdfast.server.tokens import Tokens

LEVEL = ("1", "36")
GIT_VERSION = f"v{'.'.join(LEVEL)}.2+holdfast"
PAGES = ("", *health.NAMES, "version", "api", "apis", "openapi", "openid", ".well-known", "metrics")
PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
FORMS_V2 = {JSON: JSON, PROTOBUF_V2: protobuf.MEDIA_TYPE, protobuf.MEDIA_TYPE: protobuf.MEDIA_TYPE}
KEYS = ("application/jwk-set+json",)
PUBLIC = "public, max-age=3600"
"""The token issuer's documents change when its key does: never while a server runs."""


class Pages:
    def __init__(self, registry: Registry, tokens: Tokens, address: str) -> None:
        self._registry = registry
        self._tokens = tokens
        self.address = address
        self.health = Health()
        self.library = Library(lambda: registry.kinds.generation)
        self.gauges: dict[str, Callable[[], Mapping[str, float]]] = {"documents": self.library.statistics}
        """Further numbers for /metrics, by the part they tell of."""

    async def serve(self, request: web.BaseRequest, parts: list[str]) -> Answer:
        """Raises NoPageError for a path that nothing lies at."""
        first = parts[0] if parts else ""
        if request.method not in ("GET", "HEAD"):
            raise routes.not_allowed() if first in PAGES else routes.NoPageError()
        if first in health.NAMES:
            return await self._health(request, parts)
        if parts == ["version"]:
            return _plain(request, _version())
        if first in ("api", "apis"):
            return await self._discovery(request, parts)
        if first == "openapi":
            return await self._openapi(request, parts)
        if parts == ["openid", "v1", "jwks"]:
            media = chosen(request, dict.fromkeys(KEYS, KEYS[0]))
            request[render.HEADERS]["Cache-Control"] = PUBLIC
            return Answer(orjson.dumps(self._tokens.jwks()), media=media)
        if parts == [".well-known", "openid-configuration"]:
            request[render.HEADERS]["Cache-Control"] = PUBLIC
            return Answer(orjson.dumps(self._tokens.discovery(self.address)))
        if parts == ["metrics"]:
            return self._metrics()
        if not parts:
            return _plain(request, {"paths": self._paths()})
        raise routes.NoPageError

    def _paths(self) -> list[str]:
        """Everything that can be asked for and is no resource."""
        found = ["/.well-known/openid-configuration", "/api", "/apis", "/apis/", "/metrics", "/openapi/v2", "/openapi/v3"]
        found += ["/openapi/v3/", "/openid/v1/jwks", "/version"]
        for page in health.NAMES:
            found += [f"/{page}", *(f"/{page}/{check}" for check in self.health.named(page))]
        for group, versions in discovery.groups(self._registry.kinds).items():
            found += [f"/apis/{group}/{version}" if group else f"/api/{version}" for version in versions]
            found += [f"/apis/{group}"] if group else []
        return sorted(found)

    async def _health(self, request: web.BaseRequest, parts: list[str]) -> Answer:
        page, check = parts[0], "/".join(parts[1:])
        if check:
            if check not in self.health.named(page):
                raise routes.NoPageError
            return await self.health.one(check)
        return await self.health.all(page, verbose="verbose" in request.query, excluded=request.query.getall("exclude", []))

    def _metrics(self) -> Answer:
        found = self._registry.statistics() | {part: ask() for part, ask in self.gauges.items()}
        lines = [f"holdfast_{part}_{name} {value}" for part, values in found.items() for name, value in values.items()]
        return Answer(("\n".join(lines) + "\n").encode(), media=TEXT)

    async def _discovery(self, request: web.BaseRequest, parts: list[str]) -> Answer:
        kinds = self._registry.kinds
        core = parts[0] == "api"
        if len(parts) == 1:
            if asked := _asks_aggregated(request):
                media = f"{JSON};g=apidiscovery.k8s.io;v={asked};as=APIGroupDiscoveryList"
                made = await self.library.get(
                    f"{asked} {parts[0]}", media, lambda: orjson.dumps(discovery.aggregated(kinds, asked, core=core))
                )
                request[render.HEADERS] |= {"Cache-Control": "public", "Vary": "Accept"}
                return _kept(request, made)
            host = self.address.partition("://")[2]
            return _plain(request, discovery.core_versions(host) if core else discovery.group_list(kinds))
        found = discovery.resource_list(kinds, "", parts[1]) if core and len(parts) == 2 else None
        if not core:
            if parts[1] not in discovery.groups(kinds):
                raise routes.NoPageError
            found = discovery.group(kinds, parts[1]) if len(parts) == 2 else discovery.resource_list(kinds, parts[1], parts[2])
        if found is None:
            raise routes.not_there()
        return _plain(request, found)

    async def _openapi(self, request: web.BaseRequest, parts: list[str]) -> Answer:
        kinds = self._registry.kinds
        if parts == ["openapi", "v2"]:
            media = chosen(request, FORMS_V2)
            encode = orjson.dumps if media == JSON else protobuf.encode_openapi_v2
            return _kept(request, await self.library.get(f"v2 {media}", media, lambda: encode(openapi.v2(kinds, GIT_VERSION))))
        if parts == ["openapi", "v3"]:
            return _plain(request, self._index())
        if len(parts) >= 4 and parts[1] == "v3" and parts[2] in ("api", "apis"):
            group, version = ("", parts[3]) if parts[2] == "api" else (parts[3], parts[4] if len(parts) > 4 else "")
            made = await self.library.get("/".join(parts), JSON, lambda: orjson.dumps(openapi.v3(kinds, group, version, GIT_VERSION)))
            if made.data() != b"null":
                request[render.HEADERS]["Vary"] = "Accept"
                return _kept(request, made)
        raise routes.NoPageError

    def _index(self) -> dict[str, Any]:
        out = {}
        for group, versions in discovery.groups(self._registry.kinds).items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                if group not in self._registry.kinds.groups:
                    continue
                mark = hashlib.sha256(f"{path}{__version__}{self._registry.kinds.generation}".encode()).hexdigest().upper()
                out[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={mark}"}
        return {"paths": out}


def _version() -> dict[str, str]:
    major, minor = LEVEL
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "compiler": f"holdfast {__version__}",
        "platform": "linux/amd64",
    }


def _plain(request: web.BaseRequest, document: Any) -> Answer:
    """A small document as JSON or YAML, indented for who reads it himself. Raises ApiError 406."""
    headers, query = request.headers, request.query
    form = render.negotiate(headers.get("Accept", ""), "", headers.get("User-Agent", ""), query.get("pretty", ""))
    return Answer(render.finished(orjson.dumps(document), form), media=form.media)


def _asks_aggregated(request: web.BaseRequest) -> str:
    """The version of aggregated discovery that the Accept header names first; "" for the legacy documents."""
    for choice in request.headers.get("Accept", "").split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        options = dict(p.split("=", 1) for p in parameters if "=" in p)
        if media in (JSON, "*/*") and "as" not in options:
            return ""
        wanted = media == JSON and options.get("g") == "apidiscovery.k8s.io" and options.get("as") == "APIGroupDiscoveryList"
        if wanted and options.get("v") in ("v2", "v2beta1"):
            return options["v"]
    return ""


def chosen(request: web.BaseRequest, offers: Mapping[str, str]) -> str:
    """What an Accept header gets of ``offers`` (name asked for > media type), the first of them for ``*``. Raises ApiError 406."""
    request[render.HEADERS]["Vary"] = "Accept"
    for choice in (request.headers.get("Accept") or "*/*").split(","):
        media = choice.partition(";")[0].strip().lower()
        if media in ("*/*", "application/*"):
            return next(iter(offers.values()))
        if media in offers:
            return offers[media]
    raise errors.not_acceptable(list(dict.fromkeys(offers.values())))


def _kept(request: web.BaseRequest, document: Document) -> Answer:
    """The document, or 304 when the client has it already."""
    tag = f'"{document.tag}"'
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if tag in known or "*" in known:
        return Answer(status=304, headers=[("ETag", tag)])
    return Answer(document.data(), media=document.media, headers=[("ETag", tag)])
