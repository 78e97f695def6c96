"""The HTTP edge: the one module that knows aiohttp's server. Everything behind it takes and gives our own records.

A request: authenticate > impersonate > route > decode the body > ``Registry`` > render. Each refusal leaves as a
Status; what nobody foresaw leaves as a 500 that says so, with the traceback in the log only.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import chain
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from holdfast.lib.clock import Clock
from holdfast.lib.ids import new_uuid
from holdfast.machinery import errors, meta
from holdfast.machinery.errors import ApiError
from holdfast.registry.registry import Registry
from holdfast.registry.request import Event, Listing, Request, Result, User
from holdfast.server import bodies, render, routes
from holdfast.server.answer import GZIP_FROM, Answer, LongAnswer, takes_gzip, warning
from holdfast.server.authentication import Authenticator, is_open
from holdfast.server.connections import Connections
from holdfast.server.deadlines import Deadlines, duration, out_of_time, within
from holdfast.server.gate import Gate, Limits
from holdfast.server.impersonation import impersonated
from holdfast.server.nodes import Nodes
from holdfast.server.pages import Pages
from holdfast.server.proxy import Proxy
from holdfast.server.routes import STREAMS, Proxied, Target
from holdfast.server.standing import rests_on, while_standing
from holdfast.server.streams import Streams

log = logging.getLogger("holdfast.server")
_T = TypeVar("_T")

CALLER = web.RequestKey("caller", User)
"""Who sent a request, before impersonation."""

AUDIT_ID_LIMIT = 64
LONGEST_WATCH_SECONDS = 3600
GRACE_SECONDS = 5


class Edge:
    def __init__(
        self, registry: Registry, authenticator: Authenticator, nodes: Nodes, pages: Pages, clock: Clock, limits: Limits
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._streams, self._proxy = Streams(registry, nodes), Proxy(registry, nodes)
        self._pages = pages
        self._clock = clock
        self._gate = Gate(limits)
        pages.gauges["gate"] = self._gate.statistics
        self._running: Deadlines[asyncio.Task[Any]] = Deadlines(limits.request_seconds, _cancel)
        self.connections = Connections(self.handle, limits)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp's handler of every request."""
        self.connections.spoke(request)
        request[render.HEADERS] = common = {
            "Audit-ID": _printable(request.headers.get("Audit-ID", ""))[:AUDIT_ID_LIMIT] or new_uuid(),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache, private",
        }
        try:
            response: Answer | web.StreamResponse = await self._answer(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except routes.NoPageError:
            response = Answer(b"404 page not found\n", 404, "text/plain; charset=utf-8")
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
        if request.method == "GET" and isinstance(response, Answer | web.Response):
            await _compress(request, response)
        return cast("web.StreamResponse", response)

    async def _answer(self, request: web.BaseRequest) -> Answer | web.StreamResponse:
        path = request.path
        user = request[CALLER] = await self._who(request, path)
        if any(name[:12].lower() == b"impersonate-" for name, _ in request.raw_headers):
            user = impersonated(user, request.headers.items(), self._registry.authorize_resource)
        request[render.HEADERS].update(self._gate.level(user).headers)
        if "/proxy" in request.raw_path:
            proxied = routes.proxied(self._registry.kinds, request.method, request.raw_path.partition("?")[0])
            if proxied is not None:
                return await self._proxied(request, user, proxied)
        parts = routes.segments(request.raw_path.partition("?")[0]) if path.strip("/") else []
        if len(parts) >= 2 and parts[0] in ("api", "apis") and (parts[0] == "api" or len(parts) >= 3):
            resource = len(parts) > (2 if parts[0] == "api" else 3)
            if resource:
                return await self._resource(request, user, parts)
        if is_open(path):
            return await self._pages.serve(request, parts)
        await self._registry.authorize_path(user, request.method.lower(), path)
        return await self._fairly(request, user, {}, self._pages.serve(request, parts))

    async def _fairly(self, request: web.BaseRequest, user: User, options: dict[str, str], work: Coroutine[Any, Any, _T]) -> _T:
        """Does ``work`` when there is a seat for it, within the time that a request has. Raises ApiError 429 or 504."""
        lane = self._gate.lane(user, request.method)
        task = request.task
        self._running.begin(task)
        try:
            if lane is not None and not lane.take(user.name):
                await lane.turn(user.name)
            try:
                if "timeout" in options and (seconds := duration(options["timeout"])):
                    return await within(seconds, work)
                return await work
            finally:
                if lane is not None:
                    lane.leave(user.name)
        except asyncio.CancelledError:
            if self._running.end(task):
                raise
            task.uncancel()
            raise out_of_time() from None
        finally:
            self._running.end(task)
            work.close()

    async def _who(self, request: web.BaseRequest, path: str) -> User:
        known = self.connections.identities.get(request.protocol)
        bearer = "Authorization" in request.headers
        if known is not None and not bearer:
            if self._clock.now() >= known.until:
                raise errors.unauthorized()
            return known
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        secured = transport.get_extra_info("ssl_object") if transport and certificate else None
        fingerprint = hashlib.sha256(secured.getpeercert(True)).hexdigest() if secured else ""
        user = await self._authenticator.authenticate(certificate, fingerprint, request.headers, path)
        if certificate and not bearer:
            self.connections.identities[request.protocol] = user
        return user

    async def _resource(self, request: web.BaseRequest, user: User, parts: list[str]) -> Answer | web.StreamResponse:
        query = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
        options = dict(query)
        try:
            target = routes.resolve(self._registry.kinds, request.method, parts, options)
        except (routes.NoPageError, ApiError):
            self._registry.authorize_resource(user, routes.asked(request.method, parts, options))
            raise
        content_type = bodies.media_type(request)

        def call(body: Any = None, doubled: Sequence[str] = ()) -> Request:
            what = (target.verb, target.kind, target.namespace, target.name, target.subresource)
            agent = _printable(request.headers.get("User-Agent", ""))
            return Request(user, *what, options, body, content_type, agent, tuple(doubled))

        if target.kind.deprecation:
            request[render.HEADERS]["Warning"] = warning(target.kind.deprecation)
        if target.subresource in STREAMS:
            self._registry.authorize(call())
            with self._gate.streaming(user):
                async with self._while_standing(request, target):
                    if target.subresource != "log":
                        return await self._streams.tunnel(request, target, query)
                    with self.connections.streaming(request):
                        return await self._streams.log(request, target, query)
        accept, agent = request.headers.get("Accept", ""), request.headers.get("User-Agent", "")
        form = render.negotiate(accept, options.get("includeObject", ""), agent, options.get("pretty", ""))
        if target.verb == "watch":
            with self._gate.streaming(user), self.connections.streaming(request):
                async with self._while_standing(request):
                    return await self._watch(request, call(), form)

        async def carried_out() -> Answer:
            body, doubled = await self._decoded(request, target, options)
            return self._result(target, await self._registry.execute(call(body, doubled)), form)

        return await self._fairly(request, user, options, carried_out())

    async def _proxied(self, request: web.BaseRequest, user: User, asked: Proxied) -> web.StreamResponse:
        target = asked.target
        verbs = {target.verb}
        if target.kind.resource.plural == "nodes" and "Upgrade" in request.headers:
            verbs.add("create")  # such a stream runs commands, whatever its method is called
        for verb in sorted(verbs):
            self._registry.authorize(Request(user, verb, target.kind, target.namespace, target.name, "proxy"))
        with self._gate.streaming(user), self.connections.streaming(request):
            async with self._while_standing(request):
                return await self._proxy.serve(request, asked)

    def _while_standing(self, request: web.BaseRequest, target: Target | None = None) -> AbstractAsyncContextManager[None]:
        """While the caller's token, and the pod a stream leads to, are what they were; then the connection is closed."""
        objects, cache = rests_on(request[CALLER]), self._registry.cache
        if target is not None:
            key = f"/registry/pods/{target.namespace}/{target.name}"
            if (found := cache.get(key)) is not None:
                objects[key] = meta.uid(found.obj)
        return while_standing(cache, objects, lambda: request.transport.abort() if request.transport else None)

    def _result(self, target: Target, result: Result | Listing, form: render.Form) -> Answer:
        now = self._clock.now()
        headers = [("Warning", warning(text)) for text in result.warnings]
        if isinstance(result, Listing):
            parts = render.many(target.kind, result, form, now)
            body, second = next(parts), next(parts, None)
            if second is None:
                return Answer(body, media=form.media, headers=headers)
            return LongAnswer(body, 200, form.media, headers, rest=chain((second,), parts), patience=self.connections.patience)
        if result.stored is not None:
            data = render.one(target.kind, result.stored, form, now)
        else:
            data = render.other(result.obj or {}, form, now)
        return Answer(render.finished(data, form), result.code, form.media, headers=headers)

    async def _decoded(self, request: web.BaseRequest, target: Target, options: Mapping[str, str]) -> tuple[Any, list[str]]:
        """The body, and what stands twice in it (unless nobody wants to know)."""
        if request.method not in ("POST", "PUT", "PATCH", "DELETE"):
            return None, []
        body: Any
        if target.verb in ("create", "update"):
            declared = target.kind.subresources.get(target.subresource)
            raw, body = await bodies.of_kind(request, (declared.kind if declared else "") or target.kind.resource.kind)
        else:
            raw, body = await bodies.tree(request)
        if options.get("fieldValidation") == "Ignore" or target.verb not in ("create", "update", "patch"):
            return body, []
        return body, bodies.doubled(request, raw, body)

    async def _watch(self, request: web.BaseRequest, call: Request, form: render.Form) -> web.StreamResponse:
        """Newline-separated events until the client goes, the time is over, or the watcher is cut."""
        asked = call.options.get("timeoutSeconds", "")
        # The watch ends by itself; this ends one whose client does not read, or is nobody any more.
        seconds = GRACE_SECONDS + (float(asked) if asked.isdigit() and asked != "0" else LONGEST_WATCH_SECONDS)
        seconds = min(seconds, request[CALLER].until - self._clock.now())
        events = self._registry.watch(call)
        rendered = render.events(call.kind, form, self._clock.now)
        response = web.StreamResponse(headers=request[render.HEADERS] | {"Content-Type": "application/json"})
        try:
            async with asyncio.timeout(seconds), _first(events) as pending:
                await response.prepare(request)
                batch = await pending
                while batch is not None:
                    for data in render.batched(map(rendered, batch)):
                        self.connections.patience.begin(request.protocol)
                        await response.write(data)
                        self.connections.patience.end(request.protocol)
                    batch = await anext(events, None)
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
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await response.write_eof()
        except TimeoutError:  # what was sent before is not read: there is no clean end for such a client
            if request.transport:
                request.transport.abort()
        return response


@contextlib.asynccontextmanager
async def _first(events: AsyncIterator[list[Event]]) -> AsyncIterator[asyncio.Task[list[Event] | None]]:
    """The step to the first events, begun. A refusal comes before them and is raised; they may take for ever."""

    async def step() -> list[Event] | None:
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


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _printable(field: str) -> str:
    """A header's text, which may hold bytes that are no text."""
    return field if field.isascii() else field.encode(errors="replace").decode()


def _refusal(error: ApiError) -> Answer:
    retry = (error.details or {}).get("retryAfterSeconds")
    return Answer(orjson.dumps(error.status()), error.code, headers=[("Retry-After", str(retry))] if retry else [])


async def _compress(request: web.BaseRequest, response: Answer | web.Response) -> None:
    """Large answers go packed to who takes them so (API-77)."""
    if isinstance(response, LongAnswer):
        if takes_gzip(request.headers.get("Accept-Encoding", "")):
            response.packed = True
            response.headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return
    body = response.body
    if not isinstance(body, bytes) or len(body) <= GZIP_FROM or not takes_gzip(request.headers.get("Accept-Encoding", "")):
        return
    if isinstance(response, Answer) and any(name == "Content-Encoding" for name, _ in response.headers):
        return
    response.body = await asyncio.to_thread(gzip.compress, body, 1)
    for name, value in (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")):
        if isinstance(response, Answer):
            response.headers.append((name, value))
        else:
            response.headers.add(name, value)
