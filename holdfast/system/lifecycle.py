"""What every kind of node process lives through: alone on its data, keys from the server, a kept port, work until TERM."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

from holdfast.lib import pki
from holdfast.system.pidfile import write_pid
from holdfast.system.settings import Settings

ADDRESS = "127.0.0.1"
"""Where the streams are served: server and node share this machine's loopback."""
KEY_SECONDS = 60.0


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One node on one data directory, always of the same kind: what one keeps there means nothing to the other."""
    run = settings.data / "run"
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (run / "node.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another node runs on {settings.data}: `holdfast down --data {settings.data}` stops it") from None
        kept = settings.kept_runtime
        if kept and kept != settings.node_runtime:
            raise RuntimeError(
                f"the volumes in {settings.data} are of a node with --runtime {kept}:"
                f" go on with that, or give --runtime {settings.node_runtime} another --data"
            )
        settings.runtime_file.parent.mkdir(exist_ok=True)
        settings.runtime_file.write_text(f"{settings.node_runtime}\n")
        write_pid(settings.pid_file("node"), os.getpid())
        yield


def is_down(settings: Settings) -> bool:
    """Whether a TERM means "stop everything" and not "restart"."""
    return (settings.data / "run" / "down").exists()


async def wait_for_keys(settings: Settings, stop: asyncio.Event) -> bool:
    """The server writes this node's keys when it first starts. False when told to stop first."""
    wanted = (settings.node_kubeconfig, settings.data / "node" / "pki" / "ca.crt")
    for _ in range(int(KEY_SECONDS / 0.05)):
        if all(path.exists() for path in wanted):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await stop.wait()
                return False
    raise RuntimeError(f"no keys for this node in {wanted[0].parent} after {KEY_SECONDS:.0f} s: is the server running?")


def _port_file(settings: Settings) -> Path:
    return settings.data / "node" / "streams.port"


def kept_port(settings: Settings) -> int:
    """The port of the former life, which the API still names; 0 (any) when there is none or it is taken."""
    try:
        port = int(_port_file(settings).read_text())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ADDRESS, port))
    except (OSError, ValueError):
        return 0
    return port


def keep_port(settings: Settings, port: int) -> None:
    _port_file(settings).write_text(f"{port}\n")


def stream_tls(settings: Settings) -> ssl.SSLContext:
    directory = settings.data / "node" / "pki"
    credential = pki.load(directory, "serving")
    return pki.server_context(credential, (directory / "ca.crt").read_bytes(), directory, require_client=True)


@contextlib.asynccontextmanager
async def background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs all of it; the yielded task ends only when some of it fails, and all is cancelled at the end of the block."""

    async def everything() -> None:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)

    task = asyncio.create_task(everything(), name="node")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(stop: asyncio.Event, failed: asyncio.Task[None]) -> None:
    """Until told to stop. Raises what made the node fail."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
            raise RuntimeError("the node's work ended by itself; start it again and see its log")
    finally:
        stopped.cancel()
