"""A node without pods of its own: the kubelet's API as the product serves it, with this machine as the network of its pods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.lib import pki
from holdfast.node.api import PodNetwork
from holdfast.node.streams import StreamServer
from tests.serving import Api

Obj = dict[str, Any]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Machine:
    """Runtime, lookup and network of a node whose pods are all at 127.0.0.1."""

    def on_exit(self, told: Any) -> None:
        pass

    async def wait_ready(self) -> None:
        pass

    def network(self, namespace: str, pod: str, uid: str = "") -> PodNetwork:
        return PodNetwork("127.0.0.1", "")

    async def connect(self, netns: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(host, port)


@contextlib.asynccontextmanager
async def stream_server(api: Api, name: str, scratch: Path) -> AsyncIterator[StreamServer]:
    keys = api.server.keys
    credential = pki.issue_server(keys.ca, f"system:node:{name}", ["127.0.0.1"])
    machine: Any = _Machine()
    tls = pki.server_context(credential, keys.ca.certificate, scratch, require_client=True)
    server = StreamServer(machine, machine, machine, tls=tls, port=0)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def register(api: Api, name: str, port: int, address: str = "127.0.0.1") -> None:
    """A Node that says it is reached there."""
    await api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    status = {"addresses": [{"type": "InternalIP", "address": address}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
    answer = await api.patch(f"/api/v1/nodes/{name}/status", {"status": status})
    assert answer.status == 200, answer.raw


class Recorder:
    """A listener that keeps what each of its connections was sent and answers as it is told."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heard: list[bytes] = []
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.heard)
        self.heard.append(b"")
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                answered = b"\r\n\r\n" in self.heard[number]
                self.heard[number] += data
                if b"\r\n\r\n" in self.heard[number] and not answered:
                    writer.write(self.answer)
                    await writer.drain()
            writer.close()

    @contextlib.asynccontextmanager
    async def listening(self, tls: Any = None) -> AsyncIterator[Recorder]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
