"""Trouble outside of any request: networks part, machines lose power, processes end, members fall sick, clocks jump, users err.

One task beside the story, until the world is healed. Each kind that happened is counted with the faults that fired.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

from holdfast.controllers.nodes.decide import OUT_OF_SERVICE
from holdfast.kinds.core.claims import pinned_to
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from holdfast.lab.faults import Fault
from holdfast.lab.judge import CLAIM, NODE, POD, VOLUME
from holdfast.lab.stage import Stage
from holdfast.machinery import meta
from holdfast.node.runtimes.api import InstanceConfig

SEEN = 60.0
"""Seconds until a user acts on a machine that is gone."""
TAINT = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}


async def bury(stage: Stage, name: str, fault: Fault) -> None:
    """The user's part when a machine is lost: what he says of its Node, and of the volumes that lie there."""
    await asyncio.sleep(SEEN)
    if fault is Fault.LOST_THERE:
        await _give_up(stage, name)
    else:
        await _repair(stage, name)


async def _repair(stage: Stage, name: str) -> None:
    """Out of service until it is back, with its disk."""
    judge, process = stage.judge, stage.world.processes[name]
    await stage.do(lambda: _taint(stage, name, [TAINT]))
    await stage.until(lambda: "its pods are left" if any(p["spec"].get("nodeName") == name for p in judge.objects(POD)) else "")
    process.halted = False
    process.start()
    await stage.until(lambda: "" if _is_ready(judge.object(f"{NODE}{name}")) else f"{name} does not come back")
    await stage.do(lambda: _taint(stage, name, []))


async def _taint(stage: Stage, name: str, ours: list[dict[str, str]]) -> None:
    found = await stage.world.user.get(NODES, name)
    others = [taint for taint in found["spec"].get("taints") or [] if taint["key"] != OUT_OF_SERVICE]
    metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
    await stage.world.user.patch(NODES, name, "", {"metadata": metadata, "spec": {"taints": [*others, *ours] or None}})


def _is_ready(node: Obj | None) -> bool:
    return node is not None and meta.condition_true(node, "Ready")


async def _give_up(stage: Stage, name: str) -> None:
    """Node, claims and volumes are removed by hand, finalizers too: nobody is left there who could."""
    judge, user = stage.judge, stage.world
    user.ledger.away.add(name)
    await stage.do(lambda: user.user.delete(NODES, name))
    while lost := [volume for volume in judge.objects(VOLUME) if pinned_to(volume) == name]:
        claims = {meta.uid(claim): claim for claim in judge.objects(CLAIM)}
        for volume in lost:
            claim = claims.get((volume["spec"].get("claimRef") or {}).get("uid", ""))
            if claim is None:
                await stage.do(partial(_remove, stage, volume))
            elif not meta.is_terminating(claim):
                where = meta.name(claim), meta.namespace(claim)
                await stage.do(lambda w=where: user.user.delete(PERSISTENTVOLUMECLAIMS, *w))  # type: ignore[misc]
        await asyncio.sleep(1)


async def _remove(stage: Stage, volume: Obj) -> None:
    user, name = stage.world.user, meta.name(volume)
    if not meta.is_terminating(volume):
        await user.delete(PERSISTENTVOLUMES, name, uid=meta.uid(volume))
    await user.patch(PERSISTENTVOLUMES, name, "", {"metadata": {"uid": meta.uid(volume), "finalizers": None}})


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
