"""An answer whose bytes are all known: put together once and written at once, headers and body. A long list is made as it is sent.

aiohttp's own Response does the same in many small steps; on the way of every request that is a tenth of its time
(docs/performance.md). The protocol asks an answer for ``prepare``, ``write_eof`` and ``keep_alive``, and so we have them.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.web_protocol import RequestHandler

from holdfast.server.deadlines import Deadlines

JSON = "application/json"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BODILESS = (204, 304)
GZIP_FROM = 128 * 1024
"""Smaller answers are not worth packing."""


def warning(text: str) -> str:
    """The value of a Warning header (RFC 7234), as Kubernetes' clients print it."""
    quoted = _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip, and not to refuse it."""
    for choice in accepted.split(","):
        name, _, parameters = choice.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            weight = parameters.replace(" ", "").removeprefix("q=")
            return not weight or weight.strip("0.") != ""
    return False


@dataclass(slots=True)
class Answer:
    body: bytes = b""
    status: int = 200
    media: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)
    keep_alive: bool = False
    prepared: bool = False
    closing: bool = False

    def force_close(self) -> None:
        """The connection ends with this answer."""
        self.closing = True

    async def prepare(self, request: web.BaseRequest) -> None:
        if self.prepared:
            return
        length = "" if self.status in _BODILESS else f"Content-Type: {self.media}\r\nContent-Length: {len(self.body)}"
        transport, head = self._begin(request, length)
        transport.write(head if request.method == "HEAD" or self.status in _BODILESS else head + self.body)
        await request.protocol._drain_helper()

    def _begin(self, request: web.BaseRequest, length: str) -> tuple[asyncio.Transport, bytes]:
        """Where to write, and the head. ``length``: what it says about the body."""
        self.prepared = True
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self.keep_alive = request.keep_alive and not self.closing
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}"]
        if length:
            lines.append(length)
        lines += [f"{name}: {_CONTROL.sub(' ', value)}" for name, value in self.headers]
        lines.append(f"Date: {rfc822_formatted_time()}")
        if not self.keep_alive:
            lines.append("Connection: close")
        elif request.version.minor == 0:
            lines.append("Connection: keep-alive")
        return transport, "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def write_eof(self) -> None:
        """Everything is out already."""


@dataclass(slots=True)
class LongAnswer(Answer):
    """``body`` is the first part; each of ``rest`` is made when the one before is on its way."""

    rest: Iterator[bytes] = field(default_factory=lambda: iter(()))
    packed: bool = False
    patience: Deadlines[RequestHandler] | None = None
    """With a client that takes nothing."""

    async def prepare(self, request: web.BaseRequest) -> None:
        if self.prepared:
            return
        chunked = request.version.minor > 0
        if not chunked:
            self.closing = True  # its end is the connection's
        length = f"Content-Type: {self.media}" + ("\r\nTransfer-Encoding: chunked" if chunked else "")
        transport, head = self._begin(request, length)
        transport.write(head)
        packer = zlib.compressobj(1, wbits=31) if self.packed else None
        for part in chain((self.body,), self.rest):
            data = await asyncio.to_thread(packer.compress, part) if packer else part
            self._write(transport, data, chunked)
            await self._taken(request)
        self._write(transport, packer.flush() if packer else b"", chunked)
        if chunked:
            transport.write(b"0\r\n\r\n")
        await self._taken(request)

    def _write(self, transport: asyncio.Transport, data: bytes, chunked: bool) -> None:
        if data:
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    async def _taken(self, request: web.BaseRequest) -> None:
        """Others have their turn, and the client has taken most of what was written."""
        await asyncio.sleep(0)
        if self.patience is None:
            return await request.protocol._drain_helper()
        self.patience.begin(request.protocol)
        try:
            await request.protocol._drain_helper()
        finally:
            self.patience.end(request.protocol)
