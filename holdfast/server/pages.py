"""Everything that is not a resource: health, version, discovery, OpenAPI, the token issuer's documents.

Documents are derived from the KindTable and kept until its generation changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from holdfast import __version__
from holdfast.machinery import protobuf
from holdfast.registry.registry import Registry
from holdfast.server import routes
from holdfast.server.documents import discovery, openapi
from holdfast.server.tokens import Tokens

GIT_VERSION = "v1.36.2+holdfast"
HEALTH = ("healthz", "livez", "readyz")
PAGES = ("", *HEALTH, "version", "api", "apis", "openapi", "openid", ".well-known", "metrics")


class Pages:
    def __init__(self, registry: Registry, tokens: Tokens, address: str) -> None:
        self._registry = registry
        self._tokens = tokens
        self.address = address
        self._kept: dict[str, tuple[int, bytes]] = {}
        self.ready = False
        self.gauges: dict[str, Callable[[], Mapping[str, float]]] = {}
        """Further numbers for /metrics, by the part they tell of."""

    async def serve(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        """Raises ApiError 404 for a path that nothing lies at."""
        first = parts[0] if parts else ""
        if request.method not in ("GET", "HEAD"):
            raise routes.not_allowed() if first in PAGES else routes.not_there()
        if first in HEALTH and len(parts) == 1:
            return self._health(first, verbose="verbose" in request.query)
        if parts == ["version"]:
            return _json(self._version())
        if first in ("api", "apis"):
            return self._discovery(request, parts)
        if first == "openapi":
            return await self._openapi(request, parts)
        if parts == ["openid", "v1", "jwks"]:
            return _json(self._tokens.jwks())
        if parts == [".well-known", "openid-configuration"]:
            return _json(self._tokens.discovery(self.address))
        if parts == ["metrics"]:
            return self._metrics()
        if not parts:
            return _json(
                {"paths": ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}
            )
        raise routes.not_there()

    def _health(self, name: str, *, verbose: bool) -> web.Response:
        checks = {"ping": True, **({"started": self.ready} if name == "readyz" else {})}
        well = all(checks.values())
        if well and not verbose:
            return web.Response(text="ok")
        lines = [f"[+]{check} ok" if passed else f"[-]{check} failed: the server is starting" for check, passed in checks.items()]
        lines.append(f"{name} check {'passed' if well else 'failed'}")
        return web.Response(status=200 if well else 500, text="\n".join(lines) + "\n")

    def _version(self) -> dict[str, str]:
        return {
            "major": "1",
            "minor": "36",
            "gitVersion": GIT_VERSION,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
            "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
            "compiler": f"holdfast {__version__}",
            "platform": "linux/amd64",
        }

    def _metrics(self) -> web.Response:
        found = self._registry.statistics() | {part: ask() for part, ask in self.gauges.items()}
        lines = [f"holdfast_{part}_{name} {value}" for part, values in found.items() for name, value in values.items()]
        return web.Response(text="\n".join(lines) + "\n")

    def _discovery(self, request: web.BaseRequest, parts: list[str]) -> web.Response:
        kinds = self._registry.kinds
        if len(parts) == 1:
            core = parts[0] == "api"
            for version in ("v2", "v2beta1"):
                wanted = f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                accept = request.headers.get("Accept", "").replace(" ", "")
                if wanted in accept:
                    media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                    return self._document(request, discovery.aggregated(kinds, version, core=core), media)
            document = discovery.core_versions(self.address.partition("://")[2]) if core else discovery.group_list(kinds)
            return _json(document)
        found = discovery.resource_list(kinds, "", parts[1]) if parts[0] == "api" and len(parts) == 2 else None
        if parts[0] == "apis":
            found = discovery.group(kinds, parts[1]) if len(parts) == 2 else discovery.resource_list(kinds, parts[1], parts[2])
        if found is None:
            raise routes.not_there()
        return _json(found)

    def _document(self, request: web.BaseRequest, document: dict[str, Any], media: str) -> web.Response:
        return self._tagged(request, orjson.dumps(document), media)

    def _tagged(self, request: web.BaseRequest, data: bytes, media: str) -> web.Response:
        tag = f'"{hashlib.sha256(data).hexdigest()[:32].upper()}"'
        headers = {"ETag": tag, "Vary": "Accept", "Content-Type": media}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=data, headers=headers)

    async def _openapi(self, request: web.BaseRequest, parts: list[str]) -> web.Response:
        kinds = self._registry.kinds
        if parts == ["openapi", "v2"]:
            if "proto-openapi" in request.headers.get("Accept", ""):
                data = await self._keep("v2pb", lambda: protobuf.encode_openapi_v2(openapi.v2(kinds, GIT_VERSION)))
                return self._tagged(request, data, protobuf.MEDIA_TYPE)
            return self._tagged(
                request, await self._keep("v2", lambda: orjson.dumps(openapi.v2(kinds, GIT_VERSION))), "application/json"
            )
        if parts == ["openapi", "v3"]:
            return _json(self._index())
        if len(parts) >= 4 and parts[1] == "v3" and parts[2] in ("api", "apis"):
            group, version = ("", parts[3]) if parts[2] == "api" else (parts[3], parts[4] if len(parts) > 4 else "")
            data = await self._keep("/".join(parts), lambda: orjson.dumps(openapi.v3(kinds, group, version, GIT_VERSION)))
            if data != b"null":
                return self._tagged(request, data, "application/json")
        raise routes.not_there()

    def _index(self) -> dict[str, Any]:
        out = {}
        for group, versions in discovery.groups(self._registry.kinds).items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                if group in discovery.REVIEWS:
                    continue
                mark = hashlib.sha256(f"{path}{__version__}{self._registry.kinds.generation}".encode()).hexdigest().upper()
                out[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={mark}"}
        return {"paths": out}

    async def _keep(self, name: str, make: Callable[[], bytes]) -> bytes:
        generation = self._registry.kinds.generation
        kept = self._kept.get(name)
        if kept is None or kept[0] != generation:
            kept = self._kept[name] = (generation, await asyncio.to_thread(make))
        return kept[1]


def _json(document: Any) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
