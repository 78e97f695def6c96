"""Everything that is not a resource: health, version, discovery, OpenAPI, the token issuer's documents.

Small documents are written anew each time; the large ones are derived from the KindTable by ``documents`` and kept in
its library.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import cache, partial
from typing import Any

import orjson
from aiohttp import web

from holdfast import __version__
from holdfast.machinery import errors
from holdfast.registry.registry import Registry
from holdfast.server import health, render, routes
from holdfast.server.answer import GZIP_FROM, JSON, Answer, takes_gzip
from holdfast.server.documents import discovery, openapi, prose
from holdfast.server.documents.library import Document, Library
from holdfast.server.health import TEXT, Health
from holdfast.server.tokens import Tokens

LEVEL = ("1", "36")
GIT_VERSION = f"v{'.'.join(LEVEL)}.2+holdfast"
PAGES = ("", *health.NAMES, "version", "api", "apis", "openapi", "openid", ".well-known", "metrics")
KEYS = ("application/jwk-set+json",)
PUBLIC = "public, max-age=3600"
"""The token issuer's documents change when its key does: never while a server runs."""
YEAR_SECONDS = 365 * 24 * 3600


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
        if parts == ["openapi", "v3"]:
            return _kept(request, Document.of(orjson.dumps({"paths": await self._index()}), JSON))
        if parts == ["openapi", "v2"]:
            media = chosen(request, openapi.FORMS_V2)
            return _kept(request, await self.library.get(f"v2 {media}", media, partial(self._made, "", media)))
        part = "/".join(parts[2:])
        if parts[1:2] != ["v3"] or part not in openapi.parts(self._registry.kinds):
            raise routes.NoPageError
        document = await self._part(part, chosen(request, openapi.FORMS_V3))
        if "hash" in request.query:
            url = await self._url(part)
            if not url.endswith(f"?hash={request.query['hash']}"):
                return Answer(status=301, media=TEXT, headers=[("Location", url)])
            # What is named by its content stays as it is.
            lasting = formatdate(self._registry.clock.now() + YEAR_SECONDS, usegmt=True)
            request[render.HEADERS] |= {"Cache-Control": "public, immutable", "Expires": lasting}
        return _kept(request, document)

    async def _index(self) -> dict[str, Any]:
        told = cache(prose.definitions)  # read once for all that are not made yet, and forgotten
        return {part: {"serverRelativeURL": await self._url(part, told)} for part in openapi.parts(self._registry.kinds)}

    async def _url(self, part: str, told: openapi.Tell | None = None) -> str:
        return f"/openapi/v3/{part}?hash={(await self._part(part, JSON, told)).tag}"

    async def _part(self, part: str, media: str, told: openapi.Tell | None = None) -> Document:
        return await self.library.get(f"v3/{part} {media}", media, partial(self._made, part, media, told))

    def _made(self, part: str, media: str, told: openapi.Tell | None = None) -> bytes:
        """An OpenAPI document; of v2 when it is no part."""
        kinds = self._registry.kinds
        document = openapi.v3(kinds, part, GIT_VERSION, told) if part else openapi.v2(kinds, GIT_VERSION, told)
        return openapi.encoded(document, media)


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
    headers = [("ETag", tag)]
    if document.size > GZIP_FROM and takes_gzip(request.headers.get("Accept-Encoding", "")):
        varies = ("Vary", request[render.HEADERS].pop("Vary", "Accept"))
        headers += [("Content-Encoding", "gzip"), varies, ("Vary", "Accept-Encoding")]
        return Answer(document.packed, media=document.media, headers=headers)
    return Answer(document.data(), media=document.media, headers=headers)
