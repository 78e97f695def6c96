"""Whose a volume is: a marker in its root, beside the ``data/`` directory that members get (P-5).

Members get ``data/`` alone, because databases refuse a directory that is not empty, and because a member must not be able to
touch the marker. An engine marks a volume once, when it is empty, and verifies it whenever it is mounted.
"""

from __future__ import annotations

import ctypes
import json
import os
import uuid
from pathlib import Path

from holdfast.volumes.api import VolumeError

MARKER = "holdfast.json"
DATA = "data"
_libc = ctypes.CDLL(None, use_errno=True)
_OF_THE_FILE_SYSTEM = {"lost+found"}


def sync(directory: Path) -> None:
    """Makes what was created or renamed in a directory durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(directory: Path) -> None:
    """Makes a whole file system durable, in one go."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)


def write_durably(path: Path, text: str) -> None:
    """The whole file or none of it, whatever happens in between."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    sync(path.parent)


def mark(root: Path, handle: str) -> None:
    """Makes a fresh volume the volume ``handle``, durably; again after a crash half way. Raises VolumeError unless it is fresh."""
    if _read(root) is not None:
        return verify(root, handle)
    found = sorted(set(os.listdir(root)) - _OF_THE_FILE_SYSTEM - {DATA, MARKER})
    data = root / DATA
    if found or (data.exists() and os.listdir(data)):
        what = found[0] if found else f"{DATA}/{os.listdir(data)[0]}"
        raise VolumeError(f"{root} should be the new volume {handle} and is not empty ({what}); nothing starts on it")
    data.mkdir(exist_ok=True)
    data.chmod(0o777)
    (root / MARKER).write_text(json.dumps({"volume": handle, "id": str(uuid.uuid4())}) + "\n")
    (root / MARKER).chmod(0o600)
    return sync_all(root)


def _read(root: Path) -> str | None:
    """Whose volume the marker says it is; None when it is missing or was cut off."""
    try:
        return str(json.loads((root / MARKER).read_bytes())["volume"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verify(root: Path, handle: str) -> None:
    """Raises VolumeError when this is not the volume ``handle`` (P-5)."""
    found = _read(root)
    if found != handle:
        what = f"it says it is {found}" if found else f"its marker {MARKER} is missing"
        raise VolumeError(f"{root} is not volume {handle}: {what}; nothing starts on it")
    data = root / DATA
    if data.is_symlink() or not data.is_dir():
        raise VolumeError(f"volume {handle} has lost its directory {DATA}; nothing starts on it")
