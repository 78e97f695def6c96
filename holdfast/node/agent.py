"""The agent: where the parts of the node meet. It feeds informers into pods, nameserver and proxy, and answers the streams.

Order of a start: network and runtime find what still runs, volumes likewise; then the API is waited for;
pods act only on a complete first list. The API may go away at any time: caches stay, pods keep running,
names and Service addresses keep their last known meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from holdfast.kinds.kind import Obj
from holdfast.node.api import PodNetwork
from holdfast.node.nameserver import Nameserver, Zone
from holdfast.node.pods import model
from holdfast.node.pods.config import log_path
from holdfast.node.pods.manager import PodManager
from holdfast.node.pods.services import PodServices
from holdfast.node.pods.worker import PodWorker
from holdfast.node.proxy import ServiceProxy
from holdfast.node.registration import Registration
from holdfast.node.streams import Refused, Target

log = logging.getLogger("holdfast.node")

_PULLS = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
"""Why a container has no logs yet, in the words kubectl users know."""


class Cache(Protocol):
    """An informer, as far as the agent needs it."""

    def on_change(self, callback: Callable[[Obj | None, Obj | None], None]) -> None: ...
    def list(self) -> list[Obj]: ...
    async def wait_synced(self) -> None: ...
    async def run(self) -> None: ...


class NodeAgent:
    def __init__(
        self,
        services: PodServices,
        pods: Cache,
        kube_services: Cache,
        slices: Cache,
        zone: Zone,
        nameserver: Nameserver,
        proxy: ServiceProxy,
        registration: Registration,
    ) -> None:
        self._services = services
        self._pods, self._kube_services, self._slices = pods, kube_services, slices
        self._zone, self._nameserver, self._proxy = zone, nameserver, proxy
        self._registration = registration
        self._manager = PodManager(services)
        self._synced = False
        self._taken_up = asyncio.Event()
        pods.on_change(self._pod_changed)
        kube_services.on_change(self._service_changed)
        slices.on_change(self._slice_changed)

    def statistics(self) -> dict[str, dict[str, int]]:
        return {
            "pods": self._manager.statistics(),
            "nameserver": self._nameserver.statistics(),
            "proxy": self._proxy.statistics(),
        }

    async def run(self) -> None:
        """Until cancelled; what runs keeps running."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._manager.run())
            group.create_task(self._nameserver.run())
            group.create_task(self._registration.run())
            for cache in (self._pods, self._kube_services, self._slices):
                group.create_task(cache.run())
            group.create_task(self._begin_names())
            await self._pods.wait_synced()
            await self._registration.registered.wait()
            self._synced = True
            pods = self._pods.list()
            for pod in pods:
                self._manager.update(pod)
            self._manager.take_up(pods)
            self._taken_up.set()

    async def _begin_names(self) -> None:
        """Names and rules from complete lists only: an empty cache would deny what exists."""
        await self._kube_services.wait_synced()
        await self._slices.wait_synced()
        self._nameserver.synced = True
        await self._proxy.run()

    async def stop_all(self, seconds: float = 110.0) -> None:
        """Every pod ends gracefully (``holdfast down``), those too that were only just found running."""
        running = any(state.phase == "running" for state in self._services.runtime.instances().values())
        if not running and not self._taken_up.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._taken_up.wait()
                await self._manager.stop_all()
        except TimeoutError:
            log.warning("not stopped after %.0f s: %s", seconds, ", ".join(self._manager.unstopped()) or "the API does not answer")

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if not self._synced:
            return
        if new is not None:
            if old is not None and model.uid(old) != model.uid(new):
                self._manager.missing(old)
            self._manager.update(new)
        elif old is not None:
            self._manager.missing(old)

    def _service_changed(self, old: Obj | None, new: Obj | None) -> None:
        metadata = (new or old or {})["metadata"]
        self._zone.set_service(metadata.get("namespace", ""), metadata["name"], new)
        self._proxy.changed()

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        metadata = (new or old or {})["metadata"]
        self._zone.set_slice(metadata.get("namespace", ""), metadata["name"], new)
        self._proxy.changed()

    def _worker(self, namespace: str, name: str) -> PodWorker:
        worker = self._manager.find(namespace, name)
        if worker is None:
            raise Refused(404, f'pod "{name}" not found')
        return worker

    # What the streams ask (``streams.api.Lookup``)

    async def wait_ready(self) -> None:
        await self._taken_up.wait()

    def instance(self, namespace: str, pod: str, container: str, previous: bool = False) -> Target:
        worker = self._worker(namespace, pod)
        name = container or worker.pod["spec"]["containers"][0]["name"]
        if model.find_container(worker.pod, name) is None:
            raise Refused(404, f"container {name} not found in pod {pod}_{namespace}")
        chosen = (model.previous if previous else model.latest)(worker.instances().values(), name)
        if chosen is None:
            if previous:
                raise Refused(400, f'previous terminated container "{name}" in pod "{pod}" not found')
            raise Refused(400, f'container "{name}" in pod "{pod}" is waiting to start: {self._why(worker, name)}')
        return Target(chosen.id, str(log_path(worker.logs, name, chosen.attempt)))

    @staticmethod
    def _why(worker: PodWorker, container: str) -> str:
        failure = worker.failures.get(container)
        reason = failure.reason if failure else "ContainerCreating"
        return _PULLS.get(reason, reason)

    def network(self, namespace: str, pod: str, uid: str = "") -> PodNetwork:
        worker = self._worker(namespace, pod)
        if uid and worker.uid != uid:
            raise Refused(404, f'pod "{pod}" not found')
        if worker.network is None:
            raise Refused(400, f'pod "{pod}" is not running: it has no network yet')
        return worker.network
