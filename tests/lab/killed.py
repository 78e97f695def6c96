"""Histories against a real server process that is killed with SIGKILL at a random moment, and started again.

One data directory serves many histories, each on keys of its own, so that the log a restart finds is as long
as life makes it. Clients speak HTTPS; a broken connection leaves a write unknown; a refused one is tried
again. When all is over the store's own file is opened and must hold what was promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from holdfast.kinds.kind import Obj
from holdfast.lab.history import Entry
from holdfast.lib import kubeconfig, pki
from holdfast.store.sqlite import SqliteStore
from tests.lab.workload import MERGE, NAMESPACE, LostError, Workload, entry

METHODS = {"get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
COLLECTION = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
PATIENCE = 240.0
"""For one history, and for one start: a machine may be busy."""
BROKEN = (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, TimeoutError)


class Server:
    """``holdfast server`` on a data directory: no node. ``kill`` is SIGKILL."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._log = data / "log" / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "holdfast.cli.main", "server", "--data", str(self.data), "--listen", self._listen()]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            )

    def _listen(self) -> str:
        kept = self.data / "server.json"
        return f"127.0.0.1:{orjson.loads(kept.read_bytes())['port'] if kept.exists() else 0}"

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended by itself:\n{self.log()}"
        self._process.send_signal(number)
        self._process.wait(30)
        self.kills += number == signal.SIGKILL

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


class Https:
    """The transport: a connection pool that forgets whatever breaks."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session: aiohttp.ClientSession
        self._tls: ssl.SSLContext
        self._address = ""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[Https, None]:
        config = await self._config()
        scratch = self._server.data / "client"
        scratch.mkdir(exist_ok=True)
        assert config.credential is not None
        self._tls = pki.client_context(config.ca, config.credential, scratch)
        self._address = config.server
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        ) as self._session:
            # aiohttp sends a request again when a kept connection turns out to be closed: then two would have been sent, one known.
            self._session._retry_connection = False
            await self.ready()
            yield self

    async def _config(self) -> kubeconfig.Kubeconfig:
        for _ in range(int(PATIENCE / 0.05)):
            with contextlib.suppress(OSError, ValueError):
                return kubeconfig.load(self._server.data / "kubeconfig")
            await asyncio.sleep(0.05)
        raise AssertionError(f"the server wrote no kubeconfig:\n{self._server.log()}")

    async def ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(*BROKEN):
                async with self._session.get(self._address + "/readyz", ssl=self._tls) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)
        raise AssertionError(f"the server is not ready:\n{self._server.log()}")

    async def call(self, verb: str, name: str = "", body: Any = None, **options: str) -> tuple[int, Obj]:
        path = "/api/v1/namespaces" if body and body.get("kind") == "Namespace" else COLLECTION
        url = f"{self._address}{path}{'/' + name if name else ''}"
        headers = {"Content-Type": MERGE if verb == "patch" else "application/json"}
        data = orjson.dumps(body) if body is not None else None
        while True:
            try:
                url = f"{self._address}{path}{'/' + name if name else ''}"
                async with self._session.request(
                    METHODS[verb], url, params=options, data=data, headers=headers, ssl=self._tls
                ) as answer:
                    raw = await answer.read()
                    if answer.status >= 500:
                        raise LostError
                    return answer.status, orjson.loads(raw)
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
            except BROKEN:
                raise LostError from None

    async def watch(self, **options: str) -> AsyncGenerator[Obj, None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
        try:
            async with self._session.get(
                self._address + COLLECTION, params={**options, "watch": "true"}, ssl=self._tls, timeout=timeout
            ) as answer:
                if answer.status != 200:
                    if answer.status == 410:
                        yield {"type": "ERROR", "object": {}}
                        return
                    raise LostError
                async for line in answer.content:
                    yield orjson.loads(line)
        except (*BROKEN, orjson.JSONDecodeError):  # a line may break off with the connection
            raise LostError from None


async def run(server: Server, numbers: range, chance: random.Random) -> list[Workload]:
    """Histories one after the other, the server dying in each. What they saw; ``judge`` it with ``read_log``."""
    done = []
    async with Https(server).open() as https:
        namespace = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}}
        code, _ = await https.call("create", body=namespace)
        assert code in (201, 409), code
        for number in numbers:
            workload = Workload(https, chance, lambda: asyncio.sleep(chance.expovariate(200)), prefix=f"h{number}")
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
                tasks.create_task(workload.run(operations=12))
                tasks.create_task(_kill(server, chance))
            await https.ready()
            done.append(workload)
    return done


async def _kill(server: Server, chance: random.Random) -> None:
    await asyncio.sleep(chance.uniform(0, 0.35))
    await asyncio.to_thread(server.end)
    server.start()


async def read_log(data: Path) -> list[Entry]:
    """Everything the store holds, once nobody else has it open."""
    store = SqliteStore(data / "store.db")
    await store.start()
    keys = f"/registry/configmaps/{NAMESPACE}/"
    found: list[Entry] = []
    try:
        head = store.revision
        async for batch in store.watch("", store.compacted):
            mine = [change for change in batch if change.record.key.startswith(keys)]
            found += [entry(change.type, change.revision, orjson.loads(change.record.value)) for change in mine]
            if batch[-1].revision >= head:
                return found
    finally:
        await store.close()
    return found
