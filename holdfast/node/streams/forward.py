"""Port-forward: pairs of a data and an error stream, each pair a TCP connection made inside the pod's namespace.

Over SPDY (also tunnelled in WebSocket messages) the pair's headers say port and request; over the older
WebSocket protocol the query lists the ports and channels come in twos.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from holdfast.lib import spdy
from holdfast.node.streams.wire import SpdyTunnel

log = logging.getLogger("holdfast.node.streams")

PROTOCOL = "portforward.k8s.io"
TUNNEL = f"SPDY/3.1+{PROTOCOL}"
CHANNELS = "v4.channel.k8s.io"
PAIR_SECONDS = 30.0
CHUNK = 64 << 10

Dial = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def refusal(port: int, error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number).lower() if number else str(error)
    return f"error forwarding port {port} to pod: failed to connect to localhost:{port} inside the pod: {reason}"


async def serve(session: spdy.Session, dial: Dial) -> None:
    """Until the client is gone; its connections end with it."""
    halves: dict[str, dict[str, spdy.Stream]] = {}
    async with asyncio.TaskGroup() as group:
        running: set[asyncio.Task[None]] = set()
        while (stream := await session.accept()) is not None:
            kind = stream.headers.get("streamtype", "").lower()
            port = stream.headers.get("port", "")
            if kind not in ("data", "error") or not port.isdigit() or not 0 < int(port) < 65536:
                stream.reset(spdy.PROTOCOL_ERROR)
                continue
            # Old clients send no request id: their error stream comes right before the data stream.
            request = stream.headers.get("requestid") or f"stream {stream.id if kind == 'error' else stream.id - 2}"
            pair = halves.setdefault(request, {})
            pair[kind] = stream
            if len(pair) == 2:
                del halves[request]
                task = group.create_task(_connection(pair["data"], pair["error"], int(port), dial))
                running.add(task)
                task.add_done_callback(running.discard)
        for task in running:
            task.cancel()


async def _connection(data: spdy.Stream, error: spdy.Stream, port: int, dial: Dial) -> None:
    try:
        try:
            reader, writer = await dial(port)
        except OSError as failure:
            await error.write(refusal(port, failure).encode())
            error.close()
            data.close()
            await _drain(data)
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_upload(data, writer))
                while chunk := await reader.read(CHUNK):
                    await data.write(chunk)
                data.close()
        except* OSError as failures:
            log.debug("port %d: %s", port, failures.exceptions[0])
        finally:
            writer.close()
        error.close()
    except ConnectionError:
        pass  # the client is gone
    finally:
        data.reset()
        error.reset()


async def _upload(data: spdy.Stream, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await data.read():
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()  # ends the reading half too


async def _drain(stream: spdy.Stream) -> None:
    async with asyncio.timeout(PAIR_SECONDS):
        while await stream.read():
            pass


async def serve_tunnel(socket: web.WebSocketResponse, dial: Dial) -> None:
    """SPDY's bytes in binary messages."""
    tunnel = SpdyTunnel(socket)
    async with asyncio.TaskGroup() as group:
        group.create_task(tunnel.send())
        group.create_task(tunnel.receive())
        await serve(tunnel.session, dial)
        tunnel.finish()


async def serve_channels(socket: web.WebSocketResponse, ports: list[int], dial: Dial) -> None:
    """Channel 2n is the data of the n-th port, 2n + 1 its errors; each begins with the port, little-endian."""
    writers: dict[int, asyncio.StreamWriter] = {}

    async def download(number: int, port: int) -> None:
        for channel in (2 * number, 2 * number + 1):
            await socket.send_bytes(bytes([channel]) + struct.pack("<H", port))
        try:
            reader, writer = await dial(port)
        except OSError as failure:
            await socket.send_bytes(bytes([2 * number + 1]) + refusal(port, failure).encode())
            return
        writers[number] = writer
        waiting[number].set()
        try:
            while chunk := await reader.read(CHUNK):
                await socket.send_bytes(bytes([2 * number]) + chunk)
        except OSError as failure:
            log.debug("port %d: %s", port, failure)
        finally:
            writer.close()
            if all(task.done() or task is asyncio.current_task() for task in downloads):
                await socket.close()

    waiting = [asyncio.Event() for _ in ports]
    async with asyncio.TaskGroup() as group:
        downloads = [group.create_task(download(number, port)) for number, port in enumerate(ports)]
        async for message in socket:
            if message.type == WSMsgType.BINARY and len(message.data) > 1 and message.data[0] % 2 == 0:
                number = message.data[0] // 2
                if number >= len(ports):
                    continue
                connected = asyncio.create_task(waiting[number].wait())
                await asyncio.wait([connected, downloads[number]], return_when=asyncio.FIRST_COMPLETED)
                connected.cancel()
                if number in writers and not writers[number].is_closing():
                    writers[number].write(message.data[1:])
                    await writers[number].drain()
        for task in downloads:
            task.cancel()
