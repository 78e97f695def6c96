"""A full disk: new work is refused and says why, running members live, and all goes on when space returns."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.lib import privileged
from holdfast.volumes import filesystems, mounting
from holdfast.volumes.api import FS_TYPE, Source, Staging, VolumeError
from holdfast.volumes.builtin import BuiltinEngine
from holdfast.volumes.filesystems import MIB
from tests.integration.test_builtin_engine import fill
from tests.integration.test_pod_volumes import MOUNT, claim, pod, said, uses
from tests.system import System

EXT4 = {FS_TYPE: "ext4"}


@contextlib.contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    image, target = directory / "small.img", directory / "small"
    filesystems.make_sparse(image, size)
    filesystems.make(image, "ext4")
    target.mkdir()
    with privileged.loop_device(image) as device:
        privileged.mount(device, target, "ext4", 0, "discard")
    try:
        yield target
    finally:
        privileged.unmount(target, patience=30.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 1200 * MIB) as target:
        yield target


@pytest.fixture
async def engine(disk: Path) -> AsyncIterator[BuiltinEngine]:
    made = BuiltinEngine(disk / "volumes", now=lambda: 1_000_000.0)
    yield made
    privileged.unmount_below(disk / "volumes" / "mounts")
    await made.close()


def occupy(disk: Path, *, but: int = 0) -> None:
    """Somebody else takes the disk, but for so many bytes."""
    subprocess.run(["fallocate", "-l", str(mounting.room(disk) - but - 16 * MIB), str(disk / "ballast")], check=True)
    if not but:
        fill(disk / "rest")


def free(disk: Path) -> None:
    for name in ("ballast", "rest"):
        (disk / name).unlink(missing_ok=True)


def write(path: Path, size: int) -> bool:
    """Whether it was written, down to the disk."""
    command = ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={size // MIB}", "conv=fsync"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def staging(disk: Path, handle: str) -> Staging:
    return Staging(str(disk / "volumes" / "mounts" / handle))


async def test_a_full_disk_refuses_new_volumes_and_leaves_those_in_use(engine: BuiltinEngine, disk: Path) -> None:
    await engine.create("v", 256 * MIB, {}, {})
    path = Path(await engine.stage(Source("v"), staging(disk, "v")))
    (path / "f").write_bytes(b"x" * MIB)
    occupy(disk)
    for refused in (engine.create("w", 256 * MIB, {}, {}), engine.expand(Source("v"), 400 * MIB)):
        with pytest.raises(VolumeError, match=r"needs \d+ MiB and the disk under .* has 0 MiB that no other volume was promised"):
            await refused
    assert (path / "f").read_bytes() == b"x" * MIB
    free(disk)
    (path / "g").write_bytes(b"y" * MIB)
    await engine.create("w", 256 * MIB, EXT4, {})
    assert await engine.expand(Source("v"), 320 * MIB) == 320 * MIB
    await engine.grow("v", staging(disk, "v").target)
    await engine.unstage("v", staging(disk, "v").target)
    again = Path(await engine.stage(Source("v"), staging(disk, "v")))
    assert ((again / "f").read_bytes(), (again / "g").read_bytes()) == (b"x" * MIB, b"y" * MIB)


async def test_a_volume_that_others_left_no_room_for_lives_and_goes_on(engine: BuiltinEngine, disk: Path) -> None:
    """Somebody filled the disk beside us: what was promised is not there. The member gets an error, not a lie, and later its room."""
    await engine.create("v", 256 * MIB, {}, {})
    path = Path(await engine.stage(Source("v"), staging(disk, "v")))
    (path / "f").write_bytes(b"x" * MIB)
    assert write(path / "early", MIB)
    occupy(disk)
    assert not write(path / "big", 64 * MIB), "a write without room beneath it must not succeed"
    assert (path / "f").read_bytes() == b"x" * MIB
    free(disk)
    assert write(path / "big", 64 * MIB)
    assert (path / "f").read_bytes() == b"x" * MIB


async def test_what_is_needed_comes_out_of_the_trash_oldest_first(disk: Path) -> None:
    clock = [1_000_000.0]
    engine = BuiltinEngine(disk / "volumes", now=lambda: clock[0])
    await engine.create("first", 20 * MIB, EXT4, {})  # the pool is there
    occupy(disk, but=500 * MIB)
    for handle in ("a", "b"):
        await engine.create(handle, 100 * MIB, EXT4, {})
        path = Path(await engine.stage(Source(handle), staging(disk, handle)))
        (path / "f").write_bytes(b"x" * 90 * MIB)
        await engine.unstage(handle, staging(disk, handle).target)
        await engine.delete(Source(handle))
        clock[0] += 1
    assert [item.handle for item in engine.pool.trash.items()] == ["a", "b"]
    await engine.create("c", 120 * MIB, EXT4, {})
    assert [item.handle for item in engine.pool.trash.items()] == ["b"]
    await engine.close()


def test_a_full_node_tells_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path, 2200 * MIB) as disk:
        running = System(disk / "d")
        running.up("--listen", "127.0.0.1:0")
        try:
            running.create(claim("v"))
            running.create(pod("member", "echo kept > /v/f; sleep 3600", [uses("v")], MOUNT, restartPolicy="Always"))
            running.wait_ready("member")
            uid = running.get("pod", "member")["metadata"]["uid"]
            occupy(disk, but=40 * MIB)  # the server needs some for its own records
            server = running.pid("server")
            running.create(claim("late"))
            running.create(pod("late", "true", [uses("late")], MOUNT))
            told = "that no other volume was promised; free some space or ask for less"
            running.until(lambda: told in " ".join(running.kubectl("describe", "pvc", "late").split()), "the claim is told", 30)
            assert running.kubectl("exec", "member", "--", "cat", "/v/f") == "kept\n"
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/rest", "bs=4096"], capture_output=True, check=False)

            def refused() -> bool:
                metadata = {"name": f"c{time.monotonic_ns()}"}
                large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "x" * 200_000}}
                return "is full" in running.kubectl("create", "-f", "-", check=False, stdin=json.dumps(large))

            running.until(refused, "a write is refused for want of room", 30)
            assert running.get("pod", "member")["metadata"]["uid"] == uid, "reads go on"
            free(disk)
            running.kubectl("create", "configmap", "again")
            assert running.pid("server") == server
            running.until(lambda: running.get("pod", "late")["status"].get("phase") == "Succeeded", "the late one runs", 60)
            assert running.get("pod", "member")["metadata"]["uid"] == uid
            running.kubectl("delete", "pod", "late", "member")
            assert said(running, pod("after", "cat /v/f", [uses("v")], MOUNT)) == ["kept"]
        finally:
            free(disk)
            running.down()
            running.reset()


def test_a_node_without_room_for_its_own_files_says_so_and_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "d"
    (data / "node").mkdir(parents=True)
    with small_disk(tmp_path, 64 * MIB) as disk:
        privileged.bind(disk, data / "node")
        running = System(data)
        try:
            running.up("--listen", "127.0.0.1:0")
            running.create(pod("member", "sleep 3600", [], [], restartPolicy="Always"))
            running.wait_ready("member")
            node, uid = running.pid("node"), running.get("pod", "member")["metadata"]["uid"]
            occupy(disk)
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/rest", "bs=4096"], capture_output=True, check=False)
            for name in ("late", "later"):
                running.create(pod(name, "true", [{"name": "v", "emptyDir": {}}], MOUNT))
            told = "No space left on device"
            running.until(lambda: told in running.kubectl("describe", "pod", "late"), "the first is told", 30)
            running.until(lambda: told in running.kubectl("describe", "pod", "later"), "the second is told", 30)
            assert running.kubectl("exec", "member", "--", "echo", "lives") == "lives\n"
            free(disk)
            for name in ("late", "later"):
                running.wait_field("{.status.phase}", "Succeeded", f"pod/{name}")
            assert running.get("pod", "member")["metadata"]["uid"] == uid
            assert running.pid("node") == node
        finally:
            free(disk)
            running.down()
            privileged.unmount_below(data / "node")
            running.reset()
