"""The way from the server to a node: whom it dials, how it makes sure, one request a connection.

A Node says in its status where it is reached; whoever writes that status must not be able to turn the server, which has
powerful credentials, against somebody else (SEC-3). So the address is an IP, never a name (nothing is resolved, SEC-4), no
link-local, multicast or unspecified one; and before a byte is sent the other side must have shown a certificate of our CA
for just this node. No connection is used twice, so nothing that a client sends behind its request reaches a node with our
credentials (SEC-1).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.lib import http1
from holdfast.lib.http1 import BrokenAnswerError, Head
from holdfast.lib.upgrade import Duplex
from holdfast.machinery import errors
from holdfast.machinery.errors import ApiError
from holdfast.registry.registry import Registry

DIAL_SECONDS = 10
RESTART_SECONDS = 3
_LIMIT = 2**20


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Reply:
    """A node's answer: its head is read, its body is yet to come."""

    connection: Duplex
    head: Head

    def close(self) -> None:
        self.connection.writer.close()


class Nodes:
    def __init__(self, registry: Registry, tls: ssl.SSLContext) -> None:
        self._registry = registry
        self._tls = tls

    def locate(self, name: str) -> Node:
        """Raises ApiError: 404 for no such node, 500 for one without an address, 400 for one whose address is none of a node's."""
        found = self._registry.cache.get(f"/registry/nodes/{name}")
        if found is None:
            raise errors.not_found("nodes", name)
        status = found.obj.get("status") or {}
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
        addresses = status.get("addresses") or []
        for address in addresses:
            if address["type"] == "InternalIP" and port:
                return Node(name, _allowed(address["address"]), port)
        known = " ".join(f"{{{address['type']} {address['address']}}}" for address in addresses)
        raise ApiError(500, "", f"no preferred addresses found; known addresses: [{known}]")

    async def ask(self, node: Node, method: str, target: str, headers: Iterable[tuple[str, str]]) -> Reply:
        """Sends a request without a body. Raises ApiError."""
        connection = await self.dial(node)
        try:
            connection.writer.write(http1.request_head(method, target, [("Host", f"{node.address}:{node.port}"), *headers]))
            await connection.writer.drain()
            return Reply(connection, await http1.read_head(connection.reader))
        except (BrokenAnswerError, ConnectionError) as error:
            connection.writer.close()
            raise ApiError(500, "InternalError", f"error dialing backend: {error}", {}) from error
        except BaseException:
            connection.writer.close()
            raise

    async def dial(self, node: Node) -> Duplex:
        """A connection to who has proved to be this node. Raises ApiError."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                connection = await self._connect(node)
        except (OSError, TimeoutError) as error:
            words = getattr(error, "strerror", None)  # without Python's "[Errno 111]"
            why = f"connect: {words.lower()}" if words else str(error) or "i/o timeout"
            text = f"error dialing backend: dial tcp {node.address}:{node.port}: {why}"
            raise ApiError(500, "InternalError", text, {}) from error
        if _proved(connection.writer) != f"system:node:{node.name}":
            connection.writer.transport.abort()
            text = f"error dialing backend: {node.address}:{node.port} is not node {node.name}: its certificate names another"
            raise ApiError(500, "InternalError", text, {})
        return connection

    async def _connect(self, node: Node) -> Duplex:
        """A node that is being started again refuses for a moment: that moment is waited for."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + RESTART_SECONDS
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    node.address, node.port, ssl=self._tls, server_hostname=node.address, limit=_LIMIT
                )
                return Duplex(reader, writer)
            except ConnectionRefusedError:
                if loop.time() > patient_until:
                    raise
                await asyncio.sleep(0.05)


def _allowed(address: str) -> str:
    """Loopback is where the node of a single machine lives; who answers there still has to prove that it is the node."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise errors.bad_request("address not allowed") from None
    plain = getattr(ip, "ipv4_mapped", None) or ip
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        raise errors.bad_request("address not allowed")
    return str(ip)


def _proved(writer: asyncio.StreamWriter) -> str:
    """The common name of the other side's certificate, which TLS has verified."""
    certificate = writer.get_extra_info("peercert") or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else ""
