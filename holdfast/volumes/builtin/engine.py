"""The builtin engine: a volume is an XFS image file in a pool, the pool a reflink XFS on one sparse file (reference: node.md).

Layout under ``root``: ``pool.img``, mounted at ``pool/``; in it ``HANDLE.img`` each. A volume becomes visible by a
rename, so a half-made one is never taken for whole. The image is made large enough that its file system holds the
asked-for amount of file data; the pool admits it only against space that the disk really has, counting what other
volumes were promised and have not used yet.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from holdfast.lib import privileged
from holdfast.volumes.api import Source, Staging, Volume, VolumeError
from holdfast.volumes.builtin import mount

MIB = 1024 * 1024
MINIMUM = 256 * MIB
"""XFS needs images of 300 MiB; a smaller claim is rounded up to this."""
_LEAST_IMAGE = 336 * MIB
_MARGIN = 8 * MIB
"""Room beyond the asked-for data, for the metadata of the files that will hold it."""
_POOL_RESERVE = 128 * MIB
_WRITE_BACK_SECONDS = 90.0
_HANDLE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?")

T = TypeVar("T")


class BuiltinEngine:
    """``root``: DATA/volumes. All methods may be called again after a crash at any point."""

    name = "builtin.holdfast.io"
    network = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pool = root / "pool"
        self._lock = asyncio.Lock()
        self._open = False

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        """Raises VolumeError for parameters it does not know or when the disk has no room."""
        unknown = sorted(set(parameters) - {"type"})
        if unknown:
            raise VolumeError(f"parameters.{unknown[0]}: unknown to {self.name}; remove it from the StorageClass")
        return await self._locked(lambda: self._create(handle, capacity))

    async def delete(self, source: Source) -> None:
        await self._locked(lambda: self._delete(source.handle))

    async def expand(self, source: Source, capacity: int) -> int:
        raise VolumeError(f"volume {source.handle}: expansion is not offered by {self.name}")

    async def stage(self, source: Source, staging: Staging) -> str:
        return await self._locked(lambda: self._stage(source.handle, Path(staging.target), staging.read_only))

    async def grow(self, handle: str, target: str) -> None:
        raise VolumeError(f"volume {handle}: expansion is not offered by {self.name}")

    async def unstage(self, handle: str, target: str) -> None:
        await self._locked(lambda: mount.detach(Path(target)))

    async def close(self) -> None:
        """Lets go of the pool. Raises VolumeError while a volume of it is staged."""
        if self._open or privileged.find_mount(self._pool) is not None:
            await self._locked(self._close)

    async def _locked(self, work: Callable[[], T]) -> T:
        """One act at a time, in a thread, and to its end: a cancelled caller does not leave a mount half made."""
        async with self._lock:
            return await asyncio.shield(asyncio.to_thread(work))

    # Blocking, in a thread

    def _image(self, handle: str) -> Path:
        if not _HANDLE.fullmatch(handle):
            raise VolumeError(f"{handle!r} is not a volume handle")
        return self._pool / f"{handle}.img"

    def _ready(self) -> None:
        """The pool made and mounted."""
        if self._open and privileged.find_mount(self._pool) is not None:
            return
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._root / "pool.img"
        if not file.exists():
            disk = os.statvfs(self._root)
            fresh = file.with_suffix(".new")
            mount.format_image(fresh, max(1024 * MIB, disk.f_blocks * disk.f_frsize // (4 * MIB) * 4 * MIB), pool=True)
            os.replace(fresh, file)
        mount.attach(file, self._pool)
        for left in self._pool.glob("*.new"):
            left.unlink()
        self._open = True

    def _close(self) -> None:
        # An unmounted volume's loop device still writes back what the volume had cached.
        mount.detach(self._pool, patience=_WRITE_BACK_SECONDS)
        self._open = False

    def _images(self) -> Iterator[os.stat_result]:
        for entry in os.scandir(self._pool):
            if entry.name.endswith((".img", ".new")):
                yield entry.stat()

    def _admit(self, size: int, handle: str) -> None:
        """Raises VolumeError unless ``size`` more bytes are there after all promises are kept."""
        promised = sum(max(0, s.st_size - s.st_blocks * 512) for s in self._images())
        free = min(mount.room(self._pool), mount.room(self._root) - _POOL_RESERVE) - promised
        if size > free:
            left = max(free, 0) // MIB
            text = f"volume {handle} needs {size // MIB} MiB and the disk under {self._root} has {left} MiB that no other volume was"
            raise VolumeError(f"{text} promised; free some space or ask for less")

    def _create(self, handle: str, capacity: int) -> Volume:
        self._ready()
        image = self._image(handle)
        capacity = max(capacity, MINIMUM)
        if image.exists():
            return Volume(handle, capacity)
        # An estimate that the fresh file system itself then corrects.
        size = max(_LEAST_IMAGE, _whole(capacity + capacity // 50 + 96 * MIB))
        self._admit(size, handle)
        fresh, scratch = image.with_suffix(".new"), self._root / "making"
        mount.detach(scratch)  # of a creation that was killed
        fresh.unlink(missing_ok=True)
        try:
            mount.format_image(fresh, size, pool=False)
            mount.attach(fresh, scratch)
            try:
                missing = capacity + _MARGIN - mount.room(scratch)
                if missing > 0:
                    self._admit(size + missing + 4 * MIB - fresh.stat().st_blocks * 512, handle)
                    mount.grow_image(fresh, _whole(size + missing + 4 * MIB), scratch)
                mount.mark(scratch, handle)
            finally:
                mount.detach(scratch)
            os.replace(fresh, image)
            _sync(self._pool)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        return Volume(handle, capacity)

    def _delete(self, handle: str) -> None:
        if not self._open and not (self._root / "pool.img").exists():
            return
        self._ready()
        image = self._image(handle)
        if not image.exists():
            return
        if privileged.loops_of(image):
            raise VolumeError(f"volume {handle} is in use and is not removed")
        image.unlink()
        _sync(self._pool)

    def _stage(self, handle: str, target: Path, read_only: bool) -> str:
        self._ready()
        image = self._image(handle)
        if not image.exists():
            raise VolumeError(f"volume {handle} is not on this node: {image} is missing; nothing is made in its place")
        mount.attach(image, target, read_only=read_only)
        mount.verify(target, handle)
        return str(target / mount.DATA)


def _whole(size: int) -> int:
    return -(-size // (4 * MIB)) * 4 * MIB


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
