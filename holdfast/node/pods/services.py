"""What every pod worker shares: the client, the node's parts, and the objects pods refer to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from holdfast.client.api import Client
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONFIGMAPS, SECRETS
from holdfast.lib.clock import Clock
from holdfast.machinery.errors import ApiError
from holdfast.node.api import Images, Network, Volumes
from holdfast.node.pods.files import Cluster
from holdfast.node.pods.probes import Prober
from holdfast.node.pods.status import StatusReporter
from holdfast.node.runtimes.api import Runtime


class Events(Protocol):
    def event(self, obj: Obj, type: str, reason: str, message: str, *, field: str = "") -> Any: ...


@dataclass
class PodServices:
    client: Client
    runtime: Runtime
    images: Images
    volumes: Volumes
    network: Network
    events: Events
    clock: Clock
    cluster: Cluster
    directory: Path
    """DATA/node/pods: a directory a pod."""
    logs: Path
    """DATA/node/logs: a directory a pod."""
    node_netns: str = ""
    """Namespace of hostNetwork pods: the node's own."""
    node_ip: str = ""
    """Address of hostNetwork pods."""
    host_ip: str = "127.0.0.1"
    services: Callable[[], Iterable[Obj]] = tuple
    refresh_seconds: float = 15.0
    """How often the files of volumes are made to follow their sources; 0: there are none."""
    has_files: bool = True
    """As ``config.Places`` has it."""
    capacity: Callable[[], Mapping[str, Any]] = dict
    starting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    """How many containers are started at once: more only make each slower."""

    def __post_init__(self) -> None:
        self.prober = Prober(self.runtime, self.network)
        self.reporter = StatusReporter(self.client)

    async def fetch(self, references: set[tuple[str, str]], namespace: str) -> dict[tuple[str, str], Obj | None]:
        """ConfigMaps and Secrets, read live; None for those that do not exist."""
        out: dict[tuple[str, str], Obj | None] = {}
        for kind, name in sorted(references):
            try:
                out[(kind, name)] = await self.client.get(CONFIGMAPS if kind == "ConfigMap" else SECRETS, name, namespace)
            except ApiError as error:
                if error.code != 404:
                    raise
                out[(kind, name)] = None
        return out
