"""The HTTP edge: the one module that knows aiohttp's server. Everything behind it takes and gives our own records.

A request: authenticate > route > decode the body > ``Registry`` > render. Each refusal leaves as a
Status; what nobody foresaw leaves as a 500 that says so, with the traceback in the log only.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import uuid
from typing import Any
from urllib.parse import parse_qsl

import orjson
import yaml
from aiohttp import web

from holdfast.lib.clock import Clock
from holdfast.machinery import errors, wire
from holdfast.machinery.decode import duplicate_fields, parse_json
from holdfast.machinery.errors import ApiError
from holdfast.registry.authorize import reviews
from holdfast.registry.registry import Registry
from holdfast.registry.request import Listing, Request, Result, User
from holdfast.server import render, routes
from holdfast.server.authentication import OPEN_PATHS, Authenticator
from holdfast.server.pages import Pages
from holdfast.server.routes import STREAMS, Target
from holdfast.server.streams import Streams

log = logging.getLogger("holdfast.server")

BODY_LIMIT = 3 * 1024 * 1024
GZIP_FROM = 128 * 1024
MIN_WATCH_SECONDS = 1800
BODY_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


class Edge:
    def __init__(self, registry: Registry, authenticator: Authenticator, streams: Streams, pages: Pages, clock: Clock) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._streams = streams
        self._pages = pages
        self._clock = clock

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler of every request."""
        audit = request.headers.get("Audit-ID") or str(uuid.uuid4())
        try:
            response = await self._answer(request)
        except ApiError as error:
            response = _refusal(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("%s %s", request.method, request.path)
            response = _refusal(errors.internal("an unexpected condition; the server's log has the details"))
        if not response.prepared:
            response.headers["Audit-ID"] = audit
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers.setdefault("Cache-Control", "no-cache, private")
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        user = await self._authenticator.authenticate(certificate, request.headers, path)
        parts = routes.segments(request.raw_path.partition("?")[0]) if path.strip("/") else []
        if len(parts) >= 2 and parts[0] in ("api", "apis") and (parts[0] == "api" or len(parts) >= 3):
            resource = len(parts) > (2 if parts[0] == "api" else 3)
            if resource:
                return await self._resource(request, user, parts)
        if not path.startswith(OPEN_PATHS):
            await self._registry.authorize_path(user, request.method.lower(), path)
        return await self._pages.serve(request, parts)

    async def _resource(self, request: web.BaseRequest, user: User, parts: list[str]) -> web.StreamResponse:
        query = parse_qsl(request.query_string, keep_blank_values=True)
        options = dict(query)
        if parts[-1] in reviews.KINDS and parts[1] == reviews.KINDS[parts[-1]][0]:
            if request.method != "POST":
                raise errors.method_not_allowed(request.method.lower(), parts[-1], parts[1])
            body = await self._body(request)
            namespace = parts[4] if len(parts) == 6 else ""
            return _json(orjson.dumps(await self._registry.review(user, parts[-1], body or {}, namespace)), 201)
        target = routes.resolve(self._registry.kinds, request.method, parts, options)
        content_type = request.content_type if request.headers.get("Content-Type") else "application/json"
        call = Request(
            user,
            target.verb,
            target.kind,
            target.namespace,
            target.name,
            target.subresource,
            options,
            None,
            content_type,
            request.headers.get("User-Agent", ""),
        )
        if target.subresource in STREAMS:
            self._registry.authorize(call)
            return await self._streams.serve(request, target, query)
        form = render.negotiate(request.headers.get("Accept", ""), options.get("includeObject", ""))
        if target.verb == "watch":
            return await self._watch(request, call, form)
        body, warnings = await self._decoded(request, target, options)
        outcome = await self._registry.execute(_with_body(call, body))
        if isinstance(outcome, Listing):
            return _json(render.many(target.kind, outcome, form, self._clock.now()), 200, gzipped=_takes_gzip(request))
        return self._result(target, outcome, form, warnings)

    def _result(self, target: Target, result: Result, form: render.Form, warnings: list[str]) -> web.Response:
        if result.stored is not None:
            data = render.one(target.kind, result.stored, form, self._clock.now())
        else:
            data = orjson.dumps(result.obj)
        response = _json(data, result.code)
        for text in (*warnings, *result.warnings):
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{quoted}"')
        return response

    async def _decoded(self, request: web.BaseRequest, target: Target, options: dict[str, str]) -> tuple[Any, list[str]]:
        """The body and the warnings that its text alone gives rise to (duplicate fields)."""
        if request.method not in ("POST", "PUT", "PATCH", "DELETE"):
            return None, []
        raw = await self._read(request)
        if not raw:
            return None, []
        body = self._parse(request, raw)
        how = options.get("fieldValidation") or "Warn"
        if how == "Ignore" or target.verb not in ("create", "update"):
            return body, []
        doubled = [f'duplicate field "{path}"' for path in duplicate_fields(raw)] if raw.startswith(b"{") else []
        if doubled and how == "Strict":
            resource = target.kind.resource
            where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise errors.bad_request(f"{where}: strict decoding error: {', '.join(doubled)}")
        return body, doubled

    async def _body(self, request: web.BaseRequest) -> Any:
        raw = await self._read(request)
        return self._parse(request, raw) if raw else None

    async def _read(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > BODY_LIMIT:
            raise errors.too_large(BODY_LIMIT)
        raw = bytearray()
        async for chunk in request.content.iter_any():
            raw += chunk
            if len(raw) > BODY_LIMIT:
                raise errors.too_large(BODY_LIMIT)
        return bytes(raw)

    def _parse(self, request: web.BaseRequest, raw: bytes) -> Any:
        media = request.content_type if request.headers.get("Content-Type") else "application/json"
        if media == "application/yaml":
            return _yaml(raw)
        if media == wire.MEDIA_TYPE:
            return wire.decode_body(raw)
        if not (media == "application/json" or media.endswith("+json")):
            raise errors.unsupported_media_type(BODY_TYPES)
        return parse_json(raw)

    async def _watch(self, request: web.BaseRequest, call: Request, form: render.Form) -> web.StreamResponse:
        """Newline-separated events until the client goes, the time is over, or the watcher is cut."""
        asked = call.options.get("timeoutSeconds", "")
        seconds = float(asked) if asked.isdigit() and asked != "0" else MIN_WATCH_SECONDS * random.uniform(1, 2)
        events = self._registry.watch(call)
        rendered = render.events(call.kind, form, self._clock.now)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
        try:
            async with asyncio.timeout(seconds):
                # A refusal comes before the first event, but the first event may take for ever: answer on the first of the two.
                pending = asyncio.ensure_future(anext(events, None))
                try:
                    await asyncio.wait({pending}, timeout=0.01)
                    if pending.done() and (refused := pending.exception()):
                        raise refused
                    await response.prepare(request)
                    event = await pending
                    while event is not None:
                        await response.write(rendered(event))
                        event = await anext(events, None)
                finally:
                    pending.cancel()
        except TimeoutError:
            if not response.prepared:
                await response.prepare(request)
        except ApiError as error:
            if not response.prepared and error.code != 410:
                raise
            if not response.prepared:
                await response.prepare(request)
            await response.write(orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n")
        except ConnectionError:
            return response
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        await response.write_eof()
        return response


def _with_body(call: Request, body: Any) -> Request:
    from dataclasses import replace

    return replace(call, body=body)


class _Loader(yaml.CSafeLoader):
    """No timestamps: a date stays a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(raw: bytes) -> Any:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(raw, Loader=yaml.CSafeLoader)):
            raise errors.bad_request("YAML aliases are not accepted")
        return parse_json(orjson.dumps(yaml.load(raw, Loader=_Loader)))
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        raise errors.bad_request(f"the body is not valid YAML: {error}") from None


def _refusal(error: ApiError) -> web.Response:
    response = _json(orjson.dumps(error.status()), error.code)
    retry = (error.details or {}).get("retryAfterSeconds")
    if retry:
        response.headers["Retry-After"] = str(retry)
    return response


def _takes_gzip(request: web.BaseRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


def _json(data: bytes, code: int, *, gzipped: bool = False) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if gzipped and len(data) > GZIP_FROM:
        data = gzip.compress(data, 1)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(body=data, status=code, headers=headers)
