"""An answer whose bytes are all known: put together once and written at once, headers and body.

aiohttp's own Response does the same in many small steps; on the way of every request that is a tenth of its time
(docs/performance.md). The protocol asks an answer for ``prepare``, ``write_eof`` and ``keep_alive``, and so we have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

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
        self.prepared = True
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self.keep_alive = request.keep_alive and not self.closing
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}"]
        if self.status not in _BODILESS:
            lines.append(f"Content-Type: {self.media}\r\nContent-Length: {len(self.body)}")
        lines += [f"{name}: {_CONTROL.sub(' ', value)}" for name, value in self.headers]
        lines.append(f"Date: {rfc822_formatted_time()}")
        if not self.keep_alive:
            lines.append("Connection: close")
        elif request.version.minor == 0:
            lines.append("Connection: keep-alive")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        transport.write(head if request.method == "HEAD" or self.status in _BODILESS else head + self.body)
        await request.protocol._drain_helper()

    async def write_eof(self) -> None:
        """Everything is out already."""
