"""A whole cluster in one process and in virtual time: the API server, every controller, nodes on simulated machines.

The code is the product's own; what is simulated is the machine below it and the wire between its parts. A component is a
``Process``: it dies in the middle of a request, comes back later, and finds what is left. One number repeats a run.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import gc
import shutil
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from holdfast.client.informer import Informer
from holdfast.controllers import run_all
from holdfast.controllers.provisioner import Provisioner
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import ENDPOINTSLICES, SERVICES
from holdfast.lab.acts import Acts
from holdfast.lab.faults import Fault, Faults
from holdfast.lab.judge import Judge
from holdfast.lab.loop import SeededLoop, simulate
from holdfast.lab.storage import Ledger
from holdfast.lab.transport import LabClient, Stream
from holdfast.machinery.errors import UnknownOutcomeError
from holdfast.node.nameserver import Zone
from holdfast.node.runtimes.api import InstanceConfig, InstanceState
from holdfast.node.simulated.machine import Disk, Machine
from holdfast.node.simulated.node import SimulatedNode
from holdfast.node.simulated.parts import SimulatedImages
from holdfast.registry.bootstrap import bootstrap
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.registry.request import User
from holdfast.store.api import Change, Record
from holdfast.store.memory import MemoryStore
from holdfast.volumes.builtin import BuiltinEngine

T = TypeVar("T")
SCRATCH = Path("/dev/shm")
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
MISSING = "missing"
"""Images whose name begins so are on no node."""
TABLE = builtin_table()
COLLECTED = {
    "Pod",
    "PersistentVolumeClaim",
    "ControllerRevision",
    "StatefulSet",
    "ReplicaSet",
    "Deployment",
    "Job",
    "Service",
    "Endpoints",
    "EndpointSlice",
}
"""Kinds that stories make: following all others costs each world more than its story does."""
_bases: dict[int, MemoryStore] = {}


def new_uid(loop: SeededLoop) -> str:
    return str(uuid.UUID(int=loop.random.getrandbits(128), version=4))


BASE = 2**64
"""The seed of that: no world's, nor its negative, which is the same to ``random``. Else uids would meet."""
BEFORE = 10.0
"""Virtual seconds in which the first cluster comes to rest, before time 0."""


async def _first(loop: SeededLoop, scratch: Path, nodes: int) -> MemoryStore:
    """An empty cluster at rest: controllers have said what they have to say, nodes are registered."""
    store = MemoryStore()
    registry = Registry(store, TABLE, loop, new_uid=lambda: new_uid(loop))
    await registry.start()
    await bootstrap(registry, ca_pem="lab")
    await registry.close()
    world = World(loop, scratch, store, nodes=nodes)
    await world.start()
    await asyncio.sleep(BEFORE)
    await world.close()
    return world.store


def run_world(seed: int, story: Callable[[World], Coroutine[Any, Any, T]], faults: Faults | None = None, *, nodes: int = 2) -> T:
    """A world, until ``story`` is told."""
    if nodes not in _bases:  # what every cluster begins with, made once
        with _scratch() as scratch:
            _bases[nodes] = simulate(BASE, lambda loop: _first(loop, scratch, nodes), begin=-BEFORE - 1)
        gc.freeze()

    async def main(loop: SeededLoop) -> T:
        world = World(loop, scratch, _bases[nodes], faults, nodes=nodes)
        await world.start()
        try:
            return await story(world)
        finally:
            await world.close()

    with _scratch() as scratch:
        return simulate(seed, main)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="holdfast-lab-", dir=SCRATCH if SCRATCH.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class SkewedClock:
    """The clock of one machine: it may be wrong, and jump."""

    def __init__(self, loop: SeededLoop) -> None:
        self._loop = loop
        self.skew = 0.0

    def now(self) -> float:
        return self._loop.now() + self.skew

    def monotonic(self) -> float:
        return self._loop.monotonic()


class TruthStore(MemoryStore):
    """The store, whose every commit somebody sees at once."""

    def __init__(self, base: MemoryStore) -> None:
        super().__init__()
        self.take(base)
        self.told: Callable[[Change, Record | None], None] = lambda _change, _previous: None

    def live(self) -> Mapping[str, Record]:
        return self._live

    def below(self, prefix: str) -> list[Record]:
        begin, end = bisect.bisect_left(self._keys, prefix), bisect.bisect_left(self._keys, prefix + "\uffff")
        return [self._live[key] for key in self._keys[begin:end]]

    def _commit(self, change: Change, previous: Record | None) -> int:
        revision = super()._commit(change, previous)
        self.told(change, previous)
        return revision


class WatchedMachine(Machine):
    """A machine whose every start the judge sees."""

    judge: Judge
    ledger: Ledger

    def start(self, config: InstanceConfig) -> InstanceState:
        self.judge.started(self, config)
        self.ledger.started(self, config)
        return super().start(config)


