"""File systems of the builtin engine: making them, mounting them, and the marker that says whose they are.

Blocking functions; the engine calls them in threads. A volume's root holds the marker and ``data/``: members get
``data/`` alone, because databases refuse a directory that is not empty.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes.api import VolumeError

MARKER = "holdfast.json"
DATA = "data"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _tool(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH]))
    if found is None:
        raise VolumeError(f"volumes need {name}, and it is not installed: apt-get install xfsprogs")
    return found


def format_image(path: Path, size: int, *, pool: bool) -> None:
    """A sparse file of ``size`` bytes with an empty XFS on it; the pool's shares blocks between files (snapshots)."""
    with path.open("wb") as file:
        file.truncate(size)
    features = ["-m", "reflink=1", "-l", "size=64m"] if pool else ["-m", "reflink=0,rmapbt=0", "-l", "size=64m"]
    command = [_tool("mkfs.xfs"), "-q", "-K", "-s", "size=4096", *features, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise VolumeError(f"mkfs.xfs {path}: {done.stderr.strip()}")


def grow_image(path: Path, size: int, mounted: Path) -> None:
    """Enlarges a mounted image in place."""
    os.truncate(path, size)
    for device in privileged.loops_of(path):
        privileged.refresh_loop(device)
    done = subprocess.run([_tool("xfs_growfs"), str(mounted)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise VolumeError(f"xfs_growfs {mounted}: {done.stderr.strip()}")


def attach(path: Path, target: Path, *, read_only: bool = False) -> None:
    """Mounts an image file, so that space freed in it is freed below it too; idempotent.

    Raises VolumeError when something else is mounted there.
    """
    present = privileged.find_mount(target)
    if present is not None:
        if present.source in privileged.loops_of(path):
            return
        raise VolumeError(f"{target} is in use by {present.source}; {path} cannot be mounted there")
    target.mkdir(parents=True, exist_ok=True)
    flags = privileged.MS_RDONLY if read_only else 0
    try:
        with privileged.loop_device(path) as device:
            privileged.mount(device, target, "xfs", flags, "nouuid,discard")
    except OSError as error:
        raise VolumeError(f"{path} cannot be mounted: {error.strerror or error}") from error
    privileged.make_private(target)


def detach(target: Path, *, patience: float = 10.0) -> None:
    """Unmounts; idempotent. Raises VolumeError while something uses it (for longer than ``patience`` seconds)."""
    try:
        privileged.unmount(target, patience=patience)
    except OSError as error:
        raise VolumeError(f"{target} is still in use and stays mounted: {error.strerror or error}") from error
    if target.exists():
        target.rmdir()


def room(mounted: Path) -> int:
    """Bytes of file data that still fit."""
    found = os.statvfs(mounted)
    return found.f_bavail * found.f_frsize


def mark(mounted: Path, handle: str) -> None:
    """Makes a fresh file system the volume ``handle``."""
    data = mounted / DATA
    data.mkdir()
    data.chmod(0o777)
    text = json.dumps({"volume": handle, "id": str(uuid.uuid4())})
    file = os.open(mounted / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w") as marker:
        marker.write(text + "\n")
        marker.flush()
        os.fsync(marker.fileno())
    directory = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def verify(mounted: Path, handle: str) -> None:
    """Raises VolumeError when this is not the volume ``handle`` (P-5)."""
    try:
        found = json.loads((mounted / MARKER).read_bytes())["volume"]
    except (OSError, ValueError, KeyError):
        found = None
    if found != handle:
        what = f"it says it is {found}" if found else f"its marker {MARKER} is missing"
        raise VolumeError(f"{mounted} is not volume {handle}: {what}; nothing starts on it")
    if not (mounted / DATA).is_dir():
        raise VolumeError(f"volume {handle} has lost its directory {DATA}; nothing starts on it")
