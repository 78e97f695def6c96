"""The pool: an XFS on one sparse file, which holds the images of volumes, and the room in it that is not promised yet.

An image is sparse, so what it may still take is a promise. A promise is made only against space that the disk really has,
counting what all others were promised and have not used; when it does not fit, the oldest of the trash goes first.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes import filesystems, marker, mounting
from holdfast.volumes.api import VolumeError
from holdfast.volumes.builtin import backing
from holdfast.volumes.trash import Trash

MIB = filesystems.MIB
RESERVE = 128 * MIB
"""Of the disk: for what others write there, and for what the pool itself needs."""
_WRITE_BACK_SECONDS = 90.0
_DISCARD_SECONDS = 1.0
_libc = ctypes.CDLL(None, use_errno=True)


class Pool:
    """``root``: DATA/volumes. ``owner``: whether it cleans up after a crash: the node does, a command beside it does not.

    Blocking; ``open`` first. Who calls ``admit`` holds ``trash.lock(root)``.
    """

    def __init__(self, root: Path, *, owner: bool = True) -> None:
        self.root = root
        self._owner = owner
        self.directory = root / "pool"
        self.trash = Trash(self.directory, ".img")
        self._opening = threading.Lock()
        self._open = False

    @property
    def file(self) -> Path:
        return self.root / "pool.img"

    def image(self, handle: str) -> Path:
        return self.directory / f"{handle}.img"

    def exists(self) -> bool:
        return self._open or self.file.exists()

    def open(self) -> None:
        """Made and mounted. Idempotent. Raises VolumeError."""
        with self._opening:
            if self._open and privileged.find_mount(self.directory) is not None:
                return
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.file.exists():
                self._make()
            mounting.attach(self.file, self.directory)
            if self._owner and not self._open:
                self._clean()
            self._open = True

    def _make(self) -> None:
        disk = os.statvfs(self.root)
        if disk.f_bavail * disk.f_frsize < RESERVE:
            raise VolumeError(f"the disk under {self.root} has no room for volumes: {_mib(disk.f_bavail * disk.f_frsize)} MiB are free")
        fresh = self.file.with_suffix(".new")
        filesystems.make_sparse(fresh, max(1024 * MIB, whole(disk.f_blocks * disk.f_frsize - 4 * MIB)))
        filesystems.run("xfsprogs", *filesystems.POOL, str(fresh))
        backing.take(fresh, [backing.log_of_xfs(fresh)])
        os.replace(fresh, self.file)
        marker.sync(self.root)

    def _clean(self) -> None:
        """Takes away what creations that were killed have left."""
        making = self.root / "making"
        for left in making.iterdir() if making.is_dir() else ():
            mounting.detach(left)
        for half in self.directory.glob("*.new"):
            half.unlink()

    def close(self) -> None:
        """Raises VolumeError while a volume of it is in use."""
        with self._opening:
            if self._open or privileged.find_mount(self.directory) is not None:
                # An unmounted volume's loop device still writes back what the volume had cached.
                mounting.detach(self.directory, patience=_WRITE_BACK_SECONDS)
                self._open = False

    def back(self, image: Path) -> None:
        """The disk really has what an image was made with. Raises OSError ENOSPC."""
        backing.take(self.file, backing.extents(image))

    def images(self) -> Iterator[os.DirEntry[str]]:
        for entry in os.scandir(self.directory):
            if entry.name.endswith((".img", ".new")) and entry.is_file(follow_symlinks=False):
                yield entry

    def _unpromised(self) -> int:
        states = [entry.stat() for entry in self.images()]
        promised = sum(max(0, state.st_size - state.st_blocks * 512) for state in states)
        return min(mounting.room(self.directory), mounting.room(self.root) - RESERVE) - promised

    def admit(self, size: int, handle: str) -> None:
        """Raises VolumeError unless ``size`` more bytes are there after all promises are kept; empties the trash for them."""
        free = self._unpromised()
        for item in self.trash.items():
            if size <= free:
                break
            if item.has_data and item.handle != handle:
                self.trash.purge(item.handle)
                free = self._after_discard(size)
        if size > free:
            text = f"volume {handle} needs {_mib(size)} MiB and the disk under {self.root} has {_mib(max(free, 0))} MiB that no"
            raise VolumeError(f"{text} other volume was promised; free some space or ask for less")

    def _after_discard(self, enough: int) -> int:
        """What was freed in the pool comes back to the disk a moment later: the file goes, then the log is written, then blocks go."""
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        free, until = self._unpromised(), time.monotonic() + _DISCARD_SECONDS
        try:
            while free < enough and time.monotonic() < until:
                _libc.syncfs(handle)
                time.sleep(0.02)
                if (now := self._unpromised()) > free:
                    free, until = now, time.monotonic() + _DISCARD_SECONDS
        finally:
            os.close(handle)
        return free


def whole(size: int) -> int:
    """Up to whole 4 MiB."""
    return -(-size // (4 * MIB)) * 4 * MIB


def _mib(size: int) -> int:
    return size // MIB
