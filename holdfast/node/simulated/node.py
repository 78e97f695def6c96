"""A simulated node, put together: registration, pods and claims over one ``Machine``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PODS
from holdfast.lib.clock import Clock
from holdfast.node.api import Images
from holdfast.node.pods import model
from holdfast.node.pods.files import Cluster
from holdfast.node.pods.manager import PodManager
from holdfast.node.pods.services import PodServices
from holdfast.node.registration import Registration
from holdfast.node.simulated.machine import Machine
from holdfast.node.simulated.parts import SimulatedEngine, SimulatedImages, SimulatedNetwork, SimulatedVolumes
from holdfast.node.simulated.runtime import SimulatedProber, SimulatedRuntime
from holdfast.node.volumes import VolumeGrower
from holdfast.volumes.api import Engine

log = logging.getLogger("holdfast.node")

ADDRESS = "127.0.0.1"
STOP_SECONDS = 110.0
CAPACITY = {"cpu": "10000", "memory": "100Ti", "ephemeral-storage": "100Ti", "pods": "100000"}


class Runs(Protocol):
    claims: Informer
    volumes: Informer

    async def run(self) -> None: ...


Provisioning = Callable[[Client, Engine, str, EventRecorder, Callable[[], float]], Runs]
"""Client, engine, name of the node, recorder, the time."""


@dataclass(frozen=True)
class Parts:
    """What a simulated node is made of: the lab puts its own around them, to be told of each act."""

    runtime: Callable[[Machine], SimulatedRuntime] = SimulatedRuntime
    engine: Callable[[str, Machine], SimulatedEngine] = SimulatedEngine
    volumes: Callable[..., SimulatedVolumes] = SimulatedVolumes
    """As ``NodeVolumes`` is made."""


class SimulatedNode:
    """One life of the node's process. ``directory`` and ``machine`` outlive it."""

    def __init__(
        self,
        client: Client,
        machine: Machine,
        directory: Path,
        clock: Clock,
        *,
        driver: str,
        provisioner: Provisioning,
        prefix: str = "10.88",
        images: Images | None = None,
        stream_port: Callable[[], int] = lambda: 0,
        parts: Parts | None = None,
    ) -> None:
        """``driver``: the storage engine it stands in for, ``provisioner``: who makes its volumes; ``prefix``: of its pods' addresses;
        ``stream_port``: 0 serves no streams.
        """
        self._client = client
        directory.mkdir(parents=True, exist_ok=True)
        images = images or SimulatedImages()
        parts = parts or Parts()
        self._runtime = parts.runtime(machine)
        engine = parts.engine(driver, machine)
        self._registration = Registration(client, machine.name, clock, directory, images, "simulated://1", ADDRESS, stream_port)
        self._registration.capacity = CAPACITY
        self._volumes = parts.volumes(client, {driver: engine}, directory, machine.name, machine.boot_id, clock, self._capacity)
        self._events = EventRecorder(client, "kubelet", machine.name, now=clock.now)
        made = EventRecorder(client, driver, machine.name, now=clock.now)
        self._recorders = (self._events, made)
        self._provisioner = provisioner(client, engine, machine.name, made, clock.now)
        self._pods = Informer(client, PODS, fields=f"spec.nodeName={machine.name}")
        caches = (self._provisioner.claims, self._provisioner.volumes)
        self._grower = VolumeGrower(client, self._volumes, self._events, clock.now, *caches, self._pods.list)
        services = PodServices(
            client,
            self._runtime,
            images,
            self._volumes,
            SimulatedNetwork(machine, prefix),
            self._events,
            clock,
            Cluster("", "cluster.local"),
            directory / "node" / "pods",
            directory / "node" / "logs",
            host_ip=ADDRESS,
            capacity=self._capacity,
            has_files=False,
            refresh_seconds=0,
        )
        services.prober = SimulatedProber(machine)
        services.starting = asyncio.Semaphore(1000)
        self._manager = PodManager(services)
        self._synced = False
        self._pods.on_change(self._changed)

    def _capacity(self) -> dict[str, Any]:
        return self._registration.capacity

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        if not self._synced:
            return
        if old is not None and (new is None or model.uid(old) != model.uid(new)):
            self._manager.missing(old)
        if new is not None:
            self._manager.update(new)

    async def run(self) -> None:
        """Until cancelled; the machine keeps what runs."""
        await self._volumes.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._manager, self._registration, self._pods, self._provisioner, self._grower, *self._recorders):
                    tasks.create_task(work.run())
                await self._pods.wait_synced()
                await self._registration.registered.wait()
                self._synced = True
                for pod in self._pods.list():
                    self._manager.update(pod)
                self._manager.take_up(self._pods.list())
        finally:
            await self._runtime.close()

    async def stop_all(self, seconds: float = STOP_SECONDS) -> None:
        """Every pod ends gracefully; who has not ended by then is named in the log."""
        try:
            async with asyncio.timeout(seconds):
                await self._manager.stop_all()
        except TimeoutError:
            log.warning("not stopped after %.0f s: %s", seconds, ", ".join(self._manager.unstopped()))
