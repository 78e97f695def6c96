"""The builtin engine on real loop devices: sizes, the marker, admission, crashes half way, and nothing removed in use."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.lib import privileged
from holdfast.volumes.api import Source, Staging, VolumeError
from holdfast.volumes.builtin import BuiltinEngine
from holdfast.volumes.filesystems import KINDS, MIB

MINIMUM = KINDS["xfs"].minimum


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BuiltinEngine]:
    made = BuiltinEngine(tmp_path / "volumes")
    yield made
    privileged.unmount_below(tmp_path / "volumes" / "mounts")
    await made.close()
    assert not privileged.mounts_below(tmp_path)


def target(tmp_path: Path, handle: str) -> str:
    return str(tmp_path / "volumes" / "mounts" / handle)


def use(tmp_path: Path, handle: str, *, read_only: bool = False) -> tuple[Source, Staging]:
    return Source(handle), Staging(target(tmp_path, handle), read_only=read_only)


def pour(path: Path) -> None:
    """Without end."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * MIB)


def fill(path: Path) -> int:
    """Bytes that fit until the file system says that it is full."""
    with pytest.raises(OSError, match="No space left on device"):
        pour(path)
    return path.stat().st_size


async def test_data_stays_through_unmount_and_a_new_engine(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("pvc-a", 300 * MIB, {}, {})
    data = await engine.stage(*use(tmp_path, "pvc-a"))
    assert os.listdir(data) == []
    (Path(data) / "f").write_text("kept")
    assert await engine.stage(*use(tmp_path, "pvc-a")) == data
    await engine.unstage("pvc-a", target(tmp_path, "pvc-a"))
    await engine.close()
    again = BuiltinEngine(tmp_path / "volumes")
    assert (Path(await again.stage(*use(tmp_path, "pvc-a"))) / "f").read_text() == "kept"
    await again.unstage("pvc-a", target(tmp_path, "pvc-a"))
    await again.close()


@pytest.mark.parametrize("asked", [1, 256 * MIB, 300 * MIB, 512 * MIB])
async def test_a_volume_holds_what_it_says(engine: BuiltinEngine, tmp_path: Path, asked: int) -> None:
    made = await engine.create("pvc-a", asked, {}, {})
    assert made.capacity == max(asked, MINIMUM)
    path = Path(await engine.stage(*use(tmp_path, "pvc-a")))
    written = fill(path / "f")
    assert made.capacity <= written <= made.capacity + made.capacity // 14 + 16 * MIB


async def test_creating_twice_is_creating_once(engine: BuiltinEngine, tmp_path: Path) -> None:
    first = await engine.create("pvc-a", 300 * MIB, {}, {})
    path = Path(await engine.stage(*use(tmp_path, "pvc-a")))
    (path / "f").write_text("kept")
    assert await engine.create("pvc-a", 300 * MIB, {}, {}) == first
    assert (path / "f").read_text() == "kept"


async def test_a_volume_is_unused_until_it_was_mounted(engine: BuiltinEngine, tmp_path: Path) -> None:
    assert await engine.unused() == []
    for handle in ("pvc-a", "pvc-b"):
        await engine.create(handle, 300 * MIB, {}, {})
    await engine.create("pvc-c", 300 * MIB, {"volumeMode": "Block"}, {})
    await engine.stage(*use(tmp_path, "pvc-a"))
    assert await engine.unused() == ["pvc-b"], "nobody knows of a device whether it was used"
    await engine.unstage("pvc-a", target(tmp_path, "pvc-a"))
    assert await engine.unused() == ["pvc-b"]
    await engine.delete(Source("pvc-b"))
    assert await engine.unused() == []


async def test_a_half_made_volume_is_made_again(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("pvc-a", 300 * MIB, {}, {})
    half = tmp_path / "volumes" / "pool" / "pvc-b.new"
    half.write_bytes(b"half a file system")
    await engine.create("pvc-b", 300 * MIB, {}, {})
    assert not half.exists()
    assert os.listdir(await engine.stage(*use(tmp_path, "pvc-b"))) == []


async def test_a_wrong_or_missing_volume_starts_nothing(engine: BuiltinEngine, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"volume pvc-x is not on this node: .* nothing is made in its place"):
        await engine.stage(*use(tmp_path, "pvc-x"))
    await engine.create("pvc-a", 300 * MIB, {}, {})
    path = Path(await engine.stage(*use(tmp_path, "pvc-a")))
    marker = path.parent / "holdfast.json"
    for text, says in ((json.dumps({"volume": "pvc-b"}), "it says it is pvc-b"), ("", "its marker holdfast.json is missing")):
        marker.write_text(text)
        with pytest.raises(VolumeError, match=says):
            await engine.stage(*use(tmp_path, "pvc-a"))


async def test_what_is_used_is_not_removed(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("pvc-a", 300 * MIB, {}, {})
    path = Path(await engine.stage(*use(tmp_path, "pvc-a")))
    with pytest.raises(VolumeError, match="volume pvc-a is in use and is not removed"):
        await engine.delete(Source("pvc-a"))
    assert os.listdir(path) == []
    await engine.unstage("pvc-a", target(tmp_path, "pvc-a"))
    await engine.delete(Source("pvc-a"))
    await engine.delete(Source("pvc-a"))
    with pytest.raises(VolumeError, match="is missing"):
        await engine.stage(*use(tmp_path, "pvc-a"))


async def test_only_room_that_is_there_is_promised(engine: BuiltinEngine, tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    with pytest.raises(VolumeError, match=r"needs \d+ MiB and the disk under .* has \d+ MiB that no other volume was promised"):
        await engine.create("pvc-a", free + 1024 * MIB, {}, {})
    await engine.create("pvc-a", free * 2 // 3, {}, {})
    with pytest.raises(VolumeError, match="promised"):
        await engine.create("pvc-b", free * 2 // 3, {}, {})
    with pytest.raises(VolumeError, match=r"parameters.fancy: unknown"):
        await engine.create("pvc-c", MIB, {"fancy": "yes"}, {})
    with pytest.raises(VolumeError, match="is not a volume handle"):
        await engine.create("../pvc", MIB, {}, {})
