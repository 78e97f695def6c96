"""All pods of this node: a worker each, from the informer's pods and from what is found running.

Absence from the informer proves nothing: a pod that is not there is looked for live, by its worker,
before anything of it is ended. Instances without a known pod are taken up from the pod kept on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import orjson

from holdfast.kinds.kind import Obj
from holdfast.node.pods import model
from holdfast.node.pods.services import PodServices
from holdfast.node.pods.worker import PodWorker
from holdfast.node.runtimes.api import InstanceState

log = logging.getLogger("holdfast.node.pods")


class PodManager:
    def __init__(self, services: PodServices) -> None:
        self._services = services
        self._workers: dict[str, PodWorker] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        services.runtime.on_exit(self._exited)
        services.volumes.on_lost(self._lost)

    def statistics(self) -> dict[str, int]:
        return {"pods": len(self._workers)}

    def find(self, namespace: str, name: str, uid: str = "") -> PodWorker | None:
        """The worker of a pod; the newest one when a former uid of the name is still ending."""
        found = [
            w
            for w in self._workers.values()
            if w.pod["metadata"]["name"] == name and w.pod["metadata"].get("namespace", "") == namespace and uid in ("", w.uid)
        ]
        return max(found, key=lambda w: (not w.gone and not w.missing, w.pod["metadata"].get("creationTimestamp", "")), default=None)

    async def run(self) -> None:
        """Owns the workers' tasks, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for worker in self._workers.values():
                self._launch(worker)
            await asyncio.get_running_loop().create_future()

    def update(self, pod: Obj) -> None:
        """A pod bound to this node, new or changed."""
        worker = self._workers.get(model.uid(pod))
        if worker is not None:
            worker.update(pod)
        else:
            self._add(PodWorker(self._services, pod))

    def missing(self, pod: Obj) -> None:
        """The informer no longer has it."""
        worker = self._workers.get(model.uid(pod))
        if worker is not None:
            worker.missing = True
            worker.wake()

    def take_up(self, pods: Iterable[Obj]) -> None:
        """After the first complete list: what is here without being in it is looked for live."""
        known = {model.uid(pod) for pod in pods}
        here = {i.pod_uid for i in self._services.runtime.instances().values()}
        here |= self._services.volumes.uids() | self._services.network.uids()
        directory = self._services.directory
        here |= {path.name for path in directory.iterdir()} if directory.is_dir() else set()
        for uid in here - known - set(self._workers):
            try:
                pod = orjson.loads((directory / uid / "pod.json").read_bytes())
            except (OSError, ValueError):
                pod = self._nameless(uid)
            worker = PodWorker(self._services, pod)
            worker.missing = True
            # not in the list: nothing of it may start before the live read has spoken
            worker.confirmed = False
            self._add(worker)

    def _nameless(self, uid: str) -> Obj:
        """Something is left of a uid of which nothing else is known: the API cannot have it under this name."""
        log.warning("found traces of pod uid %s without a record of it; they are removed", uid)
        metadata = {"name": f"unknown-{uid}", "namespace": "default", "uid": uid}
        return {"metadata": metadata, "spec": {"containers": [], "terminationGracePeriodSeconds": 30}, "status": {}}

    def _add(self, worker: PodWorker) -> None:
        self._workers[worker.uid] = worker
        if self._stopping:
            worker.stop()
        self._launch(worker)

    def _launch(self, worker: PodWorker) -> None:
        if self._group is not None and worker.uid not in self._tasks:
            self._tasks[worker.uid] = self._group.create_task(self._supervise(worker), name=f"pod {worker.uid}")

    async def _supervise(self, worker: PodWorker) -> None:
        """A fault in one worker must not touch other pods: it begins anew from what exists."""
        try:
            while not worker.forgotten:
                try:
                    await worker.run()
                except Exception:
                    log.exception("worker of pod %s", model.full_name(worker.pod))
                    await asyncio.sleep(1.0)
        finally:
            self._tasks.pop(worker.uid, None)
            if worker.forgotten:
                self._workers.pop(worker.uid, None)
                worker.dead.set()

    def _exited(self, state: InstanceState) -> None:
        worker = self._workers.get(state.pod_uid)
        if worker is not None:
            worker.exited(state)

    def _lost(self, uid: str, why: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.lost(why)

    async def stop_all(self) -> None:
        """Ends every instance gracefully and waits until all are dead."""
        self._stopping = True
        workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        for worker in workers:
            await worker.dead.wait()

    def unstopped(self) -> list[str]:
        return [model.full_name(worker.pod) for worker in self._workers.values() if not worker.dead.is_set()]
