"""A live exec: the ends of its pipes, or its pty, and the connection on which its exit code comes."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import orjson

from holdfast.node.runtimes.oci import wire

# A process may leave children that hold its output; after its exit they get this long to say more.
QUIET_SECONDS = 0.5


class ExecSession:
    """With a tty ``stdin`` and ``stdout`` are two descriptors of the pty and ``stderr`` is -1."""

    def __init__(self, sock: socket.socket, stdin: int, stdout: int, stderr: int, *, tty: bool) -> None:
        self._sock = sock
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._tty = tty
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._closed = False
        for fd in (stdin, stdout, stderr):
            if fd >= 0:
                os.set_blocking(fd, False)
        self._waiter = asyncio.create_task(self._await_exit(), name="exec exit")

    async def _await_exit(self) -> None:
        line, _ = await wire.receive_line(self._sock)
        code = int(orjson.loads(line)["exit_code"]) if line else 137
        if not self._exit.done():
            self._exit.set_result(code)

    async def read_stdout(self) -> bytes:
        return await self._read(self._stdout)

    async def read_stderr(self) -> bytes:
        return await self._read(self._stderr)

    async def _read(self, fd: int) -> bytes:
        while fd >= 0 and not self._closed:
            try:
                return os.read(fd, wire.CHUNK)
            except BlockingIOError:
                if not await self._more(fd):
                    return b""
            except OSError:
                return b""
        return b""

    async def _more(self, fd: int) -> bool:
        """Waits until there is something to read; False when the process has ended and nothing comes any more."""
        ended = self._exit.done()
        ready = asyncio.ensure_future(wire.readable(fd))
        try:
            waited: list[asyncio.Future[Any]] = [ready] if ended else [ready, self._exit]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED, timeout=QUIET_SECONDS if ended else None)
            return ready.done() or not ended
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    async def write_stdin(self, data: bytes) -> None:
        if self._stdin >= 0 and not self._closed:
            await wire.write(self._stdin, data)

    async def close_stdin(self) -> None:
        if self._stdin >= 0 and not self._tty:
            os.close(self._stdin)
            self._stdin = -1

    async def resize(self, width: int, height: int) -> None:
        if self._tty and not self._closed:
            wire.set_size(self._stdout, width, height)

    async def wait(self) -> int:
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        """The closed connection tells the process's parent to kill it."""
        if self._closed:
            return
        self._closed = True
        if not self._exit.done():
            self._exit.set_result(137)
        self._waiter.cancel()
        await asyncio.gather(self._waiter, return_exceptions=True)
        self._sock.close()
        loop = asyncio.get_running_loop()
        for fd in {self._stdin, self._stdout, self._stderr} - {-1}:
            loop.remove_reader(fd)
            loop.remove_writer(fd)
            os.close(fd)
        self._stdin = self._stdout = self._stderr = -1
