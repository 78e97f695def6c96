"""exec, attach, port-forward and logs: authorized here, served by the pod's node, bytes passed through.

The server dials no address but the one the Node registered, with TLS both ways; it follows no redirect,
and a node that does not switch protocols gets its answer passed on and the connection closed, so
that nothing pipelined behind the request reaches it with our credentials (SEC-1 to SEC-4).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from holdfast.kinds.kind import Obj
from holdfast.lib.upgrade import CHUNK, Duplex, splice, take_over
from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry.registry import Registry
from holdfast.server.podoptions import LOG_OPTIONS, check_log_options, container_of
from holdfast.server.render import HEADERS
from holdfast.server.routes import Target

DIAL_SECONDS = 10
RESTART_SECONDS = 3
HEAD_LIMIT = 64 * 1024
_PASSED = ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions")


@dataclass(frozen=True)
class Node:
    address: str
    port: int


class Streams:
    def __init__(self, registry: Registry, tls: ssl.SSLContext) -> None:
        self._registry = registry
        self._tls = tls

    def _locate(self, target: Target, query: list[tuple[str, str]]) -> tuple[Node, str]:
        """The pod's node and the path to ask it for. Raises ApiError."""
        pod = self._pod(target)
        container = container_of(pod, dict(query).get("container", "")) if target.subresource != "portforward" else ""
        return self._node(pod), _path(target, container, query)

    def _pod(self, target: Target) -> Obj:
        found = self._registry.cache.get(f"/registry/pods/{target.namespace}/{target.name}")
        if found is None:
            raise errors.not_found("pods", target.name)
        return found.obj

    def _node(self, pod: Obj) -> Node:
        name = pod["spec"].get("nodeName")
        if not name:
            raise errors.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        found = self._registry.cache.get(f"/registry/nodes/{name}")
        if found is None:
            raise errors.not_found("nodes", name)
        status = found.obj.get("status") or {}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        for address in status.get("addresses") or []:
            if address["type"] == "InternalIP" and port:
                return Node(address["address"], port)
        known = " ".join(f"{{{address['type']} {address['address']}}}" for address in status.get("addresses") or [])
        raise ApiError(500, "", f"no preferred addresses found; known addresses: [{known}]")

    async def _dial(self, node: Node) -> Duplex:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await self._connect(node)
        except (OSError, TimeoutError) as error:
            text = f"error dialing backend: dial tcp {node.address}:{node.port}: {error}"
            raise ApiError(500, "InternalError", text, {}) from error

    async def _connect(self, node: Node) -> Duplex:
        """A node that is being started again refuses for a moment: that moment is waited for."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + RESTART_SECONDS
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    node.address, node.port, ssl=self._tls, server_hostname=node.address, limit=2**20
                )
                return Duplex(reader, writer)
            except ConnectionRefusedError:
                if loop.time() > patient_until:
                    raise
                await asyncio.sleep(0.05)

    async def _ask(self, node: Node, method: str, path: str, headers: Mapping[str, str]) -> tuple[Duplex, int, bytes]:
        """Sends the request; (connection, status, raw response head)."""
        backend = await self._dial(node)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {node.address}:{node.port}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        backend.writer.write("\r\n".join(lines).encode("latin-1"))
        try:
            await backend.writer.drain()
            head = await backend.reader.readuntil(b"\r\n\r\n")
            return backend, int(head.split(b" ", 2)[1]), head
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError, IndexError) as error:
            backend.writer.close()
            raise ApiError(500, "InternalError", f"error dialing backend: {error}", {}) from error

    async def tunnel(self, request: web.BaseRequest, target: Target, query: list[tuple[str, str]]) -> web.StreamResponse:
        """exec, attach, portforward: the connection is the node's and the client's own until one of them ends it."""
        node, path = self._locate(target, query)
        if "upgrade" not in request.headers.get("Connection", "").lower():
            raise errors.bad_request("Upgrade request required")
        headers = {k: v for k, v in request.headers.items() if k.lower() in _PASSED}
        protocols = request.headers.getall("X-Stream-Protocol-Version", [])
        if protocols:
            headers["X-Stream-Protocol-Version"] = ", ".join(protocols)
        backend, status, head = await self._ask(node, request.method, path, headers)
        try:
            if status != 101:
                return await _pass_on(backend, status, head)
            async with take_over(request, head) as client:
                await splice(client, backend)
        finally:
            backend.writer.close()
        return web.Response()

    async def log(self, request: web.BaseRequest, target: Target, query: list[tuple[str, str]]) -> web.StreamResponse:
        check_log_options(target.name, dict(query))
        pod = self._pod(target)
        path = _path(target, container_of(pod, dict(query).get("container", "")), query)
        if not pod["spec"].get("nodeName"):
            return web.Response(status=204)
        node = self._node(pod)
        backend, status, head = await self._ask(node, "GET", path, {"Connection": "close"})
        try:
            if status != 200:
                return await _pass_on(backend, status, head)
            response = web.StreamResponse(headers=request[HEADERS] | {"Content-Type": "text/plain"})
            await response.prepare(request)
            async for chunk in _body(backend.reader, head):
                await response.write(chunk)
            await response.write_eof()
            return response
        finally:
            backend.writer.close()


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in head.decode("latin-1").split("\r\n")[1:] if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


async def _body(reader: asyncio.StreamReader, head: bytes) -> AsyncIterator[bytes]:
    """The body of a node's answer as it comes, chunked or until the end."""
    if _headers(head).get("transfer-encoding", "").lower() != "chunked":
        length = _headers(head).get("content-length")
        left = int(length) if length else None
        while left is None or left > 0:
            data = await reader.read(CHUNK if left is None else min(CHUNK, left))
            if not data:
                return
            left = None if left is None else left - len(data)
            yield data
        return
    while True:
        size = int((await reader.readline()).split(b";")[0].strip() or b"0", 16)
        if size == 0:
            return
        yield await reader.readexactly(size)
        await reader.readexactly(2)


async def _pass_on(backend: Duplex, status: int, head: bytes) -> web.Response:
    """A node's refusal, as an answer of ours; redirects are not followed."""
    body = bytearray()
    async with asyncio.timeout(DIAL_SECONDS):
        async for chunk in _body(backend.reader, head):
            body += chunk
            if len(body) > HEAD_LIMIT:
                break
    text = bytes(body).decode(errors="replace").strip()
    if 300 <= status < 400:
        raise ApiError(500, "InternalError", f"the node answered with a redirect ({status}), which is not followed", {})
    if text.startswith("{"):
        return web.Response(status=status, text=text, content_type="application/json", headers={"Connection": "close"})
    reason = "NotFound" if status == 404 else "BadRequest" if status == 400 else "InternalError"
    raise ApiError(status, reason, text or f"the node answered {status}", {})


def _path(target: Target, container: str, query: list[tuple[str, str]]) -> str:
    """The node's URL: the kubelet's forms."""
    where = f"{target.namespace}/{target.name}"
    if target.subresource == "portforward":
        return f"/portForward/{where}?{urlencode([p for p in query if p[0] == 'ports'])}".rstrip("?")
    if target.subresource == "log":
        options = [(k, v) for k, v in query if k in LOG_OPTIONS]
        return f"/containerLogs/{where}/{container}?{urlencode(options)}".rstrip("?")
    names = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
    options = [(names[k], "1") for k, v in query if k in names and v.lower() in ("1", "true")]
    options += [(k, v) for k, v in query if k == "command"]
    return f"/{target.subresource}/{where}/{container}?{urlencode(options)}".rstrip("?")
