"""Between a component and the API server: time passes, messages get lost, processes die in the middle of a request.

``LabClient`` is ``client.api.Client``. Each call is one site: the process, the identity, verb and resource. What goes
wrong there is up to ``faults``; the transport only carries it out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from holdfast.client.api import MERGE_PATCH, WatchEvent
from holdfast.kinds.kind import Obj, Resource
from holdfast.lab.faults import LOSSES, Fault, Faults
from holdfast.lab.judge import UNDER, Condition, Judge
from holdfast.lab.loop import SeededLoop
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError, UnknownOutcomeError
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.registry.request import User
from holdfast.store.memory import MemoryStore

ANY = "0"
"""The revision of a read that asks for any state at all: it may come from a server that lags behind."""
LATENCY = 0.0005
Work = Callable[[LocalClient], Awaitable[Obj]]
_REFUSALS = {
    Fault.CONFLICT: (409, "Conflict", "lab: the object has been modified"),
    Fault.BUSY: (429, "TooManyRequests", "lab: too many requests"),
    Fault.BROKEN: (500, "InternalError", "lab: internal error"),
    Fault.AWAY: (503, "ServiceUnavailable", "lab: not available"),
}


class Component(Protocol):
    """The process a client belongs to."""

    name: str

    async def crash(self) -> None:
        """It dies here and now: never returns."""

    def crash_soon(self) -> None:
        """It dies before anything else of it runs."""


class Wire(Protocol):
    """The world, as far as a client needs it."""

    loop: SeededLoop
    faults: Faults
    judge: Judge
    registry: Registry

    @property
    def store(self) -> MemoryStore: ...

    def reaches(self, process: str, *, reply: bool = False) -> bool:
        """Whether requests of a process arrive now (or replies come back)."""

    def crash_server(self) -> None: ...

    def lose(self, process: str, fault: Fault) -> bool:
        """A machine is lost, with all that ran on it; whether that was the process's own."""

    def cut(self, process: str) -> None:
        """Its watches break off."""

    async def serve(self, work: Callable[[Registry], Awaitable[Obj]], *, write: bool) -> Obj:
        """A request in the server's process. Raises OSError or UnknownOutcomeError when that dies under it."""

    def connected(self, process: str, events: AsyncIterator[WatchEvent]) -> Stream: ...


