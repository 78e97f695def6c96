"""File systems, bare devices, expansion and the trash of the builtin engine, on real loop devices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.lib import privileged
from holdfast.volumes import filesystems
from holdfast.volumes.api import BLOCK, FS_TYPE, NeedsRemount, Source, Staging, VolumeError
from holdfast.volumes.builtin import BuiltinEngine
from holdfast.volumes.builtin import label as labels
from holdfast.volumes.filesystems import MIB
from tests.integration.test_builtin_engine import fill

EXT4 = {FS_TYPE: "ext4"}
NOW = 1_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(tmp_path: Path, clock: Clock) -> AsyncIterator[BuiltinEngine]:
    made = BuiltinEngine(tmp_path / "volumes", now=clock)
    yield made
    privileged.unmount_below(tmp_path / "volumes" / "mounts")
    for image in (tmp_path / "volumes" / "pool").glob("*.img"):
        privileged.detach_loop(image)
    await made.close()
    assert not privileged.mounts_below(tmp_path)


def staging(tmp_path: Path, handle: str = "v", **how: object) -> Staging:
    return replace(Staging(str(tmp_path / "volumes" / "mounts" / handle)), **how)  # type: ignore[arg-type]


def image(tmp_path: Path, handle: str = "v") -> Path:
    return tmp_path / "volumes" / "pool" / f"{handle}.img"


async def test_ext4_holds_what_it_says_and_stays(engine: BuiltinEngine, tmp_path: Path) -> None:
    made = await engine.create("v", 100 * MIB, EXT4, {})
    assert (made.capacity, made.fs_type) == (100 * MIB, "ext4")
    where = staging(tmp_path, fs_type="ext4", options=("noatime",))
    path = Path(await engine.stage(Source("v"), where))
    assert os.listdir(path) == []
    mounted = privileged.find_mount(where.target)
    assert mounted is not None
    assert mounted.fstype == "ext4"
    assert 100 * MIB <= fill(path / "f") <= 132 * MIB
    with pytest.raises(VolumeError, match=r"has an ext4 file system, and xfs is asked for \(fsType\)"):
        await engine.stage(Source("v"), replace(where, fs_type="xfs"))


async def test_refused_parameters_and_options(engine: BuiltinEngine, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"parameters.csi.storage.k8s.io/fstype: file system zfs: not offered; use xfs or ext4"):
        await engine.create("v", MIB, {FS_TYPE: "zfs"}, {})
    with pytest.raises(VolumeError, match=r"parameters.trashHours: soon: a number of hours is wanted"):
        await engine.create("v", MIB, {"trashHours": "soon"}, {})
    await engine.create("v", 20 * MIB, EXT4, {})
    with pytest.raises(VolumeError, match=r"refuses to be mounted with the options fancy \(mountOptions\)"):
        await engine.stage(Source("v"), staging(tmp_path, options=("fancy",)))
    assert not privileged.loops_of(image(tmp_path))


async def test_read_only_staging(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("v", 20 * MIB, EXT4, {})
    where = staging(tmp_path, read_only=True)
    for _ in range(2):  # the first time its marker is written too
        path = Path(await engine.stage(Source("v"), where))
        with pytest.raises(OSError, match="Read-only file system"):
            (path / "f").write_text("no")
        await engine.unstage("v", where.target)


async def test_a_bare_device(engine: BuiltinEngine, tmp_path: Path) -> None:
    made = await engine.create("v", 30 * MIB, BLOCK, {})
    assert (made.capacity, made.fs_type) == (32 * MIB, "")
    where = staging(tmp_path, block=True)
    device = await engine.stage(Source("v"), where)
    assert await engine.stage(Source("v"), where) == device
    handle = os.open(device, os.O_RDWR)
    assert os.lseek(handle, 0, os.SEEK_END) == 32 * MIB
    os.pwrite(handle, b"kept", MIB)
    os.fsync(handle)
    with pytest.raises(VolumeError, match="in use and is not removed"):
        await engine.delete(Source("v"))
    assert await engine.expand(Source("v"), 48 * MIB) == 48 * MIB
    await engine.grow("v", where.target)
    assert os.lseek(handle, 0, os.SEEK_END) == 48 * MIB
    with pytest.raises(VolumeError, match="still in use"):
        await engine.unstage("v", where.target)
    assert await engine.stage(Source("v"), where) == device
    os.close(handle)  # it does not go with its last user, for it has been staged again
    handle = os.open(device, os.O_RDONLY)
    assert os.pread(handle, 4, MIB) == b"kept"
    os.close(handle)
    await engine.unstage("v", where.target)
    assert not privileged.loops_of(image(tmp_path))
    with pytest.raises(VolumeError, match=r"is a bare device \(volumeMode Block\) and cannot be used otherwise"):
        await engine.stage(Source("v"), staging(tmp_path))


async def test_a_wrong_or_short_device_starts_nothing(engine: BuiltinEngine, tmp_path: Path) -> None:
    """P-5 for what has no marker inside: the label goes with the file, not with its name or its bytes."""
    await engine.create("v", 30 * MIB, BLOCK, {})
    await engine.create("w", 30 * MIB, BLOCK, {})
    where = staging(tmp_path, block=True)
    os.truncate(image(tmp_path), MIB)
    with pytest.raises(VolumeError, match="volume v is shorter than the 33554432 bytes it was made with; nothing starts on it"):
        await engine.stage(Source("v"), where)
    os.replace(image(tmp_path, "w"), image(tmp_path))
    with pytest.raises(VolumeError, match="is not volume v: it says it is w; nothing starts on it"):
        await engine.stage(Source("v"), where)
    image(tmp_path).unlink()
    filesystems.make_sparse(image(tmp_path), 32 * MIB)
    with pytest.raises(VolumeError, match="is not volume v: it has no label; nothing starts on it"):
        await engine.stage(Source("v"), where)


async def test_an_emptied_volume_starts_nothing(engine: BuiltinEngine, tmp_path: Path) -> None:
    """P-5: a file system made anew over a used volume is not taken for a fresh one; a fresh one that is not empty neither."""
    for handle in ("v", "w"):
        await engine.create(handle, 20 * MIB, EXT4, {})
    await engine.stage(Source("v"), staging(tmp_path))
    await engine.unstage("v", staging(tmp_path).target)
    filesystems.make(image(tmp_path), "ext4")
    with pytest.raises(VolumeError, match=r"its marker holdfast.json is missing; nothing starts on it"):
        await engine.stage(Source("v"), staging(tmp_path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with privileged.loop_device(image(tmp_path, "w")) as device:
        privileged.mount(device, scratch, "ext4")
    (scratch / "file").write_text("somebody's")
    privileged.unmount(scratch)
    with pytest.raises(VolumeError, match=r"should be the new volume w and is not empty \(file\); nothing starts on it"):
        await engine.stage(Source("w"), staging(tmp_path, "w"))


async def test_a_first_mount_that_lost_power_is_done_again(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("v", 20 * MIB, EXT4, {})
    label = labels.read(image(tmp_path), "v")
    path = Path(await engine.stage(Source("v"), staging(tmp_path)))
    for cut in ("", '{"volume": "v"'):
        (path.parent / "holdfast.json").write_text(cut)
        labels.write(image(tmp_path), label)
        assert await engine.stage(Source("v"), staging(tmp_path)) == str(path)
    (path / "f").write_text("a member's")
    (path.parent / "holdfast.json").write_text("")
    labels.write(image(tmp_path), label)
    with pytest.raises(VolumeError, match=r"should be the new volume v and is not empty \(data/f\); nothing starts on it"):
        await engine.stage(Source("v"), staging(tmp_path))


async def test_xfs_grows_in_use_and_again_after_a_crash(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("v", 256 * MIB, {}, {})
    where = staging(tmp_path)
    path = Path(await engine.stage(Source("v"), where))
    (path / "f").write_text("kept")
    assert await engine.expand(Source("v"), 400 * MIB) == 400 * MIB
    assert await engine.expand(Source("v"), 400 * MIB) == 400 * MIB
    assert await engine.expand(Source("v"), 300 * MIB) == 400 * MIB, "never smaller"
    again = BuiltinEngine(tmp_path / "volumes")  # the first was killed here
    assert await again.stage(Source("v"), where) == str(path)
    for _ in range(2):
        await again.grow("v", where.target)
    assert (path / "f").read_text() == "kept"
    assert 400 * MIB <= fill(path / "more") <= 400 * MIB + 48 * MIB


async def test_ext4_grows_at_the_next_mount(engine: BuiltinEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.create("v", 20 * MIB, EXT4, {})
    where = staging(tmp_path)
    path = Path(await engine.stage(Source("v"), where))
    (path / "f").write_text("kept")
    await engine.expand(Source("v"), 120 * MIB)
    monkeypatch.setattr(privileged, "may_exceed_limits", lambda: False)
    with pytest.raises(NeedsRemount, match=r"an ext4 cannot be enlarged while it is mounted here .* it is done at the next mount"):
        await engine.grow("v", where.target)
    await engine.unstage("v", where.target)
    await engine.stage(Source("v"), where)
    await engine.grow("v", where.target)
    assert (path / "f").read_text() == "kept"
    assert fill(path / "more") >= 119 * MIB


async def test_expansion_is_promised_only_room_that_is_there(engine: BuiltinEngine, tmp_path: Path) -> None:
    await engine.create("v", 256 * MIB, {}, {})
    size = image(tmp_path).stat().st_size
    with pytest.raises(VolumeError, match=r"volume v needs \d+ MiB and the disk under .* that no other volume was promised"):
        await engine.expand(Source("v"), 1 << 50)
    assert image(tmp_path).stat().st_size == size
    with pytest.raises(VolumeError, match="is missing; nothing is made in its place"):
        await engine.expand(Source("none"), MIB)


async def test_a_used_directory_is_not_mounted_over(engine: BuiltinEngine, tmp_path: Path) -> None:
    """R-30, R-35: what was written beside a volume is reported, and never removed."""
    await engine.create("v", 20 * MIB, EXT4, {})
    where = staging(tmp_path)
    lost = Path(where.target) / "lost"
    lost.parent.mkdir(parents=True)
    lost.write_text("mine")
    with pytest.raises(VolumeError, match=r"is not mounted and not empty \(lost\).*nothing is removed"):
        await engine.stage(Source("v"), where)
    with pytest.raises(VolumeError, match="is not removed: Directory not empty"):
        await engine.unstage("v", where.target)
    assert lost.read_text() == "mine"


# The trash


async def used(engine: BuiltinEngine, tmp_path: Path, handle: str = "v", **parameters: str) -> None:
    """A volume that holds a file."""
    await engine.create(handle, 20 * MIB, {**EXT4, **parameters}, {})
    where = staging(tmp_path, handle)
    (Path(await engine.stage(Source(handle), where)) / "f").write_text(f"of {handle}")
    await engine.unstage(handle, where.target)


async def test_what_was_removed_can_be_had_back_until_its_time_is_over(engine: BuiltinEngine, tmp_path: Path, clock: Clock) -> None:
    await used(engine, tmp_path)
    await engine.delete(Source("v", record="{}"))
    await engine.delete(Source("v"))
    trash = engine.pool.trash
    [item] = trash.items()
    assert (item.handle, item.removed, item.until, item.record, item.has_data) == ("v", NOW, NOW + 24 * 3600, "{}", True)
    with pytest.raises(VolumeError, match="is missing; nothing is made in its place"):
        await engine.stage(Source("v"), staging(tmp_path))
    for _ in range(2):  # the first was killed before the volume's record was there
        assert trash.take_back("v").record == "{}"
    with pytest.raises(VolumeError, match="has been restored but for its PersistentVolume"):
        trash.purge("v")
    clock.now += 25 * 3600
    assert engine.expire() == [], "what is back is not erased"
    trash.forget("v")
    assert trash.items() == []
    path = Path(await engine.stage(Source("v"), staging(tmp_path)))
    assert (path / "f").read_text() == "of v"
    await engine.unstage("v", staging(tmp_path).target)
    await engine.delete(Source("v"))
    assert engine.expire() == []
    clock.now += 24 * 3600
    assert engine.expire() == ["v"]
    assert [entry.name for entry in image(tmp_path).parent.rglob("*.img")] == []
    with pytest.raises(VolumeError, match="volume v is not in the trash; holdfast volume list --trash shows what is"):
        trash.take_back("v")


async def test_no_hours_erase_at_once(engine: BuiltinEngine, tmp_path: Path) -> None:
    await used(engine, tmp_path, trashHours="0")
    await engine.delete(Source("v"))
    assert list(image(tmp_path).parent.rglob("v*")) == []


async def test_a_deletion_killed_half_way_is_done_again(engine: BuiltinEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await used(engine, tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            engine._delete(Source("v", record="{}"))
    assert image(tmp_path).exists()
    await engine.delete(Source("v", record="{}"))
    assert [item.has_data for item in engine.pool.trash.items()] == [True]


def find_uuid(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(2048)
    return head[32:48] if head.startswith(b"XFSB") else head[1128:1144]


async def test_many_at_once_of_several_kinds(engine: BuiltinEngine, tmp_path: Path) -> None:
    async def one(number: int) -> None:
        handle = f"v{number}"
        parameters = EXT4 if number % 2 else {}
        await engine.create(handle, 256 * MIB, parameters, {})
        path = Path(await engine.stage(Source(handle), staging(tmp_path, handle)))
        (path / "f").write_text(handle)

    await asyncio.gather(*(one(number) for number in range(8)))
    for number in range(8):
        text = (Path(staging(tmp_path, f"v{number}").target) / "data" / "f").read_text()
        assert text == f"v{number}"
    found = [find_uuid(image(tmp_path, f"v{number}")) for number in range(8)]
    assert len(set(found)) == 8
