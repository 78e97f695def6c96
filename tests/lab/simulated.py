"""One history in simulation: the registry on SQLite (or memory) in virtual time, its process dying under the clients.

A seed decides everything: delays, operations, when the process is killed or the power fails (at a moment, or
in the middle of a commit), what of the un-synced bytes reaches the disk, how small the cache's window and the
watchers' queues are, when history is compacted, which clients give up waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
import orjson

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONFIGMAPS, NAMESPACES
from holdfast.lab.disk import Disk, SimulatedStore
from holdfast.lab.history import Entry, ViolationError
from holdfast.lab.loop import SeededLoop, simulate
from holdfast.machinery.errors import ApiError
from holdfast.registry import cache
from holdfast.registry.authorize import Attributes, Decision
from holdfast.registry.registry import Registry
from holdfast.registry.request import Listing, Request, User
from holdfast.registry.verbs import watch as watching
from holdfast.store import watch as feed
from holdfast.store.api import Store
from holdfast.store.memory import MemoryStore
from tests.lab.workload import MERGE, NAMESPACE, LostError, Workload, entry

TABLE = builtin_table()
USER = User("lab", ("system:masters",))
KEYS = f"/registry/configmaps/{NAMESPACE}/"
PATIENCE = 600.0
SCRATCH = Path("/dev/shm")


class _Anyone:
    def decide(self, _user: User, _attributes: Attributes) -> Decision:
        return Decision(True)


StoreClass = type[SimulatedStore]


@dataclass
class Plan:
    """What a seed stands for."""

    memory: bool
    crashes: int
    window: int
    queue: int
    compacts: bool
    impatient: float
    """How many of the clients' requests are given up."""
    slow: int
    """How much longer work in threads takes than usual."""
    lag: float
    """Seconds that the cache stays behind the store."""
    bookmarks: float
    clients: int = 8
    operations: int = 10

    @classmethod
    def of(cls, chance: random.Random) -> Plan:
        return cls(
            memory=chance.random() < 0.15,
            crashes=chance.choice((0, 1, 1, 2, 3)),
            window=chance.choice((4, 16, 8192)),
            queue=chance.choice((3, 2048)),
            compacts=chance.random() < 0.4,
            impatient=chance.choice((0.0, 0.05)),
            slow=chance.choice((1, 1, 8)),
            lag=chance.choice((0.0, 0.0005, 0.005)),
            bookmarks=chance.choice((0.005, 60.0)),
        )


