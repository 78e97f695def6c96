"""Trouble outside of any request: networks part, machines lose power, processes end, members fall sick, clocks jump, users err.

One task beside the story, until the world is healed. Each kind that happened is counted with the faults that fired.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from holdfast.lab.faults import Fault
from holdfast.lab.judge import POD
from holdfast.machinery import meta
from holdfast.node.runtimes.api import InstanceConfig

if TYPE_CHECKING:
    from holdfast.lab.stories import Stage


class Trouble:
    """``kinds``: what this seed knows of."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._world = stage.world
        self._chance = random.Random(f"trouble {seed}")
        known: dict[Fault, Callable[[], Awaitable[None]]] = {
            Fault.PARTITION: self._partition,
            Fault.POWER: self._power,
            Fault.NODE_RESTART: self._restart,
            Fault.PROCESS_DIES: self._exit,
            Fault.SICK: self._sick,
            Fault.UNKILLABLE: self._unkillable,
            Fault.CLOCK: self._clock,
            Fault.USER_DELETES: self._delete,
            Fault.USER_FORCES: self._force,
        }
        self.kinds = {fault: what for fault, what in known.items() if self._chance.random() < 0.35}

    async def run(self) -> None:
        while self.kinds:
            await asyncio.sleep(self._chance.uniform(0, 15))
            fault = self._chance.choice([*self.kinds])
            self._world.faults.fired["trouble", fault] += 1
            await self.kinds[fault]()

    def _node(self) -> str:
        return self._chance.choice(sorted(self._world.machines))

    def _member(self) -> str:
        names = sorted(meta.name(pod) for pod in self._world.judge.objects(POD))
        return self._chance.choice(names) if names else ""

    async def _partition(self) -> None:
        """Nothing comes through, or only requests, or only replies."""
        name = self._chance.choice([*sorted(self._world.machines), "controllers"])
        way = self._chance.randrange(3)
        self._world.partition(name, requests=way != 1, replies=way != 2)
        await asyncio.sleep(self._chance.choice((1, 10, 60, 400)))
        self._world.join(name)

    async def _power(self) -> None:
        name = self._node()
        self._world.processes[name].crash_soon()
        self._world.machines[name].power_off()

    async def _restart(self) -> None:
        self._world.processes[self._node()].crash_soon()

    async def _exit(self) -> None:
        """A program ends by itself."""
        machine = self._world.machines[self._node()]
        running = sorted(config.id for config in machine.living())
        if running:
            machine.end(self._chance.choice(running), self._chance.choice((0, 1, 137)))

    async def _sick(self) -> None:
        """Probes of one member fail for a while."""
        name = self._member()

        def is_well(config: InstanceConfig) -> bool:
            return config.pod_name != name

        for machine in self._world.machines.values():
            machine.is_well = is_well
        await asyncio.sleep(self._chance.uniform(3, 40))
        for machine in self._world.machines.values():
            machine.is_well = lambda _config: True

    async def _unkillable(self) -> None:
        """Signals have no effect for a while."""
        machine = self._world.machines[self._node()]
        machine.heeds = lambda _config, _signal: False
        await asyncio.sleep(self._chance.uniform(5, 60))
        machine.heeds = lambda _config, _signal: True

    async def _clock(self) -> None:
        jump = self._chance.choice((-3600.0, -5.0, 5.0, 3600.0, 86400.0))
        self._stage.clocks_apart += abs(jump)
        self._world.clocks[self._chance.choice(sorted(self._world.clocks))].skew += jump

    async def _delete(self) -> None:
        if name := self._member():
            await self._stage.remove(name)

    async def _force(self) -> None:
        if name := self._member():
            await self._stage.remove(name, force=True)
