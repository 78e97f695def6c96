"""A SPDY session over a connection taken over from aiohttp."""

from __future__ import annotations

import asyncio
import logging

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
