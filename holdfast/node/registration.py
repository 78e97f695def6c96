"""The Node object and its Lease: this machine announces itself, says that it lives, and what it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import holdfast
from holdfast.client.api import STRATEGIC_PATCH, Client
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import LEASES, NODES
from holdfast.lib.clock import Clock, rfc3339, rfc3339_micro
from holdfast.machinery.errors import ApiError, UnknownOutcomeError
from holdfast.node import machine
from holdfast.node.api import Images

log = logging.getLogger("holdfast.node")

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
STATUS_SECONDS = 60.0
RETRY_SECONDS = 1.0
MAX_IMAGES = 50
_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "the node has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "the node has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "the node has sufficient PID available"),
}


class Registration:
    def __init__(
        self,
        client: Client,
        name: str,
        clock: Clock,
        data: Path,
        images: Images,
        runtime: str,
        address: str,
        stream_port: Callable[[], int],
        pod_cidr: str = "",
    ) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._images = images
        self._runtime = runtime
        self._address = address
        self._stream_port = stream_port
        self._pod_cidr = pod_cidr
        self.capacity = machine.capacity(data)
        self._node: Obj = {}
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Registers, then keeps Lease and status fresh until cancelled. An API that is away is waited for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._renew, RENEW_SECONDS))
            group.create_task(self._repeat(self._report, STATUS_SECONDS))

    async def _repeat(self, step: Callable[[], object], seconds: float) -> None:
        while True:
            try:
                await step()  # type: ignore[misc]
                pause = seconds
            except (ApiError, OSError, UnknownOutcomeError) as error:
                log.debug("node %s: %s", self._name, error)
                pause = RETRY_SECONDS
            await asyncio.sleep(pause)

    async def _report(self) -> None:
        try:
            node = await self._client.get(NODES, self._name)
        except ApiError as error:
            if error.code != 404:
                raise
            node = await self._client.create(NODES, self._new())
            log.info("node %s registered", self._name)
        body = {"status": self._status(node)}
        self._node = await self._client.patch(NODES, self._name, "", body, content_type=STRATEGIC_PATCH, subresource="status")
        self.registered.set()

    def _new(self) -> Obj:
        labels = {
            "kubernetes.io/hostname": self._name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine.architecture(),
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": machine.architecture(),
        }
        spec = {"podCIDR": self._pod_cidr, "podCIDRs": [self._pod_cidr]} if self._pod_cidr else {}
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._name, "labels": labels}, "spec": spec}

    def _status(self, node: Obj) -> Obj:
        now = rfc3339(self._clock.now())
        held = {c["type"]: c for c in (node.get("status") or {}).get("conditions") or ()}
        wanted = {kind: ("False", reason, f"holdfast: {text}") for kind, (reason, text) in _PRESSURES.items()}
        wanted["Ready"] = ("True", "KubeletReady", "holdfast: the node is posting ready status")
        conditions = []
        for kind, (status, reason, message) in wanted.items():
            old = held.get(kind) or {}
            since = old.get("lastTransitionTime") if old.get("status") == status else now
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": since or now,
                }
            )
        images = [{"names": [image.name], "sizeBytes": image.size} for image in self._images.list()[:MAX_IMAGES]]
        return {
            "addresses": [{"type": "InternalIP", "address": self._address}, {"type": "Hostname", "address": self._name}],
            "capacity": self.capacity,
            "allocatable": self.capacity,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._stream_port()}},
            "images": images,
            "nodeInfo": machine.node_info(f"v1.36.0+holdfast-{holdfast.__version__}", self._runtime),
        }

    async def _renew(self) -> None:
        now = rfc3339_micro(self._clock.now())
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        try:
            await self._client.patch(LEASES, self._name, LEASE_NAMESPACE, {"spec": spec})
        except ApiError as error:
            if error.code != 404:
                raise
            metadata: Obj = {"name": self._name, "namespace": LEASE_NAMESPACE}
            if self._node:
                owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": self._node["metadata"]["uid"]}
                metadata["ownerReferences"] = [owner]
            lease = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            await self._client.create(LEASES, lease, LEASE_NAMESPACE)
