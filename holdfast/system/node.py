"""The node process: pods, volumes, network, nameserver, proxy and streams, wired and supervised until TERM.

What needs no API comes first: instances, network and volumes of a former life are found as they are. A TERM leaves
the members running, unless DATA/run/down says that everything shall stop; then each ends gracefully and nothing of ours
stays on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.client.events import EventRecorder
from holdfast.client.http import HttpClient
from holdfast.client.informer import Informer
from holdfast.kinds.resources import ENDPOINTSLICES, PODS, SERVICES
from holdfast.lib import kubeconfig, pki
from holdfast.lib.clock import SystemClock
from holdfast.node.agent import NodeAgent
from holdfast.node.images.busybox import build_busybox
from holdfast.node.images.store import ImageStore
from holdfast.node.machine import boot_id
from holdfast.node.nameserver import Nameserver, Zone
from holdfast.node.network import BridgeNetwork
from holdfast.node.pods.files import Cluster
from holdfast.node.pods.services import PodServices
from holdfast.node.proxy import ServiceProxy
from holdfast.node.registration import Registration
from holdfast.node.runtimes.oci import OciRuntime
from holdfast.node.streams import StreamServer
from holdfast.node.volumes import NodeVolumes, Provisioner
from holdfast.system.pidfile import write_pid
from holdfast.system.settings import Settings
from holdfast.volumes.builtin import BuiltinEngine

log = logging.getLogger("holdfast.node")

ADDRESS = "127.0.0.1"
"""Where the streams are served: server and node share this machine's loopback."""
BUSYBOX = "busybox"
KEY_SECONDS = 60.0


async def run_node(settings: Settings) -> None:
    """Serves until TERM or INT. Raises RuntimeError naming what is in the way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with _alone(settings):
        await _Node(settings).run(stop)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One node on one data directory."""
    run = settings.data / "run"
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (run / "node.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another node runs on {settings.data}: `holdfast down --data {settings.data}` stops it") from None
        write_pid(settings.pid_file("node"), os.getpid())
        yield


