"""File systems on image files and devices: made, measured, repaired and enlarged, by their own tools.

Blocking functions, for any engine whose volumes are block devices. What a file system is, and how large, is read from its
superblock, so that nothing need be mounted to know it.
"""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from holdfast.lib import privileged, programs
from holdfast.volumes.api import NeedsRemount, VolumeError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Kind:
    """``minimum`` is the least file data worth promising, ``image`` the smallest device it can be made on (bytes)."""

    make: tuple[str, ...]
    package: str
    minimum: int
    image: int
    overhead: int
    """Bytes beside file data that do not grow with it: the log."""
    options: str
    """Mount options without which a volume is not mounted."""


KINDS = {
    "xfs": Kind(
        ("mkfs.xfs", "-q", "-f", "-K", "-s", "size=4096", "-m", "reflink=0,rmapbt=0", "-l", "size=64m"),
        "xfsprogs",
        256 * MIB,
        336 * MIB,
        96 * MIB,
        "nouuid,discard",
    ),
    "ext4": Kind(
        ("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "nodiscard,lazy_itable_init=1", "-J", "size=16"),
        "e2fsprogs",
        16 * MIB,
        64 * MIB,
        24 * MIB,
        "discard",
    ),
}
POOL = ("mkfs.xfs", "-q", "-f", "-K", "-s", "size=4096", "-m", "reflink=1", "-l", "size=64m")


@dataclass(frozen=True)
class Found:
    kind: str
    size: int
    """Bytes that the file system takes up of its device."""
    block: int


def tool(name: str, package: str) -> str:
    """Its path. Raises VolumeError naming the package to install."""
    found = programs.find(name)
    if found is None:
        raise VolumeError(f"volumes need {name}, and it is not installed: apt-get install {package}")
    return found


def run(package: str, *command: str, good: tuple[int, ...] = (0,)) -> None:
    """Raises VolumeError with the tool's own words. No limit of time: a check or growth that is cut off leaves damage."""
    done = subprocess.run(
        [tool(command[0], package), *command[1:]], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode not in good:
        said = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
        raise VolumeError(f"{command[0]} {command[-1]}: {said}")


def kind_of(name: str) -> Kind:
    """Raises VolumeError for a file system that is not offered; "" means xfs."""
    found = KINDS.get(name or "xfs")
    if found is None:
        raise VolumeError(f"file system {name}: not offered; use {' or '.join(KINDS)}")
    return found


def make(path: str | Path, name: str) -> None:
    """An empty file system over the whole of a device or image file."""
    kind = kind_of(name)
    run(kind.package, *kind.make, str(path))


def make_sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def find(path: str | Path) -> Found | None:
    """What lies on a device or image file; None for nothing that is known."""
    with open(path, "rb") as file:
        head = file.read(2048)
    if head[:4] == b"XFSB":
        block, blocks = struct.unpack_from(">IQ", head, 4)
        return Found("xfs", block * blocks, block)
    if len(head) == 2048 and head[1080:1082] == b"\x53\xef":
        low, exponent, high = (struct.unpack_from("<I", head, 1024 + at)[0] for at in (0x04, 0x18, 0x150))
        block = 1024 << exponent
        return Found("ext4", (low | high << 32) * block, block)
    return None


def prepare(path: str | Path, size: int) -> None:
    """Before a mount: an ext4 smaller than its device is checked and takes it up, which it may not be able to do when mounted."""
    found = find(path)
    if found is not None and found.kind == "ext4" and size - found.size >= found.block:
        package = KINDS["ext4"].package
        run(package, "e2fsck", "-f", "-p", str(path), good=(0, 1))
        run(package, "resize2fs", str(path))


def grow(device: str, target: str | Path) -> None:
    """The file system mounted from ``device`` at ``target`` takes up all of it. Idempotent. Raises VolumeError, NeedsRemount."""
    found = find(device)
    if found is None:
        raise VolumeError(f"{device}: no file system that could be enlarged is on it")
    if found.kind == "xfs":
        return run(KINDS["xfs"].package, "xfs_growfs", "-d", str(target))
    handle = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)
    if size - found.size < found.block:
        return None
    if not privileged.may_exceed_limits():
        text = "an ext4 cannot be enlarged while it is mounted here (CAP_SYS_RESOURCE is missing): it is done at the next mount"
        raise NeedsRemount(f"{text}; end the pods that use it, or use xfs")
    return run(KINDS["ext4"].package, "resize2fs", device)
