"""A path in a volume that others write to while it is looked up (SEC-9, SEC-10), and files that go in by their given names (SEC-12)."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

import pytest

from holdfast.node.volumes import atomic, subpath
from holdfast.volumes.api import VolumeError

RENAME_EXCHANGE = 2


def there(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def test_missing_directories_are_made_and_owned_as_the_volume(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    assert there(subpath.find(str(tmp_path), "a//./b")) == str(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_gid == tmp_path.stat().st_gid


@pytest.mark.parametrize("below", ["/a", "a/../../b", "..", "a\0b"])
def test_what_is_no_path_inside_is_refused(tmp_path: Path, below: str) -> None:
    with pytest.raises(VolumeError, match=r"must be a relative path without \.\."):
        subpath.find(str(tmp_path), below)


def test_sockets_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(VolumeError, match="is neither a file nor a directory"):
        subpath.find(str(tmp_path), "f")


def test_sec_10_a_swapped_directory_never_leads_out(tmp_path: Path) -> None:
    """Somebody swaps a directory of the volume with a symlink to the outside, all the time."""
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "a" / "b").mkdir(parents=True)
    (outside / "b").mkdir(parents=True)
    (volume / "link").symlink_to(outside)
    libc = ctypes.CDLL(None)
    done = threading.Event()

    def swap() -> None:
        one, other = bytes(volume / "a"), bytes(volume / "link")
        while not done.is_set():
            assert libc.renameat2(-100, one, -100, other, RENAME_EXCHANGE) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    found, refused = 0, 0
    try:
        while found < 50 or refused < 5:
            try:
                path = there(subpath.find(str(volume), "a/b"))
            except VolumeError:
                refused += 1
                continue
            found += 1
            assert path.startswith(str(volume) + "/"), path
            assert (outside / "b").is_dir()
    finally:
        done.set()
        thread.join()
    assert os.listdir(outside) == ["b"], "nothing was made outside either"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..data", "a\0"])
def test_sec_12_no_file_is_written_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeError, match="must be relative"):
        atomic.write(tmp_path / "v", {name: atomic.File(b"", 0o600)})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("link", ["..", "../outside", "..2020_01_01_00_00_00.0123456789"])
def test_sec_11_a_planted_link_removes_nothing(tmp_path: Path, link: str) -> None:
    volume, outside = tmp_path / "v", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("kept")
    if link.startswith("..2"):
        (volume / link).symlink_to(outside)
    (volume / "..data").symlink_to(link)
    for text in (b"one", b"two"):
        assert atomic.write(volume, {"k": atomic.File(text, 0o644)})
        assert (volume / "k").read_bytes() == text
    assert (outside / "precious").read_text() == "kept"
