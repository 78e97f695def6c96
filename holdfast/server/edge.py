"""The HTTP edge: the one module that knows aiohttp's server. Everything behind it takes and gives our own records.

A request: authenticate > impersonate > route > decode the body > ``Registry`` > render. Each refusal leaves as a
Status; what nobody foresaw leaves as a 500 that says so, with the traceback in the log only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson
import yaml
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from holdfast.client.api import APPLY_PATCH
from holdfast.lib.clock import Clock
from holdfast.lib.ids import new_uuid
from holdfast.machinery import errors, wire
from holdfast.machinery.decode import duplicate_fields, parse_json
from holdfast.machinery.errors import ApiError
from holdfast.registry.authorize import reviews
from holdfast.registry.registry import Registry
from holdfast.registry.request import Event, Listing, Request, Result, User
from holdfast.server import render, routes
from holdfast.server.answer import Answer, warning
from holdfast.server.authentication import OPEN_PATHS, Authenticator
from holdfast.server.impersonation import impersonated
from holdfast.server.pages import Pages
from holdfast.server.routes import STREAMS, Target
from holdfast.server.streams import Streams

log = logging.getLogger("holdfast.server")

BODY_LIMIT = 3 * 1024 * 1024
GZIP_FROM = 128 * 1024
MIN_WATCH_SECONDS = 1800
BODY_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
HEAD_LIMIT = 256 * 1024
"""Of a request line and of a header: exec carries its command in the URL, selectors may be long."""
KEEPALIVE_SECONDS = 75


class Connections(web.Server):
    """aiohttp's server, which also ends a stream whose client has gone: it may have nothing to write for hours.

    Other requests run to their end without their client: a write half way is never cancelled.
    """

    def __init__(self, edge: Edge) -> None:
        super().__init__(
            edge.handle,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
        )
        self._streams: dict[RequestHandler, asyncio.Task[Any]] = {}
        self.identities: dict[RequestHandler, User] = {}
        """Whom a connection's certificate names: said once, at its first request."""
        edge.connections = self

    @contextlib.contextmanager
    def streaming(self, request: web.BaseRequest) -> Iterator[None]:
        """Within it the current task is cancelled when the client of ``request`` goes."""
        task, protocol = asyncio.current_task(), request.protocol
        assert task is not None
        self._streams[protocol] = task
        try:
            yield
        finally:
            self._streams.pop(protocol, None)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.identities.pop(handler, None)
        task = self._streams.pop(handler, None)
        if task is not None:
            task.cancel()


