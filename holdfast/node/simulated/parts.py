"""The rest of a simulated node's machine: images, addresses, volumes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from holdfast.kinds.kind import Obj
from holdfast.node.api import Image, PodNetwork
from holdfast.node.simulated.machine import Machine
from holdfast.node.volumes.manager import NodeVolumes
from holdfast.volumes.api import Plain, Source, Staging, Volume, VolumeError


class SimulatedImages:
    """Every image is there, unless ``is_there`` says otherwise."""

    def __init__(self, is_there: Callable[[str], bool] = lambda _reference: True) -> None:
        self._is_there = is_there

    def find(self, reference: str) -> Image | None:
        if not self._is_there(reference):
            return None
        return Image(f"simulated:{reference}", reference, (), entrypoint=("run",))

    def list(self) -> list[Image]:
        return []


class SimulatedNetwork:
    """Addresses of ``prefix``.0.0/16, kept by the machine."""

    dns_address = ""

    def __init__(self, machine: Machine, prefix: str) -> None:
        self._machine = machine
        self._prefix = prefix
        self._last = 0
        self._taken = set(machine.addresses.values())

    async def start(self) -> None:
        return

    async def close(self, *, remove: bool) -> None:
        return

    async def add(self, uid: str, namespace: str, name: str) -> PodNetwork:
        if uid not in self._machine.addresses:
            while True:
                self._last = self._last % 65000 + 1
                address = f"{self._prefix}.{self._last // 250}.{self._last % 250 + 2}"
                if address not in self._taken:
                    break
            self._machine.addresses[uid] = address
            self._taken.add(address)
        return PodNetwork(self._machine.addresses[uid], "")

    async def remove(self, uid: str) -> None:
        self._taken.discard(self._machine.addresses.pop(uid, ""))

    def get(self, uid: str) -> PodNetwork | None:
        address = self._machine.addresses.get(uid)
        return PodNetwork(address, "") if address else None

    def uids(self) -> set[str]:
        return set(self._machine.addresses)

    async def connect(self, netns: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise OSError(f"{host}:{port}: nothing listens on a simulated node")


class SimulatedEngine(Plain):
    """Volumes on the machine's disk. A volume is never in reach of processes before it is staged."""

    network = False

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self._machine = machine

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        if handle not in self._machine.disk.volumes:
            self._machine.unused.add(handle)
        return Volume(handle, self._machine.disk.create(handle, capacity))

    async def delete(self, source: Source) -> None:
        if source.handle in self._machine.staged.values():
            raise VolumeError(f"volume {source.handle} is mounted: it is deleted when nothing uses it")
        self._machine.disk.delete(source.handle)
        self._machine.unused.discard(source.handle)

    async def expand(self, source: Source, capacity: int) -> int:
        if capacity > self._machine.disk.room:
            raise VolumeError(f"volume {source.handle}: there is no room for {capacity} bytes")
        return self._machine.disk.expand(source.handle, capacity)

    async def stage(self, source: Source, staging: Staging) -> str:
        if source.handle not in self._machine.disk.volumes:
            raise VolumeError(f"volume {source.handle} is not on this disk")
        self._machine.staged[staging.target] = source.handle
        self._machine.unused.discard(source.handle)
        return staging.target

    async def unused(self) -> Collection[str]:
        return frozenset(self._machine.unused)

    async def grow(self, handle: str, target: str) -> None:
        if self._machine.staged.get(target) != handle:
            raise VolumeError(f"volume {handle} is not mounted at {target}")

    async def unstage(self, handle: str, target: str) -> None:
        self._machine.staged.pop(target, None)

    async def close(self) -> None:
        self._machine.staged.clear()


class SimulatedVolumes(NodeVolumes):
    """Claims are found, fenced and mounted as on any node; of all other volumes nothing is made."""

    async def _prepare(self, pod: Obj, volume: Obj) -> str:
        if volume.get("persistentVolumeClaim"):
            return await super()._prepare(pod, volume)
        return str(Path("/simulated") / volume["name"])

    def sub_path(self, uid: str, container: str, number: int, volume: str, below: str) -> str:
        return str(Path(volume) / below)

    async def refresh(self, pod: Obj) -> None:
        return
