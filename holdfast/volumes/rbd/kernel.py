"""Images through the kernel's own rbd driver, where it has one: ``rbd map`` and ``rbd unmap``. Blocking.

The device follows a resize of its image by itself; with ``exclusive`` the lock of an image that has that feature
is never handed to another client that asks for it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.lib import programs
from holdfast.lib.programs import SYSTEM_PATH
from holdfast.volumes import filesystems
from holdfast.volumes.api import VolumeError
from holdfast.volumes.rbd import cluster
from holdfast.volumes.rbd.cluster import Access, Image

_BUS = Path("/sys/bus/rbd")
_UNMAP_SECONDS = 60.0


def is_offered() -> bool:
    if not _BUS.exists():
        programs.load_module("rbd")
    return _BUS.exists()


def attach(reached: Access, image: Image, *, read_only: bool) -> str:
    """The block device. Raises VolumeError."""
    if read_only:
        options = ["--read-only"]
    elif "exclusive-lock" in image.features:
        options = ["--options", "exclusive"]
    else:
        options = []
    return cluster.run(reached, "rbd", "map", *cluster.place(reached), *options).strip()


def detach(device: str) -> None:
    """Idempotent. Raises VolumeError while it is used."""
    if not Path(device).exists():
        return
    command = [filesystems.tool("rbd", "ceph-common"), "unmap", device]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": SYSTEM_PATH},
            timeout=_UNMAP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise VolumeError(f"rbd unmap {device} takes longer than {_UNMAP_SECONDS:.0f} s: does the Ceph cluster answer?") from None
    if done.returncode:
        raise cluster.CephError(done.returncode, f"rbd unmap {device}: {done.stderr.strip()}")


def is_there(device: str, image_id: str) -> bool:
    """Whether the device is still that very image: after a boot another one may have its name."""
    try:
        return (_BUS / "devices" / device.removeprefix("/dev/rbd") / "image_id").read_text().strip() == image_id
    except OSError:
        return False
