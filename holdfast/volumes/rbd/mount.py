"""What is on an image: looked at, and made where there provably is nothing. Blocking.

An image is formatted only when it is ours and was never handed to anybody, or bears no signature and its first MiB is zero: what
an administrator keeps on an image is never written over, and one whose formatting was cut short is his to empty.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes import filesystems, mounting
from holdfast.volumes.api import VolumeError

MIB = 1024 * 1024
_LOOK_SECONDS = 60.0
DEFAULT = "ext4"
"""As the in-tree type had it."""


def signature(device: str) -> str:
    """The file system (or partition table, RAID, ...) on a device; "" for none. Raises VolumeError when it is not clear."""
    command = [filesystems.tool("blkid", "util-linux"), "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        raise VolumeError(f"{device} is not read within {_LOOK_SECONDS:.0f} s: does the Ceph cluster answer?") from None
    if done.returncode == 2:
        return ""
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or not (found.get("TYPE") or found.get("PTTYPE")):
        raise VolumeError(f"what is on {device} is not clear: {done.stderr.strip() or done.stdout.strip()}; it is left as it is")
    return found.get("TYPE") or f"a partition table ({found['PTTYPE']})"


def is_blank(device: str) -> bool:
    with open(device, "rb", buffering=0) as file:
        return not any(file.read(MIB))


def check(device: str, kind: str) -> None:
    """Before a mount for writing: ext4 mends what it can mend by itself. Raises VolumeError when a person has to look."""
    if kind == "ext4":
        filesystems.run("e2fsprogs", "e2fsck", "-p", device, good=(0, 1))
        with open(device, "rb") as file:
            filesystems.prepare(device, file.seek(0, 2))


def attach(device: str, target: Path, kind: str, *, read_only: bool, options: tuple[str, ...]) -> None:
    """Mounts; idempotent. Raises VolumeError when something else is mounted there."""
    present = privileged.find_mount(target)
    if present is not None:
        if present.source == device:
            return
        raise VolumeError(f"{target} is in use by {present.source}; {device} cannot be mounted there")
    try:
        mounting.empty_directory(target)
        mounting.mount(device, target, kind, options=options, read_only=read_only)
    except OSError as error:
        hint = " (was it unmounted cleanly? mounting it once for writing mends that)" if read_only else ""
        raise VolumeError(f"{kind} on {device} cannot be mounted: {error.strerror or error}{hint}") from error