class _Node:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._images = ImageStore(settings.data)
        self._runtime = OciRuntime(settings.data / "node", settings.run, settings.instance_id)
        self._network = BridgeNetwork(
            settings.run,
            settings.instance_id,
            settings.data,
            settings.pod_cidr,
            settings.service_cidr,
            settings.dns_address,
            settings.advertise[1],
            self._api_address,
        )
        self._engine = BuiltinEngine(settings.data / "volumes")

    def _api_address(self) -> tuple[str, int]:
        """Where the API answers now: a server that was started anew may have another port."""
        address = urlsplit(kubeconfig.load(self._settings.node_kubeconfig).server)
        return address.hostname or ADDRESS, address.port or 443

    async def run(self, stop: asyncio.Event) -> None:
        if self._images.find(BUSYBOX) is None:
            await asyncio.to_thread(build_busybox, self._images)
        await self._runtime.start()
        try:
            await self._network.start()
            await self._with_client(stop)
        finally:
            down = self._may_remove
            await self._network.close(remove=down)
            await (self._runtime.shutdown() if down else self._runtime.close())

    @property
    def _is_down(self) -> bool:
        return (self._settings.data / "run" / "down").exists()

    @property
    def _may_remove(self) -> bool:
        """Nothing is taken away from under an instance that would not end."""
        running = [state.id for state in self._runtime.instances().values() if state.phase == "running"]
        if self._is_down and running:
            log.error("still running, so mounts and networks stay: %s", ", ".join(running))
        return self._is_down and not running

    async def _with_client(self, stop: asyncio.Event) -> None:
        if not await self._wait_for_keys(stop):
            return
        client = HttpClient.from_kubeconfig(self._settings.node_kubeconfig, user_agent="kubelet")
        volumes = NodeVolumes(
            client,
            {self._engine.name: self._engine},
            self._settings.data,
            self._settings.node_name,
            boot_id(),
            self._clock,
            dict,
        )
        try:
            await volumes.start()
            await self._with_parts(client, volumes, stop)
            await volumes.close(remove=self._may_remove)
        finally:
            await client.close()

    async def _wait_for_keys(self, stop: asyncio.Event) -> bool:
        """The server writes this node's keys when it first starts. False when told to stop first."""
        wanted = (self._settings.node_kubeconfig, self._settings.data / "node" / "pki" / "ca.crt")
        for _ in range(int(KEY_SECONDS / 0.05)):
            if all(path.exists() for path in wanted):
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await stop.wait()
                    return False
        raise RuntimeError(f"no keys for this node in {wanted[0].parent} after {KEY_SECONDS:.0f} s: is the server running?")

    @property
    def _port_file(self) -> Path:
        return self._settings.data / "node" / "streams.port"

    @property
    def _kept_port(self) -> int:
        """The port of the former life, which the API still names; 0 (any) when there is none or it is taken."""
        try:
            port = int(self._port_file.read_text())
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((ADDRESS, port))
        except (OSError, ValueError):
            return 0
        return port

    def _stream_tls(self) -> ssl.SSLContext:
        directory = self._settings.data / "node" / "pki"
        credential = pki.load(directory, "serving")
        return pki.server_context(credential, (directory / "ca.crt").read_bytes(), directory, require_client=True)

    async def _with_parts(self, client: HttpClient, volumes: NodeVolumes, stop: asyncio.Event) -> None:
        settings = self._settings
        events = EventRecorder(client, "kubelet", settings.node_name)
        provisioner_events = EventRecorder(client, self._engine.name, settings.node_name)
        pods = Informer(client, PODS, fields=f"spec.nodeName={settings.node_name}")
        services, slices = Informer(client, SERVICES), Informer(client, ENDPOINTSLICES)
        registration = Registration(
            client,
            settings.node_name,
            self._clock,
            settings.data,
            self._images,
            f"{self._runtime.name}://{self._runtime.version}",
            ADDRESS,
            lambda: streams.port,
            settings.pod_cidr,
        )
        volumes.capacity = lambda: registration.capacity
        parts = PodServices(
            client,
            self._runtime,
            self._images,
            volumes,
            self._network,
            events,
            self._clock,
            Cluster(settings.dns_address, settings.domain),
            settings.data / "node" / "pods",
            settings.data / "node" / "logs",
            node_netns=str(self._network.node_netns),
            node_ip=self._network.gateway,
            host_ip=ADDRESS,
            services=services.list,
            capacity=lambda: registration.capacity,
        )
        zone = Zone(settings.domain, settings.dns_address, (settings.pod_cidr, settings.service_cidr))
        nameserver = Nameserver(
            zone, settings.dns_address, self._network.listen_udp, self._network.listen_tcp, settings.data / "node" / "dns.port"
        )
        proxy = ServiceProxy(self._network.node_netns, settings.service_cidr, services.list, slices.list)
        agent = NodeAgent(parts, pods, services, slices, zone, nameserver, proxy, registration)
        streams = StreamServer(self._runtime, agent, self._network, tls=self._stream_tls(), host=ADDRESS, port=self._kept_port)
        provisioner = Provisioner(client, self._engine, settings.node_name, provisioner_events)
        await streams.start()
        self._port_file.write_text(f"{streams.port}\n")
        log.info("node %s: streams at https://%s:%d", settings.node_name, ADDRESS, streams.port)
        try:
            async with _background(agent.run(), provisioner.run(), events.run(), provisioner_events.run()) as failed:
                write_pid(settings.pid_file("node"), os.getpid(), serves=True)
                await _either(stop, failed)
                if stop.is_set() and self._is_down:
                    await agent.stop_all()
        finally:
            await streams.close()


@contextlib.asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
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


async def _either(stop: asyncio.Event, failed: asyncio.Task[None]) -> None:
    """Until told to stop. Raises what made the node fail."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
            raise RuntimeError("the node's work ended by itself; start it again and see its log")
    finally:
        stopped.cancel()
