"""What is known of one pod here, shared by its worker and by the parts that start, probe and kill its instances."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.node.api import PodNetwork
from holdfast.node.pods import model
from holdfast.node.pods.backoff import Backoff
from holdfast.node.pods.model import Failure, KillOrder
from holdfast.node.pods.services import PodServices
from holdfast.node.runtimes.api import InstanceState


class PodState(ABC):
    def __init__(self, services: PodServices, pod: Obj) -> None:
        self.services = services
        self.pod = pod
        self.uid = model.uid(pod)
        self.directory = services.directory / self.uid
        self.logs = services.logs / self.uid
        self.gone = False
        self.stopping = False
        self.backoff = Backoff()
        self.failures: dict[str, Failure] = {}
        self.kill_orders: dict[str, KillOrder] = {}
        self.image_ids: dict[str, str] = {}
        self.volumes: dict[str, str] = {}
        # found again after a restart: probes go on at once and no status flickers
        self.network: PodNetwork | None = services.network.get(self.uid)
        if pod["spec"].get("hostNetwork"):
            self.network = PodNetwork(services.node_ip, services.node_netns)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    def instances(self) -> Mapping[str, InstanceState]:
        return self.services.runtime.of_pod(self.uid)

    def stop_signal(self, id: str, container: Obj) -> str:
        """What asks this container to end: its own choice, its image's, else TERM."""
        own = (container.get("lifecycle") or {}).get("stopSignal")
        image = self.services.images.find(str(container.get("image") or ""))
        return str(own or (image.stop_signal if image else "") or "SIGTERM")

    def event(self, container: str, type: str, reason: str, message: str) -> None:
        """About one container of the pod: the event names its field, as ``describe`` and people's filters expect."""
        spec = self.pod["spec"]
        special = ("initContainers", "ephemeralContainers")
        group = next((g for g in special if any(c["name"] == container for c in spec.get(g) or ())), "containers")
        field = f"spec.{group}{{{container}}}"
        self.services.events.event(self.pod, type, reason, message, field=field)

    @abstractmethod
    def spawn(self, key: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Runs ``work`` in the pod's own task group unless the same is under way."""

    @abstractmethod
    def hooked(self, id: str) -> None:
        """The instance's postStart hook is done: its probes may begin."""
