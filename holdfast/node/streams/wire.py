"""A SPDY session over a connection taken over from aiohttp, or over the messages of a WebSocket.

A peer may ask for replies faster than it reads them. So both stop reading while much is still to be sent: what a
session keeps for its peer is bounded, whatever the peer does.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import WSMsgType, web

from holdfast.lib import spdy
from holdfast.lib.upgrade import CHUNK, Duplex

log = logging.getLogger("holdfast.node.streams")


class SpdyConnection:
    """``receive`` runs for the connection's life; ``closed`` is set at its end."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._reading = asyncio.Event()
        self._reading.set()
        self.closed = asyncio.Event()
        self.session = spdy.Session(self._write, self._drain, pause=self._pause)

    def _write(self, data: bytes) -> None:
        if not self.closed.is_set():
            self._duplex.writer.write(data)

    async def _drain(self) -> None:
        await self._duplex.writer.drain()

    def _pause(self, on: bool) -> None:
        if on:
            self._reading.clear()
        else:
            self._reading.set()

    async def receive(self) -> None:
        try:
            while data := await self._duplex.reader.read(CHUNK):
                self.session.feed(data)
                await self._reading.wait()
                if self._duplex.writer.transport.get_write_buffer_size() > spdy.HIGH_WATER:
                    await self._drain()  # a peer that asks for replies must read them
        except spdy.SpdyError as error:
            log.info("SPDY: %s", error)
        except OSError as error:
            log.debug("SPDY: %s", error)
        finally:
            self.closed.set()
            self.session.connection_lost()

    async def finish(self) -> None:
        """Says goodbye; what was written goes out before the connection is closed."""
        self.session.close()
        try:
            await self._drain()
        except OSError:
            pass


class SpdyTunnel:
    """``send`` and ``receive`` run for the WebSocket's life, or until ``finish``."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._outgoing = bytearray()
        self._wake, self._room, self._reading = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._reading.set()
        self._over = False
        self.session = spdy.Session(self._write, self._drain, pause=self._pause)

    def _write(self, data: bytes) -> None:
        self._outgoing += data
        self._wake.set()
        if len(self._outgoing) > spdy.HIGH_WATER:
            self._room.clear()

    async def _drain(self) -> None:
        await self._room.wait()

    def _pause(self, on: bool) -> None:
        if on:
            self._reading.clear()
        else:
            self._reading.set()

    async def send(self) -> None:
        try:
            while self._outgoing or not self._over:
                data = bytes(self._outgoing[:CHUNK])
                del self._outgoing[:CHUNK]
                if data:
                    await self._socket.send_bytes(data)
                    if len(self._outgoing) < spdy.LOW_WATER:
                        self._room.set()
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except ConnectionError:
            self.session.connection_lost()
            self._room.set()

    async def receive(self) -> None:
        try:
            async for message in self._socket:
                if message.type == WSMsgType.BINARY:
                    self.session.feed(message.data)
                    await self._reading.wait()
                    await self._drain()
        except spdy.SpdyError as error:
            log.info("SPDY: %s", error)
        finally:
            self.session.connection_lost()
            self.finish()

    def finish(self) -> None:
        """What was written still goes out."""
        self._over = True
        self._wake.set()
        self._room.set()
