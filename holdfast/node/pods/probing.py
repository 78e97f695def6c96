"""The probes of one pod: a loop per running instance, begun and ended as instances come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from holdfast.kinds.kind import Obj
from holdfast.node.pods import model
from holdfast.node.pods.model import KillOrder
from holdfast.node.pods.probes import ProbeLoop, Target
from holdfast.node.pods.report import SCHEME
from holdfast.node.pods.state import PodState
from holdfast.node.runtimes.api import InstanceState

_TITLES = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}


class Probing:
    def __init__(self, worker: PodState) -> None:
        self._worker = worker
        self._loops: dict[str, tuple[ProbeLoop, asyncio.Task[None] | None]] = {}
        # instances found running have had their postStart hook before
        self._hooked = {i.id for i in worker.instances().values()}

    def hooked(self, id: str) -> None:
        """The postStart hook of an instance is done."""
        self._hooked.add(id)

    def started(self) -> frozenset[str]:
        return frozenset(id for id, (loop, _) in self._loops.items() if loop.opinion["startup"] and id in self._hooked)

    def passing(self) -> frozenset[str]:
        return frozenset(id for id, (loop, _) in self._loops.items() if loop.opinion["readiness"])

    def follow(self, instances: Mapping[str, InstanceState]) -> None:
        """Begins loops for new running instances and ends those of exited ones."""
        worker = self._worker
        running = {id: state for id, state in instances.items() if state.phase == "running"}
        for id in set(self._loops) - set(running):
            task = self._loops.pop(id)[1]
            if task is not None:
                task.cancel()
        if worker.network is None:
            return
        for id, state in running.items():
            container = model.find_container(worker.pod, state.container)
            if id in self._loops or container is None:
                continue
            self._begin(id, state, container)

    def _begin(self, id: str, state: InstanceState, container: Obj) -> None:
        worker = self._worker
        assert worker.network is not None
        known = model.reported(worker.pod, state.container)
        same = known.get("containerID") == SCHEME + id
        loop = ProbeLoop(
            worker.services.prober,
            container,
            Target(id, worker.network.netns, worker.network.ip),
            lambda kind, ok: self._changed(id, container, kind, ok),
            lambda kind, output: self._unhealthy(container["name"], kind, output),
            age=max(0.0, worker.services.clock.now() - state.started_at),
            started=same and bool(known.get("started")),
            ready=same and bool(known.get("ready")),
        )
        probed = any(container.get(f"{kind}Probe") for kind in _TITLES)
        self._loops[id] = (loop, worker.spawn(f"probe:{id}", loop.run()) if probed else None)

    def cancel(self) -> None:
        for _, task in self._loops.values():
            if task is not None:
                task.cancel()
        self._loops.clear()

    def _changed(self, id: str, container: Obj, kind: str, ok: bool) -> None:
        if kind in ("liveness", "startup") and not ok:
            grace = container[f"{kind}Probe"].get("terminationGracePeriodSeconds")
            reason = f"Container {container['name']} failed {kind} probe, will be restarted"
            self._worker.kill_orders[id] = KillOrder(reason, grace)
        self._worker.wake()

    def _unhealthy(self, name: str, kind: str, output: str) -> None:
        message = f"{_TITLES[kind]} probe failed: {output}"
        self._worker.event(name, "Warning", "Unhealthy", message)
