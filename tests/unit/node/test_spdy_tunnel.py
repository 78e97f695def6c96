"""SPDY in WebSocket messages: what is kept for a peer that does not read is bounded, and goes out when it does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any, cast

from aiohttp import WSMessage, WSMsgType, web

from holdfast.lib import spdy
from holdfast.node.streams.wire import SpdyTunnel

PING = struct.pack(">HHII", spdy.VERSION, spdy.PING, 4, 1)
PINGS = PING * 5000


class Socket:
    """A client that sends pings without end, and reads only while ``reads`` is set."""

    def __init__(self, messages: int) -> None:
        self.left = messages
        self.reads = asyncio.Event()
        self.got = bytearray()

    async def send_bytes(self, data: bytes) -> None:
        await self.reads.wait()
        self.got += data

    async def __aiter__(self) -> AsyncIterator[Any]:
        while self.left:
            self.left -= 1
            yield WSMessage(WSMsgType.BINARY, PINGS, None)
            await asyncio.sleep(0)


async def test_a_client_that_reads_no_replies_is_not_read_either() -> None:
    messages = 200
    socket = Socket(messages)
    tunnel = SpdyTunnel(cast("web.WebSocketResponse", socket))
    sending, receiving = asyncio.create_task(tunnel.send()), asyncio.create_task(tunnel.receive())
    for _ in range(10 * messages):
        await asyncio.sleep(0)
    taken = (messages - socket.left) * len(PINGS)
    assert spdy.HIGH_WATER < taken < spdy.HIGH_WATER + 4 * len(PINGS)
    socket.reads.set()
    async with asyncio.timeout(60):
        await asyncio.gather(sending, receiving)
    assert socket.left == 0
    assert bytes(socket.got) == PINGS * messages


async def test_a_client_that_goes_ends_the_session() -> None:
    class Gone(Socket):
        async def send_bytes(self, data: bytes) -> None:
            raise ConnectionResetError

    tunnel = SpdyTunnel(cast("web.WebSocketResponse", Gone(200)))
    async with asyncio.timeout(60):
        await asyncio.gather(tunnel.send(), tunnel.receive())
    assert await tunnel.session.accept() is None
