"""The node's connections to a shim: one that follows the instance to its end, and attached sessions."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson

from holdfast.node.shim import frames

WAITING_CHUNKS = 32


class Connection:
    """Frames to and from a shim."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: Path, request: dict[str, Any]) -> tuple[Connection, dict[str, Any]]:
        """Sends the first request and returns the shim's state. Raises OSError when no shim answers."""
        connection = cls(*await asyncio.open_unix_connection(str(path)))
        try:
            await connection.send(frames.REQUEST, orjson.dumps(request))
            kind, payload = await connection.receive()
            if kind != frames.STATE:
                raise ConnectionError("the shim answered with something else than its state")
        except BaseException:
            connection.close()
            raise
        state: dict[str, Any] = orjson.loads(payload)
        return connection, state

    async def send(self, kind: int, payload: bytes = b"") -> None:
        self._writer.write(frames.pack(kind, payload))
        await self._writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Raises ConnectionError at the end."""
        try:
            kind, size = frames.HEAD.unpack(await self._reader.readexactly(frames.HEAD.size))
            return kind, await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the shim closed the connection") from error

    def close(self) -> None:
        self._writer.close()


class AttachSession:
    """The instance's own stdio. Whoever attaches reads both outputs, else the instance is held up."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stdout: asyncio.Queue[bytes] = asyncio.Queue(WAITING_CHUNKS)
        self._stderr: asyncio.Queue[bytes] = asyncio.Queue(WAITING_CHUNKS)
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(self._receive(), name="attach")

    async def _receive(self) -> None:
        code = 137
        try:
            while True:
                kind, payload = await self._connection.receive()
                if kind == frames.STDOUT:
                    await self._stdout.put(payload)
                elif kind == frames.STDERR:
                    await self._stderr.put(payload)
                elif kind == frames.EXIT:
                    code = int(orjson.loads(payload)["exit_code"])
                    break
        except OSError:
            pass
        finally:
            if not self._exit.done():
                self._exit.set_result(code)
            self._connection.close()
        await self._stdout.put(b"")
        await self._stderr.put(b"")

    async def read_stdout(self) -> bytes:
        return await self._take(self._stdout)

    async def read_stderr(self) -> bytes:
        return await self._take(self._stderr)

    @staticmethod
    async def _take(queue: asyncio.Queue[bytes]) -> bytes:
        data = await queue.get()
        if not data:
            queue.put_nowait(data)  # the end stays readable
        return data

    async def write_stdin(self, data: bytes) -> None:
        for start in range(0, len(data), frames.MAX_FRAME):
            await self._connection.send(frames.STDIN, data[start : start + frames.MAX_FRAME])

    async def close_stdin(self) -> None:
        await self._connection.send(frames.CLOSE_STDIN)

    async def resize(self, width: int, height: int) -> None:
        await self._connection.send(frames.RESIZE, orjson.dumps({"width": width, "height": height}))

    async def wait(self) -> int:
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def alive(pid: int) -> bool:
    return pid > 0 and os.path.exists(f"/proc/{pid}")
