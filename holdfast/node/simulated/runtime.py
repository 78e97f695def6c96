"""The runtime of a simulated node: starts and ends entries of a ``Machine``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from holdfast.kinds.kind import Obj
from holdfast.node.pods.probes import Prober, Result, Target
from holdfast.node.runtimes.api import InstanceConfig, InstanceState, RuntimeFailure, Streams
from holdfast.node.simulated.machine import Machine


class SimulatedRuntime:
    name, version = "simulated", "1"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._followed: list[Callable[[InstanceState], None]] = []

    async def start(self) -> None:
        return

    async def close(self) -> None:
        for callback in self._followed:
            if callback in self._machine.watchers:
                self._machine.watchers.remove(callback)

    def instances(self) -> Mapping[str, InstanceState]:
        return self._machine.instances

    def of_pod(self, uid: str) -> Mapping[str, InstanceState]:
        return dict(self._machine.of_pod(uid))

    def on_exit(self, callback: Callable[[InstanceState], None]) -> None:
        self._followed.append(callback)
        self._machine.watchers.append(callback)

    async def run(self, config: InstanceConfig) -> InstanceState:
        await asyncio.sleep(self._machine.start_seconds)
        for fence in config.fence_files:
            others = self._machine.holders(fence) - {config.pod_uid}
            if others:
                raise RuntimeFailure(
                    "CreateContainerError", f"the volume fence {fence} is held by {', '.join(others)}, which still runs"
                )
        if config.id in self._machine.instances:
            raise RuntimeFailure("CreateContainerError", f"instance {config.id} is there already")
        return self._machine.start(config)

    async def kill(self, id: str, signal: str) -> None:
        self._machine.signal(id, signal)

    async def remove(self, id: str) -> None:
        self._machine.remove(id)

    async def exec(self, id: str, command: list[str], *, tty: bool = False, stdin: bool = False) -> Streams:
        raise RuntimeFailure("NotOffered", "there is nothing to run a command in: this node is simulated")

    async def attach(self, id: str) -> Streams:
        raise RuntimeFailure("NotOffered", "there is nothing to attach to: this node is simulated")


class SimulatedProber(Prober):
    """Finds containers as the machine says they are."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def ask(self, probe: Obj, container: Obj, target: Target) -> Result:
        await asyncio.sleep(0)
        config = self._machine.configs.get(target.instance)
        well = config is not None and self._machine.is_well(config)
        return Result(well, "" if well else "simulated: it is not well")

    async def run(self, instance: str, command: list[str]) -> Result:
        return Result(True)
