"""pods/proxy, services/proxy and nodes/proxy: a request passed on to a port of a pod, or to a node's own API.

No client chooses an address. A pod is reached through its node, which knows where the pod is (``node.streams``: /tunnel);
a Service is one of its pods, and endpoints that are no pods are not served; a node is dialled as ``nodes`` allows, at its
registered port only. Each request has a connection of its own to the other side, so what a client sends behind a request
goes nowhere (SEC-1); redirects are the client's to follow (SEC-2); the caller's credentials stay here.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from holdfast.kinds.kind import Obj
from holdfast.lib import http1
from holdfast.lib.http1 import HOP_BY_HOP, BrokenAnswerError, Head
from holdfast.lib.upgrade import TUNNEL, Duplex, splice, take_over
from holdfast.machinery import errors, meta
from holdfast.registry.registry import Registry
from holdfast.server.nodes import Nodes
from holdfast.server.render import HEADERS
from holdfast.server.routes import Proxied

_SCHEMES = ("", "http", "https")
_KEPT_HERE = ("authorization", "content-length", "expect", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
_KEPT_PREFIXES = ("impersonate-", "x-remote-")
_HEAD_SECONDS = 60.0


@dataclass(frozen=True)
class _Asked:
    """``[SCHEME:]NAME[:PORT]``."""

    scheme: str
    name: str
    port: str


@dataclass(frozen=True)
class _Backend:
    connection: Duplex
    host: str
    """What the other side is called in the request's Host."""


class Proxy:
    def __init__(self, registry: Registry, nodes: Nodes) -> None:
        self._registry = registry
        self._nodes = nodes

    async def serve(self, request: web.BaseRequest, asked: Proxied) -> web.StreamResponse:
        """Raises ApiError as long as nothing of an answer is out."""
        if not asked.path and request.method in ("GET", "HEAD"):
            query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
            return web.Response(status=301, headers={"Location": f"{request.rel_url.raw_path}/{query}"})
        backend = await self._reach(asked)
        try:
            target = (asked.path or "/") + (f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else "")
            return await _exchange(request, backend, target, asked.prefix)
        finally:
            backend.connection.writer.close()

    async def _reach(self, asked: Proxied) -> _Backend:
        kind, namespace = asked.target.kind.resource.plural, asked.target.namespace
        wanted = _split(kind.removesuffix("s"), asked.target.name)
        if kind == "nodes":
            node = self._nodes.locate(wanted.name)
            if wanted.port not in ("", str(node.port)):
                raise errors.bad_request("address not allowed")
            return _Backend(await self._nodes.dial(node), f"{node.address}:{node.port}")
        if kind == "services":
            pod, port = self._endpoint(namespace, wanted)
        else:
            pod = self._object("pods", namespace, wanted.name)
            port = _port(pod, wanted)
        return await self._into(pod, port, secured=wanted.scheme == "https")

    def _object(self, plural: str, namespace: str, name: str) -> Obj:
        found = self._registry.cache.get(f"/registry/{self._storage(plural)}/{namespace}/{name}")
        if found is None:
            raise errors.not_found(plural, name)
        return found.obj

    def _storage(self, plural: str) -> str:
        kind = self._registry.kinds.lookup("", "v1", plural)
        assert kind is not None
        return kind.storage

    def _endpoint(self, namespace: str, wanted: _Asked) -> tuple[Obj, int]:
        """A ready pod of a Service, by chance, and its port. Raises ApiError 404 or 503."""
        service = self._object("services", namespace, wanted.name)
        named = _port_name(service, wanted.port)
        found = self._registry.cache.get(f"/registry/{self._storage('endpoints')}/{namespace}/{wanted.name}")
        subsets = (found.obj.get("subsets") or []) if found else []
        ready = [choice for subset in subsets for choice in self._pods(namespace, subset, named)]
        if not ready:
            raise errors.unavailable(f'no endpoints available for service "{wanted.name}"')
        return random.choice(ready)

    def _pods(self, namespace: str, subset: Obj, port: str) -> Iterator[tuple[Obj, int]]:
        """Who writes Endpoints may write any address into them: only those that are pods' count, and only as such."""
        ports = [one["port"] for one in subset.get("ports") or [] if (one.get("name") or "") == port]
        for address in subset.get("addresses") or [] if ports else ():
            reference = address.get("targetRef") or {}
            found = self._registry.cache.get(f"/registry/pods/{namespace}/{reference.get('name')}")
            if reference.get("kind") == "Pod" and found is not None and meta.uid(found.obj) == reference.get("uid"):
                yield found.obj, ports[0]

    async def _into(self, pod: Obj, port: int, *, secured: bool) -> _Backend:
        """A connection to a pod's port, through its node. Raises ApiError."""
        name, namespace = meta.name(pod), meta.namespace(pod)
        if not pod["spec"].get("nodeName"):
            raise errors.bad_request(f"pod {name} does not have a host assigned")
        upgrade = [("Connection", "Upgrade"), ("Upgrade", TUNNEL)]
        path = f"/tunnel/{namespace}/{name}/{port}?uid={meta.uid(pod)}"
        reply = await self._nodes.ask(self._nodes.locate(pod["spec"]["nodeName"]), "GET", path, upgrade)
        if reply.head.status != http1.SWITCHING:
            try:
                text = b"".join([piece async for piece in http1.body(reply.connection.reader, reply.head)]).decode(errors="replace")
            except BrokenAnswerError as error:
                text = str(error)
            reply.close()
            raise errors.unavailable(f"error trying to reach service: {text.strip()}")
        if secured:
            await _secure(reply.connection.writer, name)
        return _Backend(reply.connection, f"{name}:{port}")


