"""File systems on images: looked at, made where there provably is none, mounted, grown. Blocking.

An image is formatted only when no signature is on it and it is ours, or was being formatted by us, or its first MiB is
zero: what an administrator keeps on an image is never written over.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes.api import VolumeError
from holdfast.volumes.rbd.cluster import SYSTEM_PATH, tool

MIB = 1024 * 1024
_PACKAGES = {"blkid": "util-linux", "mount": "mount", "xfs": "xfsprogs", "ext4": "e2fsprogs"}
_MAKE = {"ext4": ("mkfs.ext4", "-q", "-F", "-m0"), "xfs": ("mkfs.xfs", "-q", "-f", "-K")}
OFFERED = tuple(_MAKE)


def _run(name: str, package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [tool(name, package), *arguments]
    environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment)


def known(fs_type: str) -> str:
    """Raises VolumeError for a file system that cannot be made."""
    if fs_type not in _MAKE:
        raise VolumeError(f"fsType: {fs_type} is not offered; choose one of {', '.join(_MAKE)}")
    return fs_type


def signature(device: str) -> str:
    """The file system (or partition table, RAID, ...) on a device; "" for none. Raises VolumeError when it is not clear."""
    done = _run("blkid", _PACKAGES["blkid"], "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device)
    if done.returncode == 2:
        return ""
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or not (found.get("TYPE") or found.get("PTTYPE")):
        raise VolumeError(f"what is on {device} is not clear: {done.stderr.strip() or done.stdout.strip()}; it is left as it is")
    return found.get("TYPE") or f"a partition table ({found['PTTYPE']})"


def is_blank(device: str) -> bool:
    with open(device, "rb", buffering=0) as file:
        return not any(file.read(MIB))


def make(device: str, fs_type: str) -> None:
    name, *options = _MAKE[fs_type]
    done = _run(name, _PACKAGES[fs_type], *options, device)
    if done.returncode:
        raise VolumeError(f"{name}: {done.stderr.strip()}")


def check(device: str, fs_type: str) -> None:
    """Lets ext4 mend what it can mend by itself. Raises VolumeError when a person has to look."""
    if fs_type.startswith("ext"):
        done = _run("e2fsck", _PACKAGES["ext4"], "-p", device)
        if done.returncode & 4:
            raise VolumeError(f"its file system has errors that are not mended by themselves: {done.stdout.strip()}; run e2fsck on it")


def attach(device: str, target: Path, fs_type: str, *, read_only: bool, options: tuple[str, ...]) -> None:
    """Mounts; idempotent. Raises VolumeError when something else is mounted there."""
    present = privileged.find_mount(target)
    if present is not None:
        if present.source == device:
            return
        raise VolumeError(f"{target} is in use by {present.source}; {device} cannot be mounted there")
    target.mkdir(parents=True, exist_ok=True)
    # One machine may be several nodes, and xfs mounts no two file systems of one id.
    own = ("nouuid",) if fs_type == "xfs" else ()
    chosen = ",".join(("ro" if read_only else "rw", *own, *options))
    done = _run("mount", _PACKAGES["mount"], "--internal-only", "-t", fs_type, "-o", chosen, device, str(target))
    if done.returncode:
        hint = " (was it unmounted cleanly? mounting it once for writing mends that)" if read_only else ""
        raise VolumeError(f"mount -t {fs_type} -o {chosen}: {done.stderr.strip().splitlines()[0]}{hint}")
    privileged.make_private(target)


def detach(target: Path, patience: float = 10.0) -> None:
    """Unmounts; idempotent. Raises VolumeError while something uses it."""
    try:
        privileged.unmount(target, patience=patience)
    except OSError as error:
        raise VolumeError(f"{target} is still in use and stays mounted: {error.strerror or error}") from error
    if target.exists():
        target.rmdir()


def grow(device: str, target: Path, fs_type: str) -> None:
    """The mounted file system takes up all of its device; idempotent."""
    name, what = ("xfs_growfs", str(target)) if fs_type == "xfs" else ("resize2fs", device)
    done = _run(name, _PACKAGES[fs_type], what)
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
        hint = " (ext4 grows in use only for a node with CAP_SYS_RESOURCE; xfs always does)" if "Permission" in why else ""
        raise VolumeError(f"the file system at {target} does not grow: {why}{hint}")
