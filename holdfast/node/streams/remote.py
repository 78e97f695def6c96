"""Exec and attach: joins a runtime's session with the client's channels until either ends, then tells the exit code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from holdfast.node.runtimes.api import RuntimeFailure, Streams
from holdfast.node.streams import channels
from holdfast.node.streams.channels import ERROR, STDERR, STDOUT, V1, V4, V5, Channels

log = logging.getLogger("holdfast.node.streams")


@dataclass(frozen=True)
class Options:
    """What the query asked for."""

    command: tuple[str, ...]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    @property
    def channels(self) -> set[int]:
        wanted = {ERROR}
        wanted |= {channels.STDIN} if self.stdin else set()
        wanted |= {STDOUT} if self.stdout else set()
        wanted |= {STDERR} if self.stderr and not self.tty else set()
        return wanted


async def serve(client: Channels, options: Options, begin: Callable[[], Awaitable[Streams]], *, attach: bool) -> bytes:
    """Runs the session to its end; the value is what its error channel has to say then.

    A client that goes away ends an exec's process and only leaves an attached one.
    """
    try:
        session = await begin()
    except RuntimeFailure as failure:
        log.info("session refused: %s", failure.message)
        return failed(client.version, failure.message)
    try:
        code = await _until_end(client, options, session)
    finally:
        await session.close()
    if code is None:
        return b""
    return succeeded(client.version) if code == 0 or attach else exited(client.version, options.command, code)


async def _until_end(client: Channels, options: Options, session: Streams) -> int | None:
    """The exit code; None when the client went away first."""
    tasks = [asyncio.create_task(_output(client, session.read_stdout, STDOUT, options.stdout))]
    tasks.append(asyncio.create_task(_output(client, session.read_stderr, STDERR, options.stderr and not options.tty)))
    outputs = asyncio.gather(*tasks)
    side = [asyncio.create_task(_input(client, session))] if options.stdin else []
    if options.tty:
        side.append(asyncio.create_task(_sizes(client, session)))
    gone: asyncio.Future[Any] = asyncio.ensure_future(client.gone())
    ended: asyncio.Future[Any] = asyncio.ensure_future(session.wait())
    waited: list[asyncio.Future[Any]] = [outputs, gone]
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not outputs.done():
            return None
        outputs.result()
        await asyncio.wait([ended, gone], return_when=asyncio.FIRST_COMPLETED)
        return ended.result() if ended.done() else None
    except ConnectionError:
        return None
    finally:
        for task in (*tasks, *side, gone, ended):
            task.cancel()
        await asyncio.gather(outputs, *tasks, *side, gone, ended, return_exceptions=True)


async def _output(client: Channels, read: Callable[[], Awaitable[bytes]], channel: int, wanted: bool) -> None:
    while data := await read():
        if wanted:
            await client.write(channel, data)


async def _input(client: Channels, session: Streams) -> None:
    try:
        async for data in client.stdin():
            await session.write_stdin(data)
        await session.close_stdin()
    except OSError:
        pass  # the process does not read any more, or the client is gone; the outputs tell when it ends


async def _sizes(client: Channels, session: Streams) -> None:
    try:
        async for width, height in client.sizes():
            await session.resize(width, height)
    except OSError:
        pass


# --- what the error channel says, by protocol version


def _structured(version: str) -> bool:
    return version in (V4, V5)


def succeeded(version: str) -> bytes:
    return orjson.dumps({"metadata": {}, "status": "Success"}) if _structured(version) else b""


def exited(version: str, command: tuple[str, ...], code: int) -> bytes:
    text = f"command terminated with non-zero exit code: error executing command [{' '.join(command)}], exit code {code}"
    if not _structured(version):
        return text.encode()
    status = {
        "metadata": {},
        "status": "Failure",
        "message": text,
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
    return orjson.dumps(status)


def failed(version: str, message: str) -> bytes:
    text = f"Internal error occurred: {message}"
    if not _structured(version):
        return b"" if version == V1 and not message else text.encode()
    status = {
        "metadata": {},
        "status": "Failure",
        "message": text,
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
    return orjson.dumps(status)