class Edge:
    def __init__(self, registry: Registry, authenticator: Authenticator, streams: Streams, pages: Pages, clock: Clock) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._streams = streams
        self._pages = pages
        self._clock = clock
        self.connections: Connections
        """Set by the server that this edge answers for."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler of every request."""
        request[render.HEADERS] = common = {
            "Audit-ID": request.headers.get("Audit-ID") or new_uuid(),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache, private",
        }
        try:
            response: Answer | web.StreamResponse = await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            if not isinstance(error, ApiError):
                log.exception("%s %s", request.method, request.path)
            if request.writer.output_size:
                # Half an answer is out: cut it off, so that nobody takes it for a whole one.
                if request.transport:
                    request.transport.abort()
                raise ConnectionResetError("the answer broke off") from error
            hidden = errors.internal("an unexpected condition; the server's log has the details")
            response = _refusal(error if isinstance(error, ApiError) else hidden)
        if isinstance(response, Answer):
            response.headers += common.items()
        elif not response.prepared:
            for name, value in common.items():
                response.headers.setdefault(name, value)
        if "Upgrade" in request.headers and not response.prepared and response.status != 101:
            response.force_close()
        return cast("web.StreamResponse", response)

    async def _answer(self, request: web.BaseRequest) -> Answer | web.StreamResponse:
        path = request.path
        user = await self._who(request, path)
        if any(name[:12].lower() == b"impersonate-" for name, _ in request.raw_headers):
            user = impersonated(user, request.headers.items(), self._registry.authorize_resource)
        parts = routes.segments(request.raw_path.partition("?")[0]) if path.strip("/") else []
        if len(parts) >= 2 and parts[0] in ("api", "apis") and (parts[0] == "api" or len(parts) >= 3):
            resource = len(parts) > (2 if parts[0] == "api" else 3)
            if resource:
                return await self._resource(request, user, parts)
        if not path.startswith(OPEN_PATHS):
            await self._registry.authorize_path(user, request.method.lower(), path)
        return await self._pages.serve(request, parts)

    async def _who(self, request: web.BaseRequest, path: str) -> User:
        known = self.connections.identities.get(request.protocol)
        bearer = "Authorization" in request.headers
        if known is not None and not bearer:
            return known
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        user = await self._authenticator.authenticate(certificate, request.headers, path)
        if certificate and not bearer:
            self.connections.identities[request.protocol] = user
        return user

    async def _resource(self, request: web.BaseRequest, user: User, parts: list[str]) -> Answer | web.StreamResponse:
        query = parse_qsl(request.query_string, keep_blank_values=True)
        options = dict(query)
        if _asks_review(parts):
            if request.method != "POST":
                raise errors.method_not_allowed(request.method.lower(), parts[-1], parts[1])
            body = await self._body(request)
            namespace = parts[4] if len(parts) == 6 else ""
            return Answer(orjson.dumps(await self._registry.review(user, parts[-1], body or {}, namespace)), 201)
        target = routes.resolve(self._registry.kinds, request.method, parts, options)
        content_type = request.content_type if request.headers.get("Content-Type") else "application/json"

        def call(body: Any = None) -> Request:
            what = (target.verb, target.kind, target.namespace, target.name, target.subresource)
            return Request(user, *what, options, body, content_type, request.headers.get("User-Agent", ""))

        if target.kind.deprecation:
            request[render.HEADERS]["Warning"] = warning(target.kind.deprecation)
        if target.subresource in STREAMS:
            self._registry.authorize(call())
            if target.subresource != "log":
                return await self._streams.tunnel(request, target, query)
            with self.connections.streaming(request):
                return await self._streams.log(request, target, query)
        form = render.negotiate(request.headers.get("Accept", ""), options.get("includeObject", ""))
        if target.verb == "watch":
            with self.connections.streaming(request):
                return await self._watch(request, call(), form)
        body, warnings = await self._decoded(request, target, options)
        outcome = await self._registry.execute(call(body))
        if isinstance(outcome, Listing):
            data = render.many(target.kind, outcome, form, self._clock.now())
            if len(data) > GZIP_FROM and _takes_gzip(request):
                packed = await asyncio.to_thread(gzip.compress, data, 1)
                return Answer(packed, headers=[("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")])
            return Answer(data)
        return self._result(target, outcome, form, warnings)

    def _result(self, target: Target, result: Result, form: render.Form, warnings: list[str]) -> Answer:
        if result.stored is not None:
            data = render.one(target.kind, result.stored, form, self._clock.now())
        else:
            data = render.other(result.obj or {}, form, self._clock.now())
        return Answer(data, result.code, headers=[("Warning", warning(text)) for text in (*warnings, *result.warnings)])

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
        doubled = [f'duplicate field "{path}"' for path in duplicate_fields(raw, body)] if raw.startswith(b"{") else []
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
        raw = b""
        while chunk := await request.content.readany():
            raw += chunk
            if len(raw) > BODY_LIMIT:
                raise errors.too_large(BODY_LIMIT)
        return raw

    def _parse(self, request: web.BaseRequest, raw: bytes) -> Any:
        media = request.content_type if request.headers.get("Content-Type") else "application/json"
        if media in ("application/yaml", APPLY_PATCH):
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
        response = web.StreamResponse(headers={**request[render.HEADERS], "Content-Type": "application/json"})
        try:
            async with asyncio.timeout(seconds), _first(events) as pending:
                await response.prepare(request)
                event = await pending
                while event is not None:
                    await response.write(rendered(event))
                    event = await anext(events, None)
        except TimeoutError:
            pass
        except ApiError as error:
            if not response.prepared and error.code != 410:
                raise
            if not response.prepared:
                await response.prepare(request)
            await response.write(orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n")
        except ConnectionError:
            return response
        finally:
            await events.aclose()
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response


@contextlib.asynccontextmanager
async def _first(events: AsyncIterator[Event]) -> AsyncIterator[asyncio.Task[Event | None]]:
    """The step to the first event, begun. A refusal comes before it and is raised; the event itself may take for ever."""

    async def step() -> Event | None:
        return await anext(events, None)

    pending = asyncio.ensure_future(step())
    try:
        await asyncio.wait({pending}, timeout=0.01)
        if pending.done():
            pending.result()
        yield pending
    finally:
        pending.cancel()
        await asyncio.wait({pending})
        if not pending.cancelled():
            pending.exception()


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


def _asks_review(parts: list[str]) -> bool:
    """Whether a path is a review's: at the one version there is, the local one in a namespace."""
    plural = parts[-1]
    if plural not in reviews.KINDS or parts[:3] != ["apis", reviews.KINDS[plural][0], "v1"]:
        return False
    if plural.startswith("local"):
        return len(parts) == 6 and parts[3] == "namespaces"
    return len(parts) == 4


def _refusal(error: ApiError) -> Answer:
    retry = (error.details or {}).get("retryAfterSeconds")
    return Answer(orjson.dumps(error.status()), error.code, headers=[("Retry-After", str(retry))] if retry else [])


def _takes_gzip(request: web.BaseRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")