class WatchedVolumes(dict[str, list[str]]):
    """``erased`` is told of each handle before its data goes."""

    erased: Callable[[str], None]

    def pop(self, handle: str, default: Any = None) -> Any:
        if handle in self:
            self.erased(handle)
        return super().pop(handle, default)


class Process:
    """One component. ``life`` is one life of it; ``down`` seconds pass between a death and the next life."""

    def __init__(self, world: World, name: str, life: Callable[[], Coroutine[Any, Any, None]], down: float = 2.0) -> None:
        self._world = world
        self.name = name
        self._life = life
        self._down = down
        self._task: asyncio.Task[None] | None = None
        self._again: asyncio.Task[None] | None = None
        self.lives = 0
        self.halted = False

    def start(self) -> None:
        self.lives += 1
        self._task = asyncio.create_task(self._life(), name=self.name)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._world.failures.append(f"{self.name} failed: {task.exception()!r}")

    def lives_on(self, life: int) -> bool:
        return self._task is not None and self.lives == life

    def crash_soon(self) -> None:
        """It dies before anything else of it runs."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._world.cut(self.name)
        task.cancel()
        self._again = asyncio.create_task(self._revive(task))

    async def crash(self) -> None:
        """Called from within: never returns."""
        self.crash_soon()
        await asyncio.get_running_loop().create_future()

    async def _revive(self, task: asyncio.Task[None]) -> None:
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(self._world.loop.random.uniform(0.1, 2) * self._down)
        if not self.halted:
            self.start()

    async def halt(self) -> None:
        """It stays away."""
        self.halted = True
        tasks = [task for task in (self._task, self._again) if task is not None]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """``faults`` decides what goes wrong. Owned by ``simulate``'s loop."""

    def __init__(self, loop: SeededLoop, scratch: Path, base: MemoryStore, faults: Faults | None = None, *, nodes: int = 2) -> None:
        self.loop = loop
        self.faults = faults or Faults()
        self.scratch = scratch
        self.store = TruthStore(base)
        self.machines: dict[str, WatchedMachine] = {}
        self.judge = Judge(loop, self.store, self.machines)
        self.registry: Registry
        volumes = WatchedVolumes()
        self.disk = Disk(volumes)
        """Storage that every node reaches."""
        self.ledger = Ledger(self.judge, self.machines, self.disk, scratch)
        volumes.erased = self._erased
        self.store.told = self._committed
        self.lost: set[str] = set()
        """Machines that were lost, and did not come back by themselves."""
        self.on_loss: Callable[[str, Fault], None] = lambda _name, _fault: None
        """Told of a machine that was lost and does not come back by itself."""
        self.processes: dict[str, Process] = {}
        self.clocks = {"server": SkewedClock(loop)}
        """Of the server's machine, where the controllers run too, and of each node."""
        self.failures: list[str] = []
        self.zone = Zone("cluster.local", "10.96.0.10", ("10.192.0.0/10", "10.96.0.0/12"))
        self.unreached: set[str] = set()
        """Processes whose requests do not arrive."""
        self.unheard: set[str] = set()
        """Processes to which no reply arrives."""
        self._up = asyncio.Event()
        self._streams: dict[Stream, str] = {}
        self._serving: set[asyncio.Task[Any]] = set()
        self._rising: asyncio.Task[None] | None = None
        for number in range(nodes):
            self._add_node(f"node-{number}", f"10.{200 + number}")

    def _add_node(self, name: str, prefix: str) -> None:
        clock = self.clocks[name] = SkewedClock(self.loop)
        machine = self.machines[name] = WatchedMachine(name, clock, self.disk)
        machine.judge, machine.ledger = self.judge, self.ledger
        machine.start_seconds, machine.end_seconds = 0.2, 0.3

        async def life() -> None:
            user = User(f"system:node:{name}", ("system:nodes", "system:authenticated"))
            client = LabClient(self, self.processes[name], user, "kubelet")
            images = SimulatedImages(lambda reference: not reference.startswith(MISSING))
            node = SimulatedNode(
                client,
                machine,
                self.scratch / name,
                clock,
                driver=BuiltinEngine.name,
                provisioner=Provisioner,
                prefix=prefix,
                images=images,
                parts=Acts(self, self.processes[name]).parts(),
            )
            await node.run()

        self.processes[name] = Process(self, name, life)

    def _committed(self, change: Change, previous: Record | None) -> None:
        self.judge.committed(change, previous)
        self.ledger.committed(change, previous)

    def _erased(self, handle: str) -> None:
        self.judge.erased(handle)
        self.ledger.erased(handle)

    def lose(self, process: str, fault: Fault) -> bool:
        """The machine of a node's process is lost, or one of them by turns; after a loss of power it comes back by itself.

        Whether it was the machine of that process.
        """
        names = sorted(self.machines)
        name = process if process in self.machines else names[len(self.faults.writes) % len(names)]
        if self.processes[name].halted:
            return False
        self.processes[name].halted = fault is not Fault.POWER_THERE
        self.processes[name].crash_soon()
        self.cut(name)
        self.machines[name].power_off()
        if fault is not Fault.POWER_THERE:
            self.lost.add(name)
            self.on_loss(name, fault)
        return name == process

    # The server

    async def start(self) -> None:
        await self._rise()
        self.processes["controllers"] = Process(self, "controllers", self._controllers)
        self.processes["dns"] = Process(self, "dns", self._names)
        for process in self.processes.values():
            process.start()

    async def _rise(self) -> None:
        self.registry = Registry(self.store, TABLE, self.clocks["server"], new_uid=lambda: new_uid(self.loop))
        await self.registry.start()
        self._up.set()

    def crash_server(self) -> None:
        """It dies now; what was committed stays."""
        if not self._up.is_set():
            return
        self._up.clear()
        for stream in list(self._streams):
            stream.cut()
        for task in self._serving:
            task.cancel()
        self._rising = asyncio.create_task(self._again(self.registry))

    async def _again(self, dead: Registry) -> None:
        await dead.close()
        await asyncio.sleep(self.loop.random.uniform(0.05, 3))
        await self._rise()

    async def serve(self, work: Callable[[Registry], Awaitable[Obj]], *, write: bool) -> Obj:
        """A request in the server's process. Raises OSError or UnknownOutcomeError when that dies under it."""
        task = asyncio.ensure_future(work(self.registry))
        self._serving.add(task)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.add_done_callback(_forget)  # the server goes on without its client
            raise
        finally:
            self._serving.discard(task)
        if task.cancelled():
            raise UnknownOutcomeError("lab: the server died") if write else ConnectionResetError("lab: the server died")
        return task.result()

    def reaches(self, process: str, *, reply: bool = False) -> bool:
        return self._up.is_set() and process not in (self.unheard if reply else self.unreached)

    def connected(self, process: str, events: Any) -> Stream:
        stream = Stream(events)
        self._streams[stream] = process
        stream.on_close(lambda: self._streams.pop(stream, None))
        return stream

    def cut(self, process: str) -> None:
        for stream, name in list(self._streams.items()):
            if name == process:
                stream.cut()

    def partition(self, name: str, *, requests: bool = True, replies: bool = True) -> None:
        """Nothing (or only one way) gets through between a process and the server."""
        self.unreached |= {name} if requests else set()
        self.unheard |= {name} if replies else set()
        self.cut(name)

    def join(self, name: str) -> None:
        self.unreached.discard(name)
        self.unheard.discard(name)

    # The other components

    async def _controllers(self) -> None:
        process = self.processes["controllers"]

        def client(name: str) -> LabClient:
            if name in ("kube-scheduler", "kube-controller-manager"):
                return LabClient(self, process, User(f"system:{name}", ("system:authenticated",)), name)
            groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
            user = User(f"system:serviceaccount:kube-system:{name}", groups)
            return LabClient(self, process, user, "kube-controller-manager")

        await run_all(
            client,
            ca_pem="lab",
            clock=self.clocks["server"],
            collects=lambda resource: resource.kind in COLLECTED,
            local=(BuiltinEngine.name,),
        )

    async def _names(self) -> None:
        """The nameserver's records, of one node."""
        client = LabClient(self, self.processes["dns"], User("system:node:node-0", ("system:nodes", "system:authenticated")), "kubelet")
        services, slices = Informer(client, SERVICES), Informer(client, ENDPOINTSLICES)
        services.on_change(lambda old, new: self.zone.set_service(*_names_of(new or old), new))
        slices.on_change(lambda old, new: self.zone.set_slice(*_names_of(new or old), new))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(services.run())
            tasks.create_task(slices.run())

    # The user

    @property
    def user(self) -> LocalClient:
        """Somebody whose requests always arrive, while there is a server."""
        return LocalClient(self.registry, ADMIN, "kubectl")

    async def up(self) -> LocalClient:
        await self._up.wait()
        return self.user

    async def heal(self) -> None:
        """Nothing goes wrong any more; what is away comes back, but for what was halted on purpose."""
        self.faults.calm = True
        self.unreached.clear()
        self.unheard.clear()
        for machine in self.machines.values():
            machine.heeds = lambda _config, _signal: True
            machine.is_well = lambda _config: True
        await self._up.wait()

    async def close(self) -> None:
        for process in self.processes.values():
            await process.halt()
        if self._rising is not None:
            self._rising.cancel()
            await asyncio.gather(self._rising, return_exceptions=True)
        await self.registry.close()


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _names_of(obj: Obj | None) -> tuple[str, str]:
    metadata = (obj or {})["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
