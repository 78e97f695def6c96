"""The node process: pods, volumes, network, nameserver, proxy and streams, wired and supervised until TERM.

What needs no API comes first: instances, network and volumes of a former life are found as they are. A TERM leaves
the members running, unless DATA/run/down says that everything shall stop; then each ends gracefully and nothing of ours
stays on the machine.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from urllib.parse import urlsplit

from holdfast.client.events import EventRecorder
from holdfast.client.http import HttpClient
from holdfast.client.informer import Informer
from holdfast.controllers.provisioner import Provisioner
from holdfast.kinds.resources import ENDPOINTSLICES, PODS, SERVICES
from holdfast.lib import kubeconfig, privileged
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
from holdfast.node.volumes import NodeVolumes, VolumeGrower
from holdfast.system import lifecycle, simulated
from holdfast.system.lifecycle import ADDRESS
from holdfast.system.pidfile import write_pid
from holdfast.system.settings import Settings
from holdfast.volumes.api import Engine
from holdfast.volumes.builtin import BuiltinEngine
from holdfast.volumes.directory import DirectoryEngine
from holdfast.volumes.gluster import GlusterEngine
from holdfast.volumes.nfs import NfsEngine
from holdfast.volumes.rbd import RbdEngine

log = logging.getLogger("holdfast.node")

BUSYBOX = "busybox"


async def run_node(settings: Settings) -> None:
    """Serves until TERM or INT. Raises RuntimeError naming what is in the way."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with lifecycle.alone(settings):
        if settings.node_runtime == "simulated":
            await simulated.run(settings, stop)
        else:
            await _Node(settings).run(stop)


def _engine(settings: Settings) -> BuiltinEngine | DirectoryEngine:
    """Of this node's disk. Raises RuntimeError when what is asked for is not to be had."""
    images = settings.volumes == "image" or (settings.volumes == "auto" and privileged.has_loops())
    if images and not privileged.has_loops():
        raise RuntimeError("--volumes image needs root and /dev/loop-control (modprobe loop); --volumes directory does without")
    if not images:
        log.warning("volumes are plain directories: nothing limits their size (no loop devices, or --volumes directory)")
    kind = BuiltinEngine if images else DirectoryEngine
    return kind(settings.data / "volumes", trash_hours=settings.trash_hours)


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
        self._engine = _engine(settings)
        root = settings.data / "volumes"
        engines: tuple[Engine, ...] = (self._engine, RbdEngine(root), GlusterEngine(root), NfsEngine())
        self._engines = {engine.name: engine for engine in engines}

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
    def _may_remove(self) -> bool:
        """Nothing is taken away from under an instance that would not end."""
        running = [state.id for state in self._runtime.instances().values() if state.phase == "running"]
        if lifecycle.is_down(self._settings) and running:
            log.error("still running, so mounts and networks stay: %s", ", ".join(running))
        return lifecycle.is_down(self._settings) and not running

    async def _with_client(self, stop: asyncio.Event) -> None:
        if not await lifecycle.wait_for_keys(self._settings, stop):
            return
        client = HttpClient.from_kubeconfig(self._settings.node_kubeconfig, user_agent="kubelet")
        volumes = NodeVolumes(
            client,
            self._engines,
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
        streams = StreamServer(
            self._runtime, agent, self._network, tls=lifecycle.stream_tls(settings), host=ADDRESS, port=lifecycle.kept_port(settings)
        )
        provisioner = Provisioner(client, self._engine, settings.node_name, provisioner_events, time.time)
        grower = VolumeGrower(client, volumes, events, self._clock.now, provisioner.claims, provisioner.volumes, pods.list)
        await streams.start()
        lifecycle.keep_port(settings, streams.port)
        log.info("node %s: streams at https://%s:%d", settings.node_name, ADDRESS, streams.port)
        try:
            async with lifecycle.background(
                agent.run(), provisioner.run(), self._engine.run(), grower.run(), events.run(), provisioner_events.run()
            ) as failed:
                write_pid(settings.pid_file("node"), os.getpid(), serves=True)
                await lifecycle.until(stop, failed)
                if stop.is_set() and lifecycle.is_down(self._settings):
                    await agent.stop_all()
        finally:
            await streams.close()
