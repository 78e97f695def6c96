"""Taking a connection over from aiohttp after ``101 Switching Protocols``.

aiohttp knows only WebSocket upgrades; for SPDY and for tunnels the handler answers 101 itself, puts a
protocol of its own on the transport and works with plain asyncio streams until it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

CHUNK = 64 * 1024
TUNNEL = "tcp"
"""The protocol that a node switches to for a plain connection to a pod's port."""


@dataclass(frozen=True)
class Duplex:
    """A byte stream in both directions."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Early:
    """Shaped like a parser of aiohttp's: hands on what the client sent right behind its request."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if data:
            self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


@asynccontextmanager
async def take_over(request: web.BaseRequest, head: bytes) -> AsyncIterator[Duplex]:
    """Writes ``head`` (the raw 101 response) and yields the connection; afterwards it is closed."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    loop = asyncio.get_running_loop()
    old = request.protocol
    reader = asyncio.StreamReader(limit=2**20, loop=loop)
    old.set_parser(_Early(reader))  # type: ignore[arg-type]
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    writer.write(head)
    try:
        await writer.drain()
        yield Duplex(reader, writer)
    finally:
        writer.close()
        # aiohttp's own protocol must learn that its connection is over, or its task waits for ever.
        old.connection_lost(None)


def response_head(status: int, reason: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def splice(one: Duplex, other: Duplex) -> None:
    """Copies both ways until one side is done; both writers are closed then."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (ConnectionError, OSError, RuntimeError):
            pass
        finally:
            if not writer.can_write_eof():
                writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(copy(one.reader, other.writer))
        group.create_task(copy(other.reader, one.writer))
