"""What a node must not do to data (R-29 to R-35 of this project's list): real mounts, a node that dies, a machine that starts anew."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.client.api import Client
from holdfast.kinds.kind import Obj, Resource
from holdfast.lib import privileged
from holdfast.lib.clock import SystemClock
from holdfast.machinery import errors
from holdfast.node.api import NotReady
from holdfast.node.volumes import NodeVolumes
from holdfast.volumes.api import FS_TYPE, Source
from holdfast.volumes.builtin import BuiltinEngine
from holdfast.volumes.filesystems import MIB

UID = "11111111-2222-3333-4444-555555555555"
POD: Obj = {
    "metadata": {"name": "web-0", "namespace": "default", "uid": UID},
    "spec": {"volumes": [{"name": "www", "persistentVolumeClaim": {"claimName": "c"}}], "containers": []},
}


class Api:
    """One claim and its volume; a patch of the volume is its annotations."""

    def __init__(self) -> None:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "20Mi"},
            "claimRef": {"namespace": "default", "name": "c", "uid": "claim"},
            "csi": {"driver": BuiltinEngine.name, "volumeHandle": "v", "fsType": "ext4"},
        }
        self.volume: Obj = {"metadata": {"name": "v", "uid": "volume", "resourceVersion": "1"}, "spec": spec}
        metadata = {"name": "c", "namespace": "default", "uid": "claim"}
        self.claim: Obj = {"metadata": metadata, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}
        self.is_away = False

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        if self.is_away:
            raise ConnectionError("the API does not answer")
        found = {("persistentvolumes", "v"): self.volume, ("persistentvolumeclaims", "c"): self.claim}.get((resource.plural, name))
        if found is None:
            raise errors.not_found(resource.plural, name)
        return found

    async def patch(self, resource: Resource, name: str, namespace: str, body: Any, **_: Any) -> Obj:
        self.volume["metadata"]["annotations"] = body["metadata"]["annotations"]
        return self.volume


class Machine:
    """``node()`` is a new life of the node's process; ``reboot`` takes all mounts away."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.api = Api()
        self.engine = BuiltinEngine(data / "volumes")

    async def node(self) -> NodeVolumes:
        self.engine = BuiltinEngine(self.data / "volumes")
        client = cast("Client", self.api)
        made = NodeVolumes(client, {self.engine.name: self.engine}, self.data, "n", "boot", SystemClock(), dict)
        await made.start()
        return made

    async def reboot(self) -> NodeVolumes:
        privileged.unmount_below(self.data)
        return await self.node()

    @property
    def own(self) -> Path:
        return self.data / "node" / "volumes" / UID


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    made = Machine(tmp_path)
    await made.engine.create("v", 20 * MIB, {FS_TYPE: "ext4"}, {})
    yield made
    privileged.unmount_below(tmp_path)


async def used(machine: Machine) -> tuple[NodeVolumes, Path]:
    """A pod's volume with a file, and a part of it bound for a container."""
    node = await machine.node()
    path = Path((await node.prepare(POD))["www"])
    (path / "part").mkdir()
    (path / "part" / "f").write_text("kept")
    node.sub_path(UID, "c", 0, str(path), "part")
    return node, path


async def test_r29_sub_paths_without_a_record_are_let_go_and_no_file_in_them_is_removed(machine: Machine) -> None:
    _, path = await used(machine)
    (machine.data / "node" / "volumes" / f"{UID}.json").unlink()
    node = await machine.node()
    assert UID in node.uids(), "somebody must look after it"
    await node.release(UID)
    assert not machine.own.exists()
    assert (path / "part" / "f").read_text() == "kept"


async def test_r30_what_stays_mounted_is_not_removed_through(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    node, path = await used(machine)
    bound = machine.own / ".sub" / "c" / "0"
    monkeypatch.setattr(privileged, "_BUSY_SECONDS", 0.1)
    handle = os.open(bound / "f", os.O_RDONLY)
    with pytest.raises(OSError, match="Device or resource busy"):
        await node.release(UID)
    assert UID in node.uids()
    os.close(handle)
    monkeypatch.setattr(privileged, "unmount_below", lambda _directory: None)
    with pytest.raises(OSError, match="is mounted below it"):
        privileged.remove_tree(machine.own)
    assert (path / "part" / "f").read_text() == "kept"
    monkeypatch.undo()
    await node.release(UID)
    assert not machine.own.exists()


async def test_r31_after_a_reboot_nothing_starts_on_what_is_not_the_volume(machine: Machine) -> None:
    _, path = await used(machine)
    node = await machine.reboot()
    image = machine.data / "volumes" / "pool" / "v.img"
    await machine.engine.create("w", 20 * MIB, {FS_TYPE: "ext4"}, {})
    image.rename(image.with_name("away"))
    for other, says in ((None, "is missing; nothing is made in its place"), ("w.img", "it says it is w; nothing starts on it")):
        if other:
            image.with_name(other).rename(image)
        with pytest.raises(NotReady, match=says):
            await node.prepare(POD)
    assert not path.exists(), "an empty directory is no volume"
    image.with_name("away").rename(image)
    assert (Path((await node.prepare(POD))["www"]) / "part" / "f").read_text() == "kept"


async def test_r32_a_node_that_starts_anew_leaves_the_mounts_of_what_runs(machine: Machine) -> None:
    node, path = await used(machine)
    before = privileged.mounts_below(machine.data)
    machine.api.is_away = True
    await node.close(remove=False)
    again = await machine.node()
    with pytest.raises(ConnectionError):
        await again.release(UID)  # it is terminating, and the API is away: the fence cannot be given back
    assert UID in again.uids()
    machine.api.is_away = False
    assert len(before) >= 3
    assert Path((await again.prepare(POD))["www"]) == path
    assert (path / "part" / "f").read_text() == "kept"


async def test_r33_a_pod_gets_its_volume_again_after_a_reboot(machine: Machine) -> None:
    await used(machine)
    node = await machine.reboot()
    assert node.uids() == {UID}
    path = Path((await node.prepare(POD))["www"])
    assert (path / "part" / "f").read_text() == "kept"
    bound = node.sub_path(UID, "c", 0, str(path), "part")
    assert os.listdir(bound) == ["f"]
    await node.release(UID)
    assert not [mount for mount in privileged.mounts_below(machine.data) if "mounts" in mount]


async def test_r35_what_lies_where_a_volume_should_be_mounted_is_reported_and_left(machine: Machine) -> None:
    node = await machine.node()
    lost = machine.data / "volumes" / "mounts" / "v" / "lost"
    lost.parent.mkdir(parents=True)
    lost.write_text("somebody's")
    with pytest.raises(NotReady, match=r"is not mounted and not empty \(lost\).*nothing is removed"):
        await node.prepare(POD)
    with pytest.raises(NotReady, match="is not removed: Directory not empty"):
        await node.release(UID)
    assert lost.read_text() == "somebody's"
    lost.unlink()
    await node.release(UID)
    await machine.engine.delete(Source("v"))
