"""The agent: where the parts of the node meet. It feeds informers into pods, nameserver and proxy, and answers the streams.

Order of a start: network and runtime find what still runs, volumes likewise; then the API is waited for;
pods act only on a complete first list. The API may go away at any time: caches stay, pods keep running,
names and Service addresses keep their last known meaning.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast.kinds.kind import Obj
from holdfast.node.nameserver import Nameserver, Zone
from holdfast.node.pods import model
from holdfast.node.pods.config import log_path
from holdfast.node.pods.manager import PodManager
from holdfast.node.pods.services import PodServices
from holdfast.node.pods.worker import PodWorker
from holdfast.node.proxy import ServiceProxy
from holdfast.node.registration import Registration

log = logging.getLogger("holdfast.node")


class Cache(Protocol):
    """An informer, as far as the agent needs it."""

    def on_change(self, callback: Callable[[Obj | None, Obj | None], None]) -> None: ...
    def list(self) -> list[Obj]: ...
    async def wait_synced(self) -> None: ...
    async def run(self) -> None: ...


class NotFound(LookupError):
    """The streams asked for a pod or container this node does not have; the text says which."""


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

    async def _begin_names(self) -> None:
        """Names and rules from complete lists only: an empty cache would deny what exists."""
        await self._kube_services.wait_synced()
        await self._slices.wait_synced()
        self._nameserver.synced = True
        await self._proxy.run()

    async def stop_all(self, seconds: float = 110.0) -> None:
        """Every pod ends gracefully (``holdfast down``)."""
        await self._manager.stop_all(seconds)

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

    def _worker(self, namespace: str, name: str, uid: str = "") -> PodWorker:
        worker = self._manager.find(namespace, name, uid)
        if worker is None:
            raise NotFound(f'pod "{name}" in namespace "{namespace}" is not on this node')
        return worker

    def instance(self, namespace: str, name: str, container: str, uid: str = "") -> str:
        """Id of a container's running instance. Raises NotFound."""
        worker = self._worker(namespace, name, uid)
        last = model.latest(worker.instances().values(), container)
        if last is None or last.phase != "running":
            raise NotFound(f'container "{container}" of pod "{name}" is not running')
        return last.id

    def log_path(self, namespace: str, name: str, container: str, *, previous: bool = False) -> Path:
        """The log file of the latest attempt, or of the one before it. Raises NotFound with kubectl's words."""
        worker = self._worker(namespace, name)
        if model.find_container(worker.pod, container) is None:
            raise NotFound(f"container {container} is not valid for pod {name}")
        chosen = (model.previous if previous else model.latest)(worker.instances().values(), container)
        if chosen is None:
            if previous:
                raise NotFound(f'previous terminated container "{container}" in pod "{name}" not found')
            raise NotFound(f'container "{container}" in pod "{name}" is waiting to start: {self._why(worker, container)}')
        return log_path(worker.logs, container, chosen.attempt)

    @staticmethod
    def _why(worker: PodWorker, container: str) -> str:
        failure = worker.failures.get(container)
        return failure.reason if failure else "ContainerCreating"

    def is_running(self, namespace: str, name: str, container: str) -> bool:
        """Whether the latest attempt runs: a follower of its log has more to expect."""
        worker = self._manager.find(namespace, name)
        last = model.latest(worker.instances().values(), container) if worker else None
        return last is not None and last.phase == "running"

    def netns(self, namespace: str, name: str, uid: str = "") -> str:
        """Network namespace of a pod. Raises NotFound."""
        worker = self._worker(namespace, name, uid)
        if worker.network is None:
            raise NotFound(f'pod "{name}" has no network yet')
        return worker.network.netns
