"""What a node says of a growth that its engine refuses, or can do only later."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer
from holdfast.kinds.core import growth
from holdfast.kinds.kind import Obj
from holdfast.node.volumes import NodeVolumes, VolumeGrower
from holdfast.volumes.api import NeedsRemount, VolumeError

POD: Obj = {"metadata": {"name": "p", "namespace": "default", "uid": "pod"}}


class Cache:
    def __init__(self, obj: Obj) -> None:
        self.obj = obj

    def get(self, name: str, namespace: str = "") -> Obj | None:
        return self.obj if self.obj["metadata"]["name"] == name else None

    def on_change(self, callback: Any) -> None:
        return

    async def wait_synced(self) -> None:
        return


class Held:
    on_mounted: Any = None

    def __init__(self, *outcomes: VolumeError | None) -> None:
        self.outcomes = [*outcomes]

    def holders(self, volume: str) -> set[str]:
        return {"pod"} if volume == "v" else set()

    async def grow(self, volume: str) -> None:
        if outcome := self.outcomes.pop(0):
            raise outcome


class World:
    """One claim of 1Gi whose volume has 2Gi already."""

    def __init__(self, *outcomes: VolumeError | None) -> None:
        status = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "allocatedResourceStatuses": {"storage": growth.NODE_PENDING}}
        metadata = {"name": "c", "namespace": "default", "uid": "claim", "resourceVersion": "1"}
        spec = {"volumeName": "v", "resources": {"requests": {"storage": "2Gi"}}}
        self.claims = Cache({"metadata": metadata, "spec": spec, "status": status})
        self.events: list[tuple[str, str, str]] = []
        volume = {"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "2Gi"}, "claimRef": {"uid": "claim"}}}
        self.said = asyncio.Event()
        self.held = Held(*outcomes)
        self.grower = VolumeGrower(
            cast("Client", self),
            cast("NodeVolumes", self.held),
            cast("EventRecorder", self),
            lambda: 0.0,
            cast("Informer", self.claims),
            cast("Informer", Cache(volume)),
            lambda: [POD],
        )

    async def patch(self, _resource: object, _name: str, _namespace: str, body: Obj, **_: object) -> Obj:
        self.claims.obj = {**self.claims.obj, "status": {**self.claims.obj["status"], **body["status"]}}
        return self.claims.obj

    def event(self, obj: Obj, type: str, reason: str, message: str) -> None:
        self.said.set()
        self.events.append((obj["metadata"]["name"], type, reason))

    async def settle(self, until: int) -> Obj:
        """Runs until so many events were said; the claim's status."""
        task = asyncio.ensure_future(self.grower.run())
        self.held.on_mounted("default/c")
        async with asyncio.timeout(10):
            while len(self.events) < until:
                self.said.clear()
                await self.said.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return cast("Obj", self.claims.obj["status"])


async def test_success_is_told_to_claim_and_pod() -> None:
    world = World(None)
    status = await world.settle(2)
    assert status["capacity"] == {"storage": "2Gi"}
    assert not status["allocatedResourceStatuses"]
    assert world.events == [(name, "Normal", "FileSystemResizeSuccessful") for name in ("c", "p")]


@pytest.mark.parametrize(
    ("error", "stage", "condition", "reason"),
    [
        (VolumeError("broken"), growth.NODE_INFEASIBLE, growth.NODE_ERROR, "VolumeResizeFailed"),
        (NeedsRemount("not while mounted"), growth.NODE_PENDING, growth.FS_PENDING, "FileSystemResizePending"),
    ],
)
async def test_a_refusal_is_said_once_and_tried_again_after_a_mount(
    error: VolumeError, stage: str, condition: str, reason: str
) -> None:
    world = World(error, None)
    status = await world.settle(2)
    assert status["capacity"] == {"storage": "1Gi"}
    assert status["allocatedResourceStatuses"] == {"storage": stage}
    assert condition in {entry["type"] for entry in status["conditions"]}
    assert world.events == [(name, "Warning", reason) for name in ("c", "p")]
    assert len(world.held.outcomes) == 1, "not again by itself so soon"
    status = await world.settle(4)
    assert status["capacity"] == {"storage": "2Gi"}
    assert not status["conditions"]
