"""The rbd engine against a real Ceph: whose image it is, who may write, what is formatted, and what a killed daemon leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.lib import privileged
from holdfast.lib.process import start_time
from holdfast.volumes import filesystems
from holdfast.volumes.api import Source, Staging, VolumeError, VolumeLost
from holdfast.volumes.rbd import RbdEngine, attachment
from holdfast.volumes.rbd.attachment import Attachment
from tests.ceph import POOL, USER, Ceph

MIB = 1024 * 1024


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Callable[[str], RbdEngine]]:
    """``engines("a")``: the engine of node a, anew at each call, as after a restart."""
    made: dict[str, RbdEngine] = {}

    def make(node: str) -> RbdEngine:
        made[node] = RbdEngine(tmp_path / node)
        return made[node]

    yield make
    for engine in made.values():
        await engine.close()
    assert not privileged.mounts_below(tmp_path)
    assert not records(tmp_path)


def source(ceph: Ceph, image: str, user: str = USER, **attributes: str) -> Source:
    given = {"monitors": ceph.monitor, "pool": POOL, "image": image, "user": user, **attributes}
    return Source(image, given, {"key": ceph.key(user)})


def at(tmp_path: Path, node: str, name: str = "v", **how: Any) -> Staging:
    return Staging(str(tmp_path / node / "mounts" / name), **how)


def records(tmp_path: Path, node: str = "*") -> list[Path]:
    return [path.parent for path in tmp_path.glob(f"{node}/rbd/*/record.json")]


def read(path: str) -> str:
    return Path(path).read_text()


def record(tmp_path: Path, node: str) -> Attachment:
    (place,) = records(tmp_path, node)
    found = attachment.load(place)
    assert found is not None
    return found


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


def parameters(ceph: Ceph, **more: str) -> dict[str, str]:
    return {
        "monitors": ceph.monitor,
        "adminId": USER,
        "adminSecretName": "s",
        "userId": USER,
        "userSecretName": "s",
        "pool": POOL,
        "imageFeatures": "layering",
        **more,
    }


async def test_somebodys_image_is_formatted_once_and_kept_as_it_is(
    ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path
) -> None:
    ceph.image("kept")
    one = engines("a")
    path = await one.stage(source(ceph, "kept"), at(tmp_path, "a", fs_type="xfs"))
    assert os.listdir(path) == []
    (Path(path) / "f").write_text("kept")
    assert await one.stage(source(ceph, "kept"), at(tmp_path, "a")) == path
    await one.unstage("kept", path)
    assert ceph.watchers("kept") == []
    for reader in ("b", "c"):
        path = await engines(reader).stage(source(ceph, "kept"), at(tmp_path, reader, read_only=True))
        assert os.listdir(path) == ["f"]
    with pytest.raises(VolumeError, match="still being used"):
        await one.stage(source(ceph, "kept"), at(tmp_path, "a"))
    with pytest.raises(VolumeError, match="holds xfs, and fsType asks for ext4; it is left as it is"):
        await engines("d").stage(source(ceph, "kept"), at(tmp_path, "d", read_only=True, fs_type="ext4"))


async def test_what_is_not_empty_is_never_formatted(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    ceph.image("other")
    (tmp_path / "raw").write_bytes(b"\0" * 5000 + b"a database that needs no file system" + b"\0" * MIB)
    ceph.rbd("rm", "--no-progress", f"{POOL}/other")
    ceph.rbd("import", "--no-progress", str(tmp_path / "raw"), f"{POOL}/other")
    one = engines("a")
    with pytest.raises(VolumeError, match="is not empty; it is left as it is"):
        await one.stage(source(ceph, "other"), at(tmp_path, "a"))
    ceph.image("bare")
    with pytest.raises(VolumeError, match="has no file system, and it is only to be read"):
        await one.stage(source(ceph, "bare"), at(tmp_path, "a", read_only=True))
    assert ceph.watchers("other") == []


async def test_a_broken_file_system_of_somebodys_is_left_to_him(
    ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path
) -> None:
    broken, out = tmp_path / "broken", tmp_path / "out"
    with broken.open("wb") as file:
        file.truncate(64 * MIB)
    filesystems.run("e2fsprogs", "mkfs.ext4", "-q", str(broken))
    with broken.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (MIB - 4096))
    ceph.rbd("import", "--no-progress", str(broken), f"{POOL}/broken")
    one = engines("a")
    for _ in range(2):
        with pytest.raises(VolumeError):
            await one.stage(source(ceph, "broken"), at(tmp_path, "a"))
    ceph.rbd("export", "--no-progress", f"{POOL}/broken", str(out))
    identity = slice(1024 + 0x68, 1024 + 0x78)
    assert out.read_bytes()[identity] == broken.read_bytes()[identity] != bytes(16), "it bears its own UUID still"


@pytest.mark.parametrize("features", [("layering",), ("layering", "exclusive-lock")])
async def test_two_nodes_never_both_write(
    ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path, features: tuple[str, ...]
) -> None:
    name = f"two-{len(features)}"
    ceph.image(name, "128M", *features)
    first, second = engines("a"), engines("b")
    path = await first.stage(source(ceph, name), at(tmp_path, "a"))
    (Path(path) / "f").write_text("of the first")
    with pytest.raises(VolumeError, match=f"rbd image kube/{name} is still being used by 127.0.0.1"):
        await second.stage(source(ceph, name), at(tmp_path, "b"))
    await first.unstage(name, path)
    # Both at once: at most one gets it, and what it writes is all there is.
    outcomes = await asyncio.gather(
        first.stage(source(ceph, name), at(tmp_path, "a")),
        second.stage(source(ceph, name), at(tmp_path, "b")),
        return_exceptions=True,
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(won) <= 1
    assert all(isinstance(outcome, VolumeError) and "still being used" in str(outcome) for outcome in outcomes if outcome not in won)
    assert len(ceph.watchers(name)) == len(won)


async def test_the_former_holder_is_cut_off_before_the_next_one_writes(
    ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path
) -> None:
    ceph.image("taken", "128M")
    lost, heir = engines("a"), engines("b")
    path = Path(await lost.stage(source(ceph, "taken"), at(tmp_path, "a")))
    (path / "f").write_text("before")
    os.sync()
    holding = dict(lost.holding(str(path)))
    assert holding["client"] == ceph.watchers("taken")[0]
    with pytest.raises(VolumeError, match="still being used"):
        await heir.stage(source(ceph, "taken"), at(tmp_path, "b", former={"image": holding["image"]}))
    weak = source(ceph, "taken", "weak")
    with pytest.raises(VolumeError, match=r"an administrator can: ceph osd blocklist add 127\.0\.0\.1"):
        await heir.stage(weak, at(tmp_path, "b", former=holding))
    new = Path(await heir.stage(source(ceph, "taken"), at(tmp_path, "b", former=holding)))
    assert (new / "f").read_text() == "before"
    (new / "f").write_text("after")
    with pytest.raises(OSError, match=r"Input/output error|Read-only"):
        await asyncio.to_thread(_write_durably, path / "g")
    await heir.unstage("taken", str(new))
    assert (Path(await heir.stage(source(ceph, "taken"), at(tmp_path, "b"))) / "f").read_text() == "after"
    gone = {**holding, "image": "kube/1 of another day"}
    with pytest.raises(VolumeError, match="is not the one this volume was first used with"):
        await engines("c").stage(source(ceph, "taken"), at(tmp_path, "c", former=gone))


async def test_a_restarted_node_finds_its_daemon(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    ceph.image("found", "128M")
    path = await engines("a").stage(source(ceph, "found"), at(tmp_path, "a"))
    pid = record(tmp_path, "a").pid
    # The cluster need not answer for that.
    nowhere = source(ceph, "found", monitors="127.0.0.1:1")
    again = engines("a")
    assert await again.stage(nowhere, at(tmp_path, "a")) == path
    assert record(tmp_path, "a").pid == pid
    second = await again.stage(source(ceph, "found"), at(tmp_path, "a", "second", read_only=True))
    assert record(tmp_path, "a").pid == pid
    with pytest.raises(OSError, match="Read-only"):
        (Path(second) / "f").touch()
    words = read(f"/proc/{pid}/cmdline") + read(f"/proc/{pid}/environ")
    assert "found" in words
    assert ceph.key(USER) not in words
    for file in (tmp_path / "a" / "rbd").rglob("*"):
        if file.is_file() and file.name != "image":
            assert ceph.key(USER) not in file.read_text()


async def test_a_daemon_that_was_started_and_not_recorded_is_ended(
    ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path
) -> None:
    ceph.image("stray", "128M")
    one = engines("a")
    await one.stage(source(ceph, "stray"), at(tmp_path, "a"))
    old = record(tmp_path, "a").pid
    privileged.unmount(tmp_path / "a" / "mounts" / "v")
    next((tmp_path / "a" / "rbd").glob("*/record.json")).unlink()
    await engines("a").stage(source(ceph, "stray"), at(tmp_path, "a"))
    assert record(tmp_path, "a").pid != old
    assert not start_time(old)
    assert len(ceph.watchers("stray")) == 1


async def test_a_killed_daemon_is_told_and_mounted_anew(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    ceph.image("killed", "128M")
    one, lost = engines("a"), list[tuple[str, str]]()
    one.on_lost(lambda target, why: lost.append((target, why)))
    path = Path(await one.stage(source(ceph, "killed"), at(tmp_path, "a")))
    (path / "f").write_text("safe")
    os.sync()
    with (path / "f").open():
        writing = asyncio.create_task(asyncio.to_thread(_acknowledge, path / "log"))
        await until(lambda: (path / "log").exists() and (path / "log").stat().st_size > 500, "it is written to")
        os.kill(record(tmp_path, "a").pid, signal.SIGKILL)
        await until(lambda: bool(lost), "the loss is told")
        acknowledged = await writing
        assert acknowledged > 100
        assert lost[0][0] == str(path)
        assert "has ended by itself" in lost[0][1]
        with pytest.raises(VolumeLost, match="mounted anew when all that use it here have ended"):
            await one.stage(source(ceph, "killed"), at(tmp_path, "a"))
    again = Path(await one.stage(source(ceph, "killed"), at(tmp_path, "a")))
    assert (again / "f").read_text() == "safe"
    kept = (again / "log").read_text().splitlines()
    assert kept[:acknowledged] == [str(number) for number in range(acknowledged)], "what was acknowledged is there"
    (again / "g").write_text("writable")
    assert len(ceph.watchers("killed")) == 1
    assert len(lost) == 1


async def test_images_are_made_grown_in_use_and_removed(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    one = engines("a")
    secrets = {"key": ceph.key(USER)}
    made = await one.create("pvc-1", 400 * MIB, parameters(ceph, fsType="xfs"), secrets)
    assert (made.capacity, made.attributes["image"], made.fs_type) == (400 * MIB, "pvc-1", "xfs")
    assert await one.create("pvc-1", 400 * MIB, parameters(ceph, fsType="xfs"), secrets) == made
    volume = Source("pvc-1", made.attributes, secrets)
    path = Path(await one.stage(volume, at(tmp_path, "a", fs_type="xfs")))
    assert path.name == "data"
    (path / "f").write_text("kept")
    with pytest.raises(VolumeError, match=r"is still being used by .* and is not removed"):
        await one.delete(volume)
    assert await one.expand(volume, 600 * MIB) == 600 * MIB
    assert await one.expand(volume, 500 * MIB) == 600 * MIB
    await one.grow("pvc-1", str(path.parent))
    await one.grow("pvc-1", str(path.parent))
    with (path / "big").open("wb") as file:
        for _ in range(420):
            file.write(b"x" * MIB)
    (path.parent / "holdfast.json").write_text('{"volume": "pvc-2"}')
    await one.unstage("pvc-1", str(path.parent))
    with pytest.raises(VolumeError, match="is not volume pvc-1: it says it is pvc-2"):
        await one.stage(volume, at(tmp_path, "a", fs_type="xfs"))
    await one.delete(volume)
    await one.delete(volume)
    assert "pvc-1" not in ceph.rbd("ls", POOL)
    ceph.image("foreign", "64M")
    with pytest.raises(VolumeError, match=r"was not made by kubernetes\.io/rbd here, and is not removed"):
        await one.delete(source(ceph, "foreign"))


async def test_a_format_that_was_cut_short_begins_anew(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    one, secrets = engines("a"), {"key": ceph.key(USER)}
    made = await one.create("pvc-half", 64 * MIB, parameters(ceph), secrets)
    volume = Source("pvc-half", made.attributes, secrets)
    path = Path(await one.stage(volume, at(tmp_path, "a")))
    (path / "f").write_text("kept")
    await one.unstage("pvc-half", str(path.parent))
    # The cluster was not told that it is whole: what is there is looked at before anything is made.
    ceph.rbd("image-meta", "remove", f"{POOL}/pvc-half", "holdfast.io/formatted")
    path = Path(await one.stage(volume, at(tmp_path, "a")))
    assert (path / "f").read_text() == "kept"
    await one.unstage("pvc-half", str(path.parent))
    ceph.rbd("image-meta", "remove", f"{POOL}/pvc-half", "holdfast.io/formatted")
    (tmp_path / "half").write_bytes(b"half a file system" * 100)
    ceph.rbd("rm", "--no-progress", f"{POOL}/pvc-half")
    ceph.rbd("import", "--no-progress", str(tmp_path / "half"), f"{POOL}/pvc-half")
    ceph.rbd("resize", "--no-progress", "--size", "64M", f"{POOL}/pvc-half")
    ceph.rbd("image-meta", "set", f"{POOL}/pvc-half", "holdfast.io/volume", "pvc-half")
    assert os.listdir(await one.stage(volume, at(tmp_path, "a"))) == []


async def test_refusals_name_the_cause_and_the_remedy(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    one, here = engines("a"), at(tmp_path, "a")
    good = source(ceph, "foo")
    wrong = Source("foo", good.attributes, {"key": "AQBVTydp6dZwLBAAwAkbR3nYrxDHxVdwl0bXiw=="})
    for crooked, says in (
        (source(ceph, "none"), "there is no image none in pool kube"),
        (source(ceph, "foo", pool="none"), "there is no pool none in the Ceph cluster"),
        (source(ceph, "foo", monitors="127.0.0.1:1"), "no monitor of the Ceph cluster answers at 127.0.0.1:1"),
        (source(ceph, "foo", monitors=""), "monitors: required"),
        (source(ceph, "foo", monitors="1.2.3.4\nkey=x"), "monitors: .* is not HOST:PORT"),
        (source(ceph, "fo o"), "image: 'fo o' is not a name"),
        (wrong, "client.kube .*wrong key"),
        (Source("foo", good.attributes, {"key": "not a key"}), "secretRef: its data.key is not a key"),
        (Source("foo", {**good.attributes, "keyring": "/none"}), "keyring: /none on this node: No such file"),
        (Source("foo", {**good.attributes, "keyring": ceph.keyring("weak")}), "holds no key of client.kube"),
    ):
        with pytest.raises(VolumeError, match=says):
            await one.stage(crooked, here)
    secrets = {"key": ceph.key(USER)}
    for more, says in (
        ({"fancy": "x"}, "parameters.fancy: unknown"),
        ({"monitors": ""}, "parameters.monitors: required"),
        ({"imageFormat": "3"}, "parameters.imageFormat: 3 is neither 1 nor 2"),
        ({"imageFeatures": "layering,magic"}, "parameters.imageFeatures: magic is not one of"),
        ({"fsType": "zfs"}, "file system zfs: not offered"),
    ):
        with pytest.raises(VolumeError, match=says):
            await one.create("pvc-no", MIB, parameters(ceph, **more), secrets)


async def test_io_waits_while_the_monitor_is_away(ceph: Ceph, engines: Callable[[str], RbdEngine], tmp_path: Path) -> None:
    ceph.image("waits", "128M")
    path = Path(await engines("a").stage(source(ceph, "waits"), at(tmp_path, "a")))
    with ceph.stopped("mon.a"):
        (path / "f").write_text("no monitor is needed for a write")
        await asyncio.to_thread(os.sync)
    with ceph.stopped("osd.0"):
        writing = asyncio.create_task(asyncio.to_thread(_write_durably, path / "g"))
        done, _ = await asyncio.wait({writing}, timeout=1)
        assert not done
    await writing
    assert (path / "g").read_text() == "durable"


def _acknowledge(path: Path) -> int:
    """Writes numbers until that fails; how many were safe by the system's word."""
    number = 0
    with path.open("w", buffering=1) as file:
        try:
            while True:
                file.write(f"{number}\n")
                os.fsync(file.fileno())
                number += 1
        except OSError:
            pass
    return number


def _write_durably(path: Path) -> None:
    with path.open("w") as file:
        file.write("durable")
        file.flush()
        os.fsync(file.fileno())
