"""H10: claims that ask for more, in whole clusters in virtual time: the engine's half, and the way back when it cannot."""

from __future__ import annotations

import pytest

from holdfast.kinds.kind import Obj
from holdfast.lab.faults import CRASHES, Fault, Faults, OneFault, Storm
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError
from holdfast.node.simulated.parts import SimulatedEngine
from holdfast.volumes.api import Source, VolumeError
from tests.unit.lab.storage import Storage, tell


def asking(size: str) -> Obj:
    return {"spec": {"resources": {"requests": {"storage": size}}}}


async def _larger(user: Storage) -> None:
    await user.sort("now", allowVolumeExpansion=True)
    await user.claim("data", "1Gi", storageClassName="now")
    name = await user.bound("data")
    await user.patch("pvc", "data", asking("3Gi"))

    async def enlarged() -> bool:
        claim, volume = await user.there("pvc", "data"), await user.there("pv", name)
        waits = meta.condition_true(claim, "FileSystemResizePending")
        return waits and bool(volume["spec"]["capacity"]["storage"] == "3Gi")

    await user.until(enlarged, "the volume is larger")
    status = (await user.there("pvc", "data"))["status"]
    assert status["allocatedResources"] == {"storage": "3Gi"}
    assert status["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
    assert status["capacity"] == {"storage": "1Gi"}, "what is on it is not larger yet"
    assert user.world.disk.sizes[name] == 3 * 2**30


def test_h10_the_volume_grows_and_then_the_node_is_waited_for() -> None:
    async def story(user: Storage) -> None:
        await _larger(user)
        name = (await user.there("pvc", "data"))["spec"]["volumeName"]
        await user.says("data", "Resizing", f"External resizer is resizing volume {name}")
        await user.says("data", "FileSystemResizeRequired", "Require file system resize of volume on node")
        await user.calm()
        await user.delete("pvc", "data")
        await user.gone("pv", name)

    tell(story)


@pytest.mark.parametrize("fault", [*CRASHES, Fault.NO_REPLY, Fault.CONFLICT], ids=lambda fault: fault.name)
def test_h10_whatever_goes_wrong_at_a_write(fault: Fault) -> None:
    calm = Faults()
    tell(_larger, calm)
    ours = [n for n, (process, _site) in enumerate(calm.writes) if process.startswith("node")]
    assert len(ours) > 3
    for number in ours:
        plan = OneFault(number=number, fault=fault)
        tell(_larger, plan)
        assert plan.fired


@pytest.mark.parametrize("seed", range(50, 60))
def test_h10_in_storms(seed: int) -> None:
    tell(_larger, Storm.of(seed), seed=seed)


def test_h10_too_much_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = SimulatedEngine.expand

    async def narrow(self: SimulatedEngine, source: Source, capacity: int) -> int:
        if capacity > 4 * 2**30:
            raise VolumeError(f"volume {source.handle}: there is no room for {capacity} bytes")
        return await usual(self, source, capacity)

    monkeypatch.setattr(SimulatedEngine, "expand", narrow)

    async def story(user: Storage) -> None:
        await user.sort("now", allowVolumeExpansion=True)
        await user.claim("data", "1Gi", storageClassName="now")
        name = await user.bound("data")
        await user.patch("pvc", "data", asking("100Gi"))

        async def failed() -> bool:
            claim = await user.there("pvc", "data")
            return meta.condition_true(claim, "ControllerResizeError")

        await user.until(failed, "it fails")
        status = (await user.there("pvc", "data"))["status"]
        assert status["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
        why = f"volume {name}: there is no room for {100 * 2**30} bytes"
        said = f'resize volume "{name}" by resizer "builtin.holdfast.io" failed: {why}'
        await user.says("data", "VolumeResizeFailed", said)
        assert status["capacity"] == {"storage": "1Gi"}
        before = user.world.judge.writes
        await user.calm(120)
        assert user.world.judge.writes == before, "what is not possible is not tried all the time"
        for size in ("1Gi", "500Mi"):
            with pytest.raises(ApiError, match=r"field can not be less than status\.capacity"):
                await user.patch("pvc", "data", asking(size))
        await user.patch("pvc", "data", asking("2Gi"))

        async def enlarged() -> bool:
            return bool((await user.there("pv", name))["spec"]["capacity"]["storage"] == "2Gi")

        await user.until(enlarged, "less is possible")
        await user.until(lambda: _waits(user), "the node is waited for")
        kinds = {c["type"] for c in (await user.there("pvc", "data"))["status"]["conditions"]}
        assert kinds == {"Resizing", "FileSystemResizePending"}

    tell(story)


async def _waits(user: Storage) -> bool:
    return meta.condition_true(await user.there("pvc", "data"), "FileSystemResizePending")


def test_h10_only_where_the_class_lets_volumes_grow() -> None:
    refused = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"

    async def story(user: Storage) -> None:
        await user.sort("rigid")
        await user.claim("data", "1Gi", storageClassName="rigid")
        await user.bound("data")
        await user.volume("pv", "1Gi")
        await user.claim("static", "1Gi", storageClassName="")
        await user.bound("static", "pv")
        for name in ("data", "static"):
            with pytest.raises(ApiError, match=refused) as found:
                await user.patch("pvc", name, asking("2Gi"))
            assert found.value.code == 403
        await user.claim("unbound", "1Gi", storageClassName="")
        with pytest.raises(ApiError, match=r"spec is immutable after creation except resources\.requests") as found:
            await user.patch("pvc", "unbound", asking("2Gi"))
        assert found.value.code == 422

    tell(story)
