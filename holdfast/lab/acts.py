"""A node's own acts on its machine: volumes, mounts, records, fences, instances. Each is a site, as each request is.

The node's process may die before an act, after it was done but before anybody heard, and after; the machine itself may be
lost there. A dead process acts no more, whatever of it still runs to its end. What goes wrong is up to ``faults``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from holdfast.lab.faults import LOSSES, Fault, Faults
from holdfast.lab.storage import Ledger
from holdfast.node.runtimes.api import InstanceConfig, InstanceState
from holdfast.node.simulated.machine import Machine
from holdfast.node.simulated.node import Parts
from holdfast.node.simulated.parts import SimulatedEngine, SimulatedVolumes
from holdfast.node.simulated.runtime import SimulatedRuntime
from holdfast.volumes.api import Source, Staging, Volume

T = TypeVar("T")


class Mortal(Protocol):
    """The node's process."""

    name: str
    lives: int

    def lives_on(self, life: int) -> bool: ...

    def crash_soon(self) -> None: ...


class Ground(Protocol):
    """The world, as far as acts need it."""

    faults: Faults
    ledger: Ledger

    def lose(self, process: str, fault: Fault) -> bool:
        """A machine is lost, and with it the process and all that ran on it."""


class Acts:
    """Of one life of a node's process."""

    def __init__(self, world: Ground, process: Mortal) -> None:
        self._world = world
        self._process = process
        self._life = process.lives
        self.ledger = world.ledger

    async def do(self, site: str, act: Callable[[], Awaitable[T]]) -> T:
        fault = self._begin(site)
        result = await act()
        self._end(fault)
        return result

    def do_now(self, site: str, act: Callable[[], T]) -> T:
        """Of an act that takes no time."""
        fault = self._begin(site)
        result = act()
        self._end(fault)
        return result

    def _begin(self, site: str) -> Fault | None:
        self._live_on()
        fault = self._world.faults.act(self._process.name, f"act {site}")
        if fault is Fault.CRASH_BEFORE:
            self._process.crash_soon()
        self._live_on()
        return fault

    def _end(self, fault: Fault | None) -> None:
        if fault in LOSSES:
            self._world.lose(self._process.name, fault)
        elif fault in (Fault.CRASH_NO_REPLY, Fault.CRASH_AFTER):
            self._process.crash_soon()
        if fault is not Fault.CRASH_AFTER:
            self._live_on()

    def _live_on(self) -> None:
        if not self._process.lives_on(self._life):
            raise asyncio.CancelledError

    def parts(self) -> Parts:
        return Parts(partial(WatchedRuntime, self), partial(WatchedEngine, self), partial(WatchedMounts, self))


class WatchedRuntime(SimulatedRuntime):
    def __init__(self, acts: Acts, machine: Machine) -> None:
        super().__init__(machine)
        self._acts = acts

    async def run(self, config: InstanceConfig) -> InstanceState:
        return await self._acts.do("start instance", partial(super().run, config))

    async def kill(self, id: str, signal: str) -> None:
        await self._acts.do("kill instance", partial(super().kill, id, signal))

    async def remove(self, id: str) -> None:
        await self._acts.do("remove instance", partial(super().remove, id))


class WatchedEngine(SimulatedEngine):
    def __init__(self, acts: Acts, name: str, machine: Machine) -> None:
        super().__init__(name, machine)
        self._acts = acts

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        usual = super().create

        async def make() -> Volume:
            self._acts.ledger.made(self._machine, handle, capacity)
            return await usual(handle, capacity, parameters, secrets)

        return await self._acts.do("create volume", make)

    async def delete(self, source: Source) -> None:
        await self._acts.do("delete volume", partial(super().delete, source))

    async def expand(self, source: Source, capacity: int) -> int:
        return await self._acts.do("expand volume", partial(super().expand, source, capacity))

    async def stage(self, source: Source, staging: Staging) -> str:
        return await self._acts.do("mount volume", partial(super().stage, source, staging))

    async def grow(self, handle: str, target: str) -> None:
        usual = super().grow

        async def take_up() -> None:
            await usual(handle, target)
            self._acts.ledger.grown(handle)

        await self._acts.do("grow filesystem", take_up)

    async def unstage(self, handle: str, target: str) -> None:
        await self._acts.do("unmount volume", partial(super().unstage, handle, target))


class WatchedMounts(SimulatedVolumes):
    def __init__(self, acts: Acts, *given: Any) -> None:
        super().__init__(*given)
        self._acts = acts
        usual = self._claims.keep_fence

        async def keep_fence(path: Path, text: str) -> None:
            await acts.do("keep fence", partial(usual, path, text))

        self._claims.keep_fence = keep_fence

    def _record(self, uid: str) -> None:
        self._acts.do_now("write record", partial(super()._record, uid))

    def _drop(self, uid: str) -> None:
        self._acts.do_now("drop record", partial(super()._drop, uid))