class Simulated:
    """The server's process, one incarnation after the other, and the transport to it."""

    def __init__(self, loop: SeededLoop, plan: Plan, scratch: Path, store_class: StoreClass) -> None:
        self.loop = loop
        self.plan = plan
        self._scratch = scratch
        self._store_class = store_class
        self._memory = MemoryStore() if plan.memory else None
        self._incarnation = 0
        self._disk = Disk(scratch / "0", loop.random, self._die)
        self._store: Store
        self._registry: Registry | None = None
        self._starting: Registry | None = None
        self._dead, self._up = asyncio.Event(), asyncio.Event()
        self._requests: dict[asyncio.Task[Any], None] = {}
        self.log: list[Entry] = []
        self.died = 0

    # Life and death

    def _die(self, *_cause: object) -> None:
        """From within the disk or the writer: nothing runs on."""
        self._disk.dead = True
        self._up.clear()
        self._dead.set()

    async def live(self) -> None:
        """Starts, dies, starts again, for ever."""
        while True:
            try:
                await self._start()
                await self._dead.wait()
            except (apsw.Error, ApiError):
                if not self._disk.dead:
                    raise
            await self.bury()
            await asyncio.sleep(self.loop.delay(0.02))

    async def _start(self) -> None:
        self._dead.clear()
        if self._memory is None:
            self._store = self._store_class(self._disk, self.loop, self._die, lag=self.plan.lag)
            await self._store.start()
        else:
            self._store = self._memory
        registry = Registry(self._store, TABLE, self.loop, authorizer=_Anyone(), new_uid=self._uid)
        self._starting = registry
        await registry.start()
        await self.read_log()
        self._registry = registry
        if not self._dead.is_set():
            self._up.set()

    def _uid(self) -> str:
        return f"{self.loop.random.getrandbits(128):032x}"

    async def bury(self) -> None:
        registry, self._registry = self._starting, None
        self.died += 1
        self._disk.dead = True
        for task in list(self._requests):
            task.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        if registry is not None:
            await registry.close()
            self._starting = None
        if self._memory is not None:
            return
        with contextlib.suppress(apsw.Error):
            await self._store.close()
        self._incarnation += 1
        lost = self.loop.random.random() < 0.6
        self._disk = self._disk.after(self._scratch / str(self._incarnation), self._die, power_lost=lost)

    async def torment(self) -> None:
        """Kills the process as often as planned, at a moment or at one of the next accesses to the disk."""
        chance = self.loop.random
        for _ in range(self.plan.crashes):
            await asyncio.sleep(chance.uniform(0, 0.03))
            if self._memory is None and chance.random() < 0.7:
                self._disk.crash_after = chance.randint(1, 30)
            else:
                self._die()

    async def compact(self) -> None:
        chance = self.loop.random
        while self.plan.compacts:
            await asyncio.sleep(chance.uniform(0, 0.01))
            if self._registry is not None:
                with contextlib.suppress(LostError):
                    await self._request(self._compact(chance))

    async def _compact(self, chance: random.Random) -> None:
        upto = chance.randint(self._store.compacted, self._store.revision)
        await self.read_log()
        await self._store.compact(upto)

    async def read_log(self) -> None:
        """Appends what the store has committed since, and sees that nothing it once had is gone or other."""
        newest = self.log[-1].revision if self.log else 0
        if self._store.revision < newest:
            raise ViolationError(f"Durable: the store is back at revision {self._store.revision}, it had {self.log[-1]}")
        after = self._store.compacted
        there = [line async for line in self._lines(after)]
        known = [line for line in self.log if line.revision > after]
        if there[: len(known)] != known:
            raise ViolationError(f"Durable: the log had {known}, and now has {there}")
        self.log += there[len(known) :]

    async def _lines(self, after: int) -> AsyncIterator[Entry]:
        head = self._store.revision
        if after >= head:
            return
        async with contextlib.aclosing(self._store.watch("", after)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for change in batch:
                    if change.record.key.startswith(KEYS):
                        yield entry(change.type, change.revision, orjson.loads(change.record.value))
                if batch[-1].revision >= head:
                    return

    async def settle(self) -> None:
        """The trouble is over: what does the log hold?"""
        self._disk.crash_after = 0
        await self._up.wait()
        await asyncio.sleep(1)  # a compaction whose caller went away may still be at work
        await self.read_log()

    # The transport

    async def _request(self, work: Any) -> Any:
        """Runs ``work`` in the process; lost when it dies."""
        task = asyncio.ensure_future(work)
        self._requests[task] = None
        task.add_done_callback(self._requests.pop)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        if task.cancelled() or self._dead.is_set():
            if not task.cancelled():
                task.exception()
            raise LostError
        if isinstance(task.exception(), ApiError) and task.exception().code >= 503:  # type: ignore[union-attr]
            raise LostError
        return task.result()

    async def call(self, verb: str, name: str = "", body: Any = None, **options: str) -> tuple[int, Obj]:
        impatient = self.loop.random.random() < self.plan.impatient
        try:
            async with asyncio.timeout(self.loop.delay(0.003) if impatient else None):
                return await self._call(verb, name, body, options)
        except TimeoutError:
            raise LostError from None

    async def _call(self, verb: str, name: str, body: Any, options: dict[str, str]) -> tuple[int, Obj]:
        await asyncio.sleep(self.loop.delay(0.0005))
        await self._up.wait()  # refused connections are tried again
        assert self._registry is not None
        namespaced = body is None or body.get("kind") != "Namespace"
        kind = TABLE.of(CONFIGMAPS if namespaced else NAMESPACES)
        type = MERGE if verb == "patch" else "application/json"
        request = Request(USER, verb, kind, NAMESPACE if namespaced else "", name, "", options, orjson.loads(orjson.dumps(body)), type)
        try:
            result = await self._request(self._registry.execute(request))
        except ApiError as error:
            found = error.code, error.status()
        else:
            found = _answer(result)
        dead = self._dead
        await asyncio.sleep(self.loop.delay(0.0005))
        if dead.is_set():
            raise LostError
        return found

    async def watch(self, **options: str) -> AsyncGenerator[Obj, None]:
        await asyncio.sleep(self.loop.delay(0.0005))
        if self._registry is None or self._dead.is_set():
            raise LostError
        request = Request(USER, "watch", TABLE.of(CONFIGMAPS), NAMESPACE, options=options)
        async with contextlib.aclosing(self._registry.watch(request)) as batches:
            while True:
                try:
                    batch = await self._request(anext(batches))
                except StopAsyncIteration:
                    return
                except ApiError as error:
                    yield {"type": "ERROR", "object": error.status()}
                    return
                for event in batch:
                    yield {"type": event.type, "object": event.stored.obj}

    async def prepare(self) -> None:
        while True:
            with contextlib.suppress(LostError):
                code, _ = await self.call("create", body={"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}})
                assert code in (201, 409), code
                return
            await asyncio.sleep(0.01)


def _answer(result: Any) -> tuple[int, Obj]:
    if isinstance(result, Listing):
        metadata = {"resourceVersion": str(result.revision)}
        if result.continue_token:
            metadata["continue"] = result.continue_token
        return 200, {"metadata": metadata, "items": [item.obj for item in result.items]}
    return result.code, result.stored.obj if result.stored is not None else result.obj


@contextlib.contextmanager
def _small(plan: Plan) -> Iterator[None]:
    """Limits at which a short history gets to the rare paths."""
    with (
        mock.patch.object(cache, "WINDOW", plan.window),
        mock.patch.object(cache, "QUEUE", plan.queue),
        mock.patch.object(feed, "BUFFER", plan.queue),
        mock.patch.object(feed, "READ", max(plan.queue, 2)),
        mock.patch.object(watching, "BOOKMARK_SECONDS", plan.bookmarks),
    ):
        yield


def run(seed: int, store_class: StoreClass = SimulatedStore, *, plan: Plan | None = None) -> tuple[Workload, Simulated]:
    """One history, judged. Raises ViolationError."""
    plan = plan or Plan.of(random.Random(f"plan {seed}"))
    scratch = Path(tempfile.mkdtemp(prefix="holdfast-lab-", dir=SCRATCH if SCRATCH.is_dir() else None))
    try:
        with _small(plan):
            workload, server = simulate(seed, lambda loop: _history(loop, plan, scratch, store_class))
    finally:
        shutil.rmtree(scratch)
    workload.judge(server.log)
    return workload, server


async def _history(loop: SeededLoop, plan: Plan, scratch: Path, store_class: StoreClass) -> tuple[Workload, Simulated]:
    loop.slowness = plan.slow
    server = Simulated(loop, plan, scratch, store_class)
    workload = Workload(server, loop.random, lambda: asyncio.sleep(loop.delay(0.003)))
    living = asyncio.create_task(server.live())
    working = asyncio.create_task(_work(server, workload))
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([living, working], return_when=asyncio.FIRST_COMPLETED)
            (living if living.done() else working).result()
    except TimeoutError:
        raise ViolationError("Live: the history did not come to its end") from None
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        for task in (living, working):
            task.cancel()
        await asyncio.gather(living, working, return_exceptions=True)
        await server.bury()
    return workload, server


async def _work(server: Simulated, workload: Workload) -> None:
    await server.prepare()
    chores = [asyncio.create_task(server.torment()), asyncio.create_task(server.compact())]
    try:
        await workload.run(clients=server.plan.clients, operations=server.plan.operations)
    finally:
        for task in chores:
            task.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
    await server.settle()


def _first(group: BaseExceptionGroup) -> BaseException:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
