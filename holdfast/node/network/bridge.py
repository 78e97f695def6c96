"""BridgeNetwork: pods on a bridge inside the node's own namespace (contract: ``node.api.Network``).

What exists is read from the kernel (mounted namespaces, links) and from the address file, so a node that
was killed finds its pods connected as they were. The API server listens on the host's loopback only; a
small forwarder at the gateway address takes pods there. Kernel work happens in threads (``namespaces``).
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.node.api import NotReady, PodNetwork
from holdfast.node.network import links, namespaces
from holdfast.node.network.addresses import Addresses
from holdfast.node.network.egress import Egress

log = logging.getLogger("holdfast.node.network")


def _port(uid: str) -> str:
    return "v" + hashlib.sha256(uid.encode()).hexdigest()[:12]


class BridgeNetwork:
    """``api_address`` is where the API answers on the host: pods reach it at gateway:``api_port``."""

    def __init__(
        self,
        run: Path,
        id: str,
        data: Path,
        pod_cidr: str = "10.244.0.0/24",
        service_cidr: str = "10.96.0.0/12",
        dns_address: str = "10.96.0.10",
        api_port: int = 6443,
        api_address: Callable[[], tuple[str, int]] | None = None,
    ) -> None:
        self._namespaces = run / "netns"
        self.node_netns = self._namespaces / "node"
        self._bridge = f"hf{id}"
        self._service_cidr = service_cidr
        self._dns_address = dns_address
        self._addresses = Addresses(data / "node" / "network" / "addresses.json", pod_cidr)
        self._egress = Egress(id, run.parent, self.node_netns, pod_cidr)
        self._api_port = api_port
        self._api_address = api_address
        self._forwarder: asyncio.Server | None = None
        self._pods: dict[str, PodNetwork] = {}
        self._links = asyncio.Lock()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def dns_address(self) -> str:
        return self._dns_address

    @property
    def gateway(self) -> str:
        return self._addresses.gateway

    def statistics(self) -> dict[str, int]:
        return {"pods": len(self._pods), "addresses": len(self._addresses.held), "api_connections": len(self._writers)}

    async def start(self) -> None:
        await namespaces.run_in("", self._setup_node)
        await namespaces.run_in("", self._find_pods)
        try:
            await namespaces.run_in("", self._egress.open)
        except Exception as error:
            log.warning("pods cannot reach outside this machine: %s", error)
        if self._api_address is not None:
            listener = await self.listen_tcp(self.gateway, self._api_port)
            self._forwarder = await asyncio.start_server(self._forward, sock=listener)

    def _setup_node(self) -> None:
        namespaces.create(self.node_netns)
        prefix = self._addresses.network.prefixlen
        namespaces.visit(
            str(self.node_netns),
            lambda: links.setup_node(self._bridge, self.gateway, prefix, self._service_cidr, self._dns_address),
        )

    def _find_pods(self) -> None:
        for path in self._namespaces.iterdir():
            uid = path.name
            if uid == "node":
                continue
            if not namespaces.alive(path):
                path.unlink(missing_ok=True)
                continue
            ip = namespaces.visit(str(path), links.address_of_pod)
            if ip:
                self._addresses.adopt(uid, ip)
                self._pods[uid] = PodNetwork(ip, str(path))

    async def close(self, *, remove: bool) -> None:
        if self._forwarder is not None:
            self._forwarder.close()
            self._forwarder = None
        for writer in list(self._writers):
            writer.transport.abort()
        if not remove:
            return
        for uid in set(self._pods):
            await self.remove(uid)
        await namespaces.run_in("", self._teardown)

    def _teardown(self) -> None:
        try:
            self._egress.close()
        except Exception as error:
            log.warning("taking egress away: %s", error)
        for path in self._namespaces.iterdir() if self._namespaces.is_dir() else ():
            namespaces.remove(path)
        with suppress(OSError):
            self._namespaces.rmdir()

    async def add(self, uid: str, namespace: str, name: str) -> PodNetwork:
        path = self._namespaces / uid
        try:
            ip = self._addresses.take(uid)
            async with self._links:
                await namespaces.run_in("", lambda: self._connect_pod(uid, ip, path))
        except Exception as error:
            raise NotReady(
                "FailedCreatePodSandBox",
                f"Failed to create pod sandbox: network of pod {name}_{namespace}({uid}): {error}",
            ) from error
        network = PodNetwork(ip, str(path))
        self._pods[uid] = network
        return network

    def _connect_pod(self, uid: str, ip: str, path: Path) -> None:
        namespaces.create(path)
        namespaces.visit(str(self.node_netns), lambda: links.plug(self._bridge, _port(uid), str(path)))
        namespaces.visit(str(path), lambda: links.setup_pod(ip, self.gateway))

    async def remove(self, uid: str) -> None:
        path = self._namespaces / uid

        def body() -> None:
            if self.node_netns.exists():
                namespaces.visit(str(self.node_netns), lambda: links.unplug(_port(uid)))
            if path.exists():
                namespaces.remove(path)

        async with self._links:
            await namespaces.run_in("", body)
        self._pods.pop(uid, None)
        self._addresses.free(uid)

    def get(self, uid: str) -> PodNetwork | None:
        return self._pods.get(uid)

    def uids(self) -> set[str]:
        return set(self._pods)

    async def connect(self, netns: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host = "127.0.0.1" if host == "localhost" else host
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET

        def make() -> socket.socket:
            return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

        sock = await namespaces.run_in(netns or str(self.node_netns), make)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise

    async def listen_tcp(self, host: str, port: int) -> socket.socket:
        """A listening socket in the node's namespace."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(128)
            return sock

        return await namespaces.run_in(str(self.node_netns), make)

    async def listen_udp(self, host: str, port: int) -> socket.socket:
        """A bound datagram socket in the node's namespace."""

        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind((host, port))
            return sock

        return await namespaces.run_in(str(self.node_netns), make)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a pod to the API, bytes both ways."""
        assert self._api_address is not None
        self._writers.add(writer)
        try:
            host, port = self._api_address()
            far_reader, far_writer = await asyncio.open_connection(host, port)
            self._writers.add(far_writer)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, far_writer))
                    group.create_task(_pump(far_reader, writer))
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        except OSError as error:
            log.debug("forwarding to the API: %s", error)
        finally:
            self._writers.discard(writer)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # one side is gone: so is the other
        writer.transport.abort()
