"""Raw file descriptors on the event loop: pipes, ptys and sockets that carry descriptors.

asyncio's own pipe transports do not take ptys on every loop; readiness callbacks work on all of them.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import termios

CHUNK = 256 << 10


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _done, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _done, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def read(fd: int) -> bytes:
    """b"" at the end; a pty's end is an EIO."""
    while True:
        try:
            return os.read(fd, CHUNK)
        except BlockingIOError:
            await readable(fd)
        except OSError:
            return b""


async def write(fd: int, data: bytes) -> None:
    """Raises BrokenPipeError when nobody reads."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await writable(fd)


async def receive_line(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One line and the descriptors that came with it; b"" when the peer closed. What follows the line stays unread."""
    line = bytearray()
    received: list[int] = []
    while not line.endswith(b"\n"):
        try:
            waiting = sock.recv(CHUNK, socket.MSG_PEEK)
            data, fds, _, _ = socket.recv_fds(sock, waiting.find(b"\n") + 1 or len(waiting) or 1, 4)
        except BlockingIOError:
            await readable(sock.fileno())
            continue
        except ConnectionError:
            return b"", received
        received += fds
        if not data:
            return b"", received
        line += data
    return bytes(line), received


def set_size(pty: int, width: int, height: int) -> None:
    fcntl.ioctl(pty, termios.TIOCSWINSZ, struct.pack("HHHH", height & 0xFFFF, width & 0xFFFF, 0, 0))
