"""The channels of an exec or attach, over SPDY streams or over WebSocket messages: one interface for both."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Protocol

import orjson
from aiohttp import WSMsgType, web

from holdfast.lib import spdy
from holdfast.node.streams.wire import SpdyConnection

STREAM_SECONDS = 30.0
V1, V2, V3, V4, V5 = (f"v{number}.channel.k8s.io" for number in range(1, 6))
SPDY_VERSIONS = (V4, V3, V2, V1, "channel.k8s.io")
WEBSOCKET_PROTOCOLS = (V5, V4, f"base64.{V4}", "base64.channel.k8s.io", "channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_NAMES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}


class Channels(Protocol):
    version: str

    def stdin(self) -> AsyncIterator[bytes]: ...

    def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """Width and height, each time the terminal changes."""

    async def write(self, channel: int, data: bytes) -> None:
        """Raises ConnectionError when the client is gone."""

    async def gone(self) -> None:
        """Returns when the client is gone."""


def terminal_size(data: bytes) -> tuple[int, int] | None:
    try:
        size = orjson.loads(data)
        return int(size.get("Width", 0)), int(size.get("Height", 0))
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return None


class SpdyChannels:
    """Each channel is a stream, which its ``streamType`` header names."""

    def __init__(self, connection: SpdyConnection, version: str) -> None:
        self._connection = connection
        self.version = version
        self._streams: dict[int, spdy.Stream] = {}

    async def open(self, wanted: set[int]) -> None:
        """Waits until the client has opened what its query asked for. Raises ConnectionError."""
        async with asyncio.timeout(STREAM_SECONDS):
            while not wanted <= self._streams.keys():
                stream = await self._connection.session.accept()
                if stream is None:
                    raise ConnectionError("the client went away")
                channel = _NAMES.get(stream.headers.get("streamtype", "").lower())
                if channel is None or channel in self._streams:
                    stream.reset(spdy.PROTOCOL_ERROR)
                    continue
                self._streams[channel] = stream

    async def stdin(self) -> AsyncIterator[bytes]:
        if (stream := self._streams.get(STDIN)) is not None:
            while data := await stream.read():
                yield data

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        if (stream := self._streams.get(RESIZE)) is not None:
            rest = b""
            while data := await stream.read():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if size := terminal_size(line):
                        yield size
                if rest and (size := terminal_size(rest)):
                    rest = b""
                    yield size

    async def write(self, channel: int, data: bytes) -> None:
        if (stream := self._streams.get(channel)) is not None:
            await stream.write(data)

    async def gone(self) -> None:
        await self._connection.closed.wait()

    async def finish(self, last: bytes) -> None:
        """``last`` goes out on the error channel, where there is something to say, and all channels end."""
        if last:
            await self.write(ERROR, last)
        for stream in self._streams.values():
            stream.close()
        await self._connection.finish()


QUIET_SECONDS = 0.08
"""Nothing is sent for so long after the handshake: client-go before 1.34 drops what comes before it has made its streams."""


class WebSocketChannels:
    """Each message starts with the channel's number; v5 adds a message that closes a channel."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self.version = (socket.ws_protocol or "channel.k8s.io").removeprefix("base64.")
        self._base64 = (socket.ws_protocol or "").startswith("base64.")
        # Bounded: a program that does not read its stdin holds the client up, not our memory.
        self._stdin: asyncio.Queue[bytes] = asyncio.Queue(64)
        self._sizes: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._quiet_until = asyncio.get_running_loop().time() + QUIET_SECONDS

    async def receive(self) -> None:
        """Runs for the connection's life: sorts messages into channels."""
        try:
            async for message in self._socket:
                if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                    continue
                data = self._decode(message.data)
                if not data:
                    continue
                if data[0] == STDIN and len(data) > 1:
                    await self._stdin.put(data[1:])
                elif data[0] == RESIZE:
                    if size := terminal_size(data[1:]):
                        self._sizes.put_nowait(size)
                elif data[0] == CLOSE and self.version == V5 and data[1:] == bytes([STDIN]):
                    await self._stdin.put(b"")
        finally:
            self._gone.set()
            self._sizes.put_nowait(None)

    def _decode(self, data: str | bytes) -> bytes:
        if not self._base64:
            return data.encode() if isinstance(data, str) else data
        text = data if isinstance(data, str) else data.decode("latin-1")
        try:
            return bytes([ord(text[0]) - ord("0")]) + base64.b64decode(text[1:])
        except (ValueError, IndexError):
            return b""

    async def stdin(self) -> AsyncIterator[bytes]:
        while data := await self._stdin.get():
            yield data

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        while size := await self._sizes.get():
            yield size

    async def write(self, channel: int, data: bytes) -> None:
        if self._gone.is_set():
            raise ConnectionError("the client went away")
        if (left := self._quiet_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
        if self._base64:
            await self._socket.send_str(str(channel) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes([channel]) + data)

    async def gone(self) -> None:
        await self._gone.wait()

    async def finish(self, last: bytes) -> None:
        """``last`` goes out on the error channel, where there is something to say, and the end with it in one piece.

        A client may close its socket on the last word while a thread of its own still reads (httpx does). Were the end
        on its way then, that thread would take the first bytes of the next connection, which has the same number.
        """
        self._hold(True)
        asyncio.get_running_loop().call_soon(self._hold, False)
        if last:
            await self.write(ERROR, last)
        await self._socket.close()

    def _hold(self, back: bool) -> None:
        """Whether what is written waits for more before it goes out."""
        with contextlib.suppress(OSError, AttributeError):  # the connection is gone
            self._socket.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, back)
