"""Real blocks under what a file system cannot do without: its log, and what it was made with.

A log that cannot be written ends the file system under a running member. The blocks of a sparse file are only promised, and
others may fill the disk meanwhile; those of the logs are taken at once. All else may fail as a full disk does, and goes on later.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_FS_IOC_FIEMAP, _SYNC, _UNKNOWN, _LAST = 0xC020660B, 1, 2, 1
_HEAD, _EXTENT = struct.Struct("=QQIIII"), struct.Struct("=QQQ2QI3I")
_BATCH = 64
_libc = ctypes.CDLL(None, use_errno=True)


def log_of_xfs(image: Path) -> tuple[int, int]:
    """Offset and length in bytes of the log of an XFS, out of its superblock."""
    with image.open("rb") as file:
        head = file.read(512)
    block, start, logs = (struct.unpack_from(form, head, at)[0] for form, at in ((">I", 4), (">Q", 48), (">I", 96)))
    group, bits = struct.unpack_from(">I", head, 84)[0], head[124]
    return ((start >> bits) * group + (start & ((1 << bits) - 1))) * block, logs * block


def extents(file: Path) -> Iterator[tuple[int, int]]:
    """Where a file's blocks lie on the device of its file system: offset and length in bytes."""
    handle, start = os.open(file, os.O_RDONLY | os.O_CLOEXEC), 0
    try:
        while True:
            room = bytearray(_HEAD.size + _BATCH * _EXTENT.size)
            _HEAD.pack_into(room, 0, start, (1 << 64) - 1 - start, _SYNC, 0, _BATCH, 0)
            fcntl.ioctl(handle, _FS_IOC_FIEMAP, room)
            count = _HEAD.unpack_from(room)[3]
            for number in range(count):
                logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(room, _HEAD.size + number * _EXTENT.size)
                start = logical + length
                if not flags & _UNKNOWN:
                    yield physical, length
                if flags & _LAST:
                    return
            if not count:
                return
    finally:
        os.close(handle)


def take(file: Path, ranges: Iterable[tuple[int, int]]) -> None:
    """Real blocks under ranges of a sparse file. Raises OSError ENOSPC; where the disk cannot do it, it is left undone."""
    handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        for offset, length in ranges:
            if _libc.fallocate(handle, 0, ctypes.c_long(offset), ctypes.c_long(length)):
                number = ctypes.get_errno()
                if number == errno.EOPNOTSUPP:
                    return
                raise OSError(number, f"{file}: {os.strerror(number)}")
    finally:
        os.close(handle)
