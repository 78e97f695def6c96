"""Connections, as aiohttp keeps them, with what it leaves open: clients that never finish a head, and those that go.

A request runs to its end without its client, for a write half way is never cancelled; a stream is ended, for it may
have nothing to write for hours. What is no HTTP at all is answered in a Status too, and closes its connection: nothing
behind it is taken for a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.web_protocol import RequestHandler

from holdfast.machinery.errors import ApiError
from holdfast.registry.request import User
from holdfast.server.deadlines import Deadlines
from holdfast.server.gate import Limits

log = logging.getLogger("holdfast.server")

LINE_LIMIT = 256 * 1024
"""Of a request line: exec carries its command in the URL, selectors may be long."""
FIELD_LIMIT = 16 * 1024
MAX_FIELDS = 128
KEEPALIVE_SECONDS = 75


class Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what aiohttp could not parse, or to a handler that failed where it must not."""
        if request.writer.output_size:
            raise ConnectionError("the answer broke off")
        if status >= 500:
            log.error("a request failed outside its handler", exc_info=exc)
        reason = {400: "BadRequest"}.get(status, "InternalError")
        text = "the request is not valid HTTP"
        if isinstance(exc, BadHttpMethod):
            status, reason, text = 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        elif isinstance(exc, LineTooLong):
            status, reason, text = 431, "RequestHeaderFieldsTooLarge", "the head of the request is too large"
        elif status >= 500:
            text = "Internal error occurred: an unexpected condition; the server's log has the details"
        error = ApiError(status, reason, text)
        answer = web.Response(status=status, body=orjson.dumps(error.status()), content_type="application/json")
        answer.headers["Server"] = "holdfast"
        answer.force_close()
        return answer


def _abort(handler: RequestHandler) -> None:
    if handler.transport is not None:
        handler.transport.abort()


class Connections(web.Server):
    """The server of one edge."""

    def __init__(self, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(
            handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=LINE_LIMIT,
            max_field_size=FIELD_LIMIT,
            max_headers=MAX_FIELDS,
        )
        self._streams: dict[RequestHandler, asyncio.Task[Any]] = {}
        self._silent: Deadlines[RequestHandler] = Deadlines(limits.head_seconds, RequestHandler.force_close)
        self.patience: Deadlines[RequestHandler] = Deadlines(limits.stall_seconds, _abort)
        """With who takes nothing of what is sent to him."""
        self.identities: dict[RequestHandler, User] = {}
        """Whom a connection's certificate names: said once, at its first request."""

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

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

    def spoke(self, request: web.BaseRequest) -> None:
        """A request's head is there: the connection is in use."""
        self._silent.end(request.protocol)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._silent.begin(handler)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._silent.end(handler)
        self.patience.end(handler)
        self.identities.pop(handler, None)
        task = self._streams.pop(handler, None)
        if task is not None:
            task.cancel()
