"""A path inside a volume, opened and bound without ever leaving the volume (SEC-9, SEC-10).

Whoever writes to a volume may put symlinks there and swap them while we look. So the path is walked by the kernel, which
refuses to leave the volume's root, and what it found is bound by its open handle: no name is looked up twice.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes.api import VolumeError

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 2, 8
_TRIES = 64
_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(root: int, below: str) -> int:
    """An O_PATH handle of ``below`` seen from the directory ``root``. Raises OSError: EXDEV and ELOOP when it leads out."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    for _ in range(_TRIES):
        handle = int(_libc.syscall(_OPENAT2, root, os.fsencode(below), how, len(how)))
        if handle >= 0:
            return handle
        number = ctypes.get_errno()
        if number != errno.EAGAIN:  # EAGAIN: something on the way was renamed meanwhile
            raise OSError(number, os.strerror(number))
    raise OSError(errno.EAGAIN, "it is being renamed all the time")


def find(volume: str, below: str) -> int:
    """As ``open_beneath``; missing directories are made on the way, owned as the volume's root is. Raises VolumeError."""
    if below.startswith("/") or ".." in below.split("/") or "\0" in below:
        raise VolumeError(f"subPath {below!r}: must be a relative path without ..")
    parts = [part for part in below.split("/") if part not in ("", ".")]
    root = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle = _find(root, parts)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ELOOP):
            raise VolumeError(f"subPath {below} leads out of its volume") from None
        raise VolumeError(f"subPath {below}: {error.strerror}") from error
    finally:
        os.close(root)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        os.close(handle)
        raise VolumeError(f"subPath {below} is neither a file nor a directory")
    return handle


def _find(root: int, parts: list[str]) -> int:
    owner, at = os.fstat(root), os.dup(root)
    for index, part in enumerate(parts):
        path = "/".join(parts[: index + 1])
        try:
            deeper = open_beneath(root, path)
        except FileNotFoundError:
            try:
                _make(at, part, owner)
                deeper = open_beneath(root, path)
            except OSError:
                os.close(at)
                raise
        except OSError:
            os.close(at)
            raise
        os.close(at)
        at = deeper
    return at


def _make(parent: int, name: str, owner: os.stat_result) -> None:
    try:
        os.mkdir(name, 0o750 | stat.S_IMODE(owner.st_mode), dir_fd=parent)
    except FileExistsError:
        return
    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=parent, follow_symlinks=False)


def bind(volume: str, below: str, target: Path) -> None:
    """``target`` shows ``below`` of a volume as it is now; what it showed before is let go. Raises VolumeError, OSError."""
    handle = find(volume, below)
    try:
        privileged.unmount(target)
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            if target.is_file():
                target.unlink()
            target.mkdir(parents=True, exist_ok=True)
        else:
            if target.is_dir():
                target.rmdir()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        privileged.bind_open(handle, target)
    finally:
        os.close(handle)