class LabClient:
    """One identity of one process."""

    def __init__(self, world: Wire, process: Component, user: User, agent: str) -> None:
        self._world = world
        self._process = process
        self._user = user
        self._agent = agent
        self._behind: dict[str, float] = {}
        """For how long the server that gave an old list says nothing newer."""

    async def _call(
        self, verb: str, resource: Resource, subresource: str, work: Work, name: tuple[str, str] = ("", ""), body: Any = None
    ) -> Obj:
        """``name``: namespace and name; ``body``: what the judge is to see of a write. Of a patch or update: its metadata."""
        world, process = self._world, self._process
        write = verb not in ("get", "list")
        what = f"{resource.plural}/{subresource}" if subresource else resource.plural
        who = self._user.name.rpartition(":")[2]
        if verb in ("create", "delete") and not subresource:
            world.judge.asked(who, verb, resource.plural, *name, body)
        fault = world.faults.at(process.name, f"{who} {verb} {what}", write=write)
        await asyncio.sleep(world.loop.delay(LATENCY))
        if fault is Fault.LATE:
            await asyncio.sleep(world.loop.random.uniform(0.5, 20))
        if fault is Fault.CRASH_BEFORE:
            await process.crash()
        if fault is Fault.SERVER_CRASH_BEFORE:
            world.crash_server()
        if fault in _REFUSALS:
            raise ApiError(*_REFUSALS[fault])
        if fault is Fault.LOST or not world.reaches(process.name):
            raise ConnectionRefusedError("lab: the server is not reached")
        UNDER.set(_condition(who, verb, resource, name, body))
        answer = await world.serve(lambda registry: work(LocalClient(registry, self._user, self._agent)), write=write)
        if fault is Fault.CRASH_NO_REPLY or (fault in LOSSES and world.lose(process.name, fault)):
            await process.crash()
        if fault is Fault.SERVER_CRASH_AFTER:
            world.crash_server()
        if fault in (Fault.NO_REPLY, Fault.SERVER_CRASH_AFTER) or not world.reaches(process.name, reply=True):
            raise UnknownOutcomeError("lab: no reply") if write else ConnectionResetError("lab: no reply")
        await asyncio.sleep(world.loop.delay(LATENCY))
        if fault in (Fault.CRASH_AFTER, Fault.CRASH_SLOW):
            process.crash_soon()
        if fault is Fault.OLDER:
            world.cut(process.name)
        return answer

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        return await self._call("get", resource, "", lambda client: client.get(resource, name, namespace))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> Obj:
        lag = self._world.faults.lags(self._process.name, resource.plural) if resource_version == ANY else 0

        async def work(client: LocalClient) -> Obj:
            exact = str(max(self._world.store.revision - lag, 1)) if lag else ""
            return await client.list(
                resource,
                namespace,
                labels=labels,
                fields=fields,
                resource_version=exact or resource_version,
                match="Exact" if exact else "",
                metadata_only=metadata_only,
            )

        if lag:
            self._behind[resource.plural] = self._world.loop.random.uniform(1, 20)
        return await self._call("list", resource, "", work)

    async def create(self, resource: Resource, obj: Obj, namespace: str = "", *, subresource: str = "", name: str = "") -> Obj:
        async def work(client: LocalClient) -> Obj:
            return await client.create(resource, obj, namespace, subresource=subresource, name=name)

        return await self._call("create", resource, subresource, work, (namespace, name), obj)

    async def update(self, resource: Resource, obj: Obj, *, subresource: str = "") -> Obj:
        async def work(client: LocalClient) -> Obj:
            return await client.update(resource, obj, subresource=subresource)

        return await self._call("update", resource, subresource, work, (meta.namespace(obj), meta.name(obj)), obj["metadata"])

    async def patch(
        self, resource: Resource, name: str, namespace: str, patch: Any, *, content_type: str = MERGE_PATCH, subresource: str = ""
    ) -> Obj:
        async def work(client: LocalClient) -> Obj:
            return await client.patch(resource, name, namespace, patch, content_type=content_type, subresource=subresource)

        body = (patch.get("metadata") or {}) if isinstance(patch, dict) else {}
        return await self._call("patch", resource, subresource, work, (namespace, name), body)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period: int | None = None,
        propagation: str = "",
    ) -> Obj:
        async def work(client: LocalClient) -> Obj:
            return await client.delete(
                resource,
                name,
                namespace,
                uid=uid,
                resource_version=resource_version,
                grace_period=grace_period,
                propagation=propagation,
            )

        return await self._call("delete", resource, "", work, (namespace, name), {"uid": uid, "resourceVersion": resource_version})

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        world, process = self._world, self._process
        await asyncio.sleep(world.loop.delay(LATENCY) + self._behind.pop(resource.plural, 0.0))
        if not world.reaches(process.name):
            raise ConnectionRefusedError("lab: the server is not reached")
        revision = world.faults.resume(process.name, resource.plural, resource_version)
        client = LocalClient(world.registry, self._user, self._agent)
        stream = world.connected(
            process.name,
            client.watch(resource, namespace, labels=labels, fields=fields, resource_version=revision, metadata_only=metadata_only),
        )
        try:
            while (event := await stream.next()) is not None:
                for told in await world.faults.tell(process.name, resource.plural, event, stream.queue):
                    yield told
        finally:
            await stream.close()


class Stream:
    """A watch's connection: filled by the server, until somebody cuts it."""

    def __init__(self, events: AsyncIterator[WatchEvent]) -> None:
        self.queue: deque[WatchEvent] = deque()
        self._wake = asyncio.Event()
        self._end: BaseException | None = None
        self._ended = False
        self._on_close: Callable[[], object] = lambda: None
        self._pump = asyncio.create_task(self._fill(events))

    async def _fill(self, events: AsyncIterator[WatchEvent]) -> None:
        try:
            async for event in events:
                self.queue.append(event)
                self._wake.set()
        except ApiError as error:
            self._end = error
        finally:
            self._ended = True
            self._wake.set()

    def on_close(self, callback: Callable[[], object]) -> None:
        self._on_close = callback

    def cut(self) -> None:
        """What stands in line is lost."""
        self.queue.clear()
        self._end = ConnectionResetError("lab: the connection was cut")
        self._pump.cancel()

    async def next(self) -> WatchEvent | None:
        """None at the end the server gave it. Raises what ended it else."""
        while not self.queue:
            if self._ended or self._end is not None:
                if self._end is not None:
                    raise self._end
                return None
            self._wake.clear()
            await self._wake.wait()
        return self.queue.popleft()

    async def close(self) -> None:
        self._on_close()
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)


def _condition(who: str, verb: str, resource: Resource, name: tuple[str, str], body: Any) -> Condition | None:
    if verb not in ("update", "patch", "delete"):
        return None
    where = "/".join(part for part in name if part)
    return Condition(who, f"/registry/{resource.plural}/{where}", str(body.get("uid") or ""), str(body.get("resourceVersion") or ""))