def _split(kind: str, text: str) -> _Asked:
    parts = text.split(":")
    scheme, name, port = parts if len(parts) == 3 else ("", *parts, "")[:3]
    if len(parts) > 3 or not name or scheme not in _SCHEMES:
        raise errors.bad_request(f'invalid {kind} request "{text}"')
    return _Asked(scheme, name, port)


def _port(pod: Obj, wanted: _Asked) -> int:
    """The port asked for, else the first that a container declares, else the scheme's."""
    if not wanted.port:
        declared = [port["containerPort"] for one in pod["spec"].get("containers") or [] for port in one.get("ports") or []]
        return int(declared[0]) if declared else 443 if wanted.scheme == "https" else 80
    if not (wanted.port.isascii() and wanted.port.isdigit() and 0 < int(wanted.port[:6]) < 65536):
        raise errors.bad_request(f'invalid pod request "{wanted.name}:{wanted.port}"')
    return int(wanted.port)


def _port_name(service: Obj, port: str) -> str:
    """A Service's port by its number or name, as its name."""
    if not (port.isascii() and port.isdigit()):
        return port
    for one in service["spec"].get("ports") or []:
        if str(one.get("port")) == port:
            return str(one.get("name") or "")
    raise errors.unavailable(f'no service port {port} found for service "{meta.name(service)}"')


async def _secure(writer: asyncio.StreamWriter, name: str) -> None:
    """TLS inside the tunnel. A pod's certificate is its own affair: nobody could say what it should be."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        await writer.start_tls(context, server_hostname=name)
    except (OSError, ssl.SSLError) as error:
        writer.close()
        raise errors.unavailable(f"error trying to reach service: {error}") from error


async def _exchange(request: web.BaseRequest, backend: _Backend, target: str, prefix: str) -> web.StreamResponse:
    reader, writer = backend.connection.reader, backend.connection.writer
    upgrading = "upgrade" in request.headers.get("Connection", "").lower() and "Upgrade" in request.headers
    writer.write(http1.request_head(request.method, target, _sent(request, backend.host, upgrading=upgrading)))
    sending = asyncio.create_task(_send_body(request, writer))
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await http1.read_head(reader)
        if head.status == http1.SWITCHING and upgrading:
            sending.cancel()
            async with take_over(request, head.raw) as client:
                await splice(client, backend.connection)
            return web.Response()
        if head.status == http1.SWITCHING:
            raise BrokenAnswerError("it switched protocols, which nobody asked for")
        return await _answer(request, head, reader, prefix)
    except (BrokenAnswerError, TimeoutError) as error:
        raise errors.unavailable(f"error trying to reach service: {error or 'timeout'}") from error
    finally:
        sending.cancel()
        await asyncio.wait({sending})


def _sent(request: web.BaseRequest, host: str, *, upgrading: bool) -> list[tuple[str, str]]:
    """The head that goes on: without the caller's credentials and without what is of this connection only."""
    dropped = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")} | HOP_BY_HOP | {*_KEPT_HERE}
    found = [("Host", host)]
    for name, value in request.headers.items():
        if name.lower() not in dropped and not name.lower().startswith(_KEPT_PREFIXES):
            found.append((name, value))
    if "Content-Length" in request.headers:
        found.append(("Content-Length", request.headers["Content-Length"]))
    elif request.body_exists:
        found.append(("Transfer-Encoding", "chunked"))
    before = request.headers.get("X-Forwarded-For")
    forwarded = ", ".join(part for part in (before, request.remote) if part)
    found += [("X-Forwarded-For", forwarded), ("X-Forwarded-Host", request.headers.get("Host", "")), ("X-Forwarded-Proto", "https")]
    if upgrading:
        return [*found, ("Connection", "Upgrade"), ("Upgrade", request.headers["Upgrade"])]
    return [*found, ("Connection", "close")]


async def _send_body(request: web.BaseRequest, writer: asyncio.StreamWriter) -> None:
    chunked = "Content-Length" not in request.headers
    try:
        if request.body_exists:
            async for piece in request.content.iter_any():
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked and piece else piece)
                await writer.drain()
            if chunked:
                writer.write(b"0\r\n\r\n")
        await writer.drain()
    except (ConnectionError, RuntimeError):
        pass  # it has heard enough: its answer says why


async def _answer(request: web.BaseRequest, head: Head, reader: asyncio.StreamReader, prefix: str) -> web.StreamResponse:
    dropped = {name.strip().lower() for name in head.get("connection").split(",")} | HOP_BY_HOP
    response = web.StreamResponse(status=head.status, reason=head.reason)
    for name, value in head.headers:
        if name.lower() not in dropped:
            response.headers.add(name, _relocated(value, prefix) if name.lower() == "location" else value)
    for name, value in request[HEADERS].items():
        response.headers.setdefault(name, value)
    if "Upgrade" in request.headers:
        response.force_close()
    await response.prepare(request)
    async for piece in http1.body(reader, head, request.method):
        await response.write(piece)
    await response.write_eof()
    return response


def _relocated(location: str, prefix: str) -> str:
    """A path of the other side, as the client reaches it."""
    return prefix + location if location.startswith("/") and not location.startswith("//") else location
