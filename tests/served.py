"""A whole API server beside a test that is no coroutine: for stock clients, which are processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.serving import api_server


@dataclass(frozen=True)
class Served:
    """As much of a ``System`` as kubectl needs. Clients keep their caches in ``data`` too."""

    data: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.data / "kubeconfig"), "HOME": str(self.data)}

    def logs(self) -> str:
        return "the server runs in the test's own process"


@contextlib.contextmanager
def served(data: Path, **options: Any) -> Iterator[Served]:
    """``options``: as ``api_server`` takes them."""
    ready, ended = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with api_server(data, **options):
            stoppers.append(lambda: loop.call_soon_threadsafe(stop.set))
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            ended.set()

    stoppers: list[Any] = []
    thread = threading.Thread(target=work, name="served", daemon=True)
    thread.start()
    ready.wait(30)
    if failed:
        raise failed[0]
    try:
        yield Served(data)
    finally:
        stoppers[0]()
        ended.wait(30)
        thread.join(5)
    if failed:
        raise failed[0]
