"""The builtin engine: a volume is an image file in a pool on this machine's disk, with a file system of its own or none.

Layout under ``root``: ``pool.img``, mounted at ``pool/``; in it ``HANDLE.img`` each, and ``.trash/`` with the removed ones. A
volume becomes visible by a rename, so a half-made one is never taken for whole; its label says what it is, its marker is
written when it is first mounted. The image is made large enough that its file system holds the asked-for amount of file data.
Acts on different volumes go side by side; only promises of room are made one at a time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes import filesystems, marker, mounting
from holdfast.volumes import trash as trashes
from holdfast.volumes.api import BLOCK, FS_TYPE, Source, Staging, Volume, VolumeError
from holdfast.volumes.builtin import label as labels
from holdfast.volumes.builtin.label import Label
from holdfast.volumes.builtin.pool import MIB, Pool, whole
from holdfast.volumes.local import LocalEngine
from holdfast.volumes.trash import TRASH_HOURS, hours_of

_MARGIN = 8 * MIB
"""Room beyond the asked-for data, for the metadata of the files that will hold it."""
_PARAMETERS = {"type", "trashHours", FS_TYPE, *BLOCK}


class BuiltinEngine(LocalEngine):
    def __init__(self, root: Path, *, trash_hours: float = TRASH_HOURS, now: Callable[[], float] = time.time) -> None:
        super().__init__(root, trash_hours=trash_hours, now=now)
        self.pool = Pool(root)
        self._sizes: dict[tuple[str, int], int] = {}

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        """Raises VolumeError for parameters it does not know or when the disk has no room."""
        wanted = _wanted(handle, capacity, parameters, self._trash_hours)
        return await self._act(handle, lambda: self._create(wanted))

    async def grow(self, handle: str, target: str) -> None:
        await self._act(handle, lambda: self._grow(handle, Path(target)))

    async def unstage(self, handle: str, target: str) -> None:
        await self._act(handle, lambda: self._unstage(handle, Path(target)))

    async def unused(self) -> Collection[str]:
        return await asyncio.to_thread(self._unused)

    async def close(self) -> None:
        """Lets go of the pool. Raises VolumeError while a volume of it is staged."""
        await asyncio.shield(asyncio.to_thread(self.pool.close))

    # Blocking, in a thread

    def expire(self) -> list[str]:
        if not self.pool.exists():
            return []
        self.pool.open()
        with trashes.lock(self._root):
            return self.pool.trash.expire(self._now())

    def _unused(self) -> list[str]:
        """Raises VolumeError."""
        if not self.pool.exists():
            return []
        self.pool.open()
        handles = [entry.name.removesuffix(".img") for entry in self.pool.images() if entry.name.endswith(".img")]
        return [handle for handle in handles if self._is_fresh(handle)]

    def _is_fresh(self, handle: str) -> bool:
        try:
            return labels.read(self.pool.image(handle), handle).fresh
        except VolumeError:
            return False  # what is not known to be unused is used

    def _create(self, wanted: Label) -> Volume:
        self.pool.open()
        image = self.pool.image(wanted.volume)
        if image.exists():
            found = labels.read(image, wanted.volume)
            return Volume(found.volume, found.capacity, fs_type=found.fs)
        fresh = image.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        try:
            self._make(fresh, wanted)
            labels.write(fresh, wanted)
            os.replace(fresh, image)
            marker.sync(self.pool.directory)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        return Volume(wanted.volume, wanted.capacity, fs_type=wanted.fs)

    def _make(self, image: Path, wanted: Label) -> None:
        """The file with an empty file system that has room enough; how large that must be is found out once a size."""
        kind, known = (wanted.fs, wanted.capacity), self._sizes.get((wanted.fs, wanted.capacity))
        size = known or _image_size(wanted.fs, wanted.capacity)
        while True:
            with trashes.lock(self._root):
                image.unlink(missing_ok=True)
                self.pool.admit(size, wanted.volume)
                filesystems.make_sparse(image, size)
            if wanted.fs:
                filesystems.make(image, wanted.fs)
                self.pool.back(image)
            missing = 0 if known or not wanted.fs else wanted.capacity + _MARGIN - self._room(image, wanted)
            if missing <= 0:
                self._sizes[kind] = size
                return
            size = whole(size + missing + missing // 32 + 4 * MIB)

    def _room(self, image: Path, wanted: Label) -> int:
        scratch = self._root / "making" / wanted.volume
        mounting.detach(scratch)  # of a creation that was killed
        mounting.attach(image, scratch, kind=wanted.fs, direct=True)
        try:
            return mounting.room(scratch)
        finally:
            mounting.detach(scratch)

    def _delete(self, source: Source) -> None:
        if not self.pool.exists():
            return
        self.pool.open()
        image = self.pool.image(source.handle)
        if not image.exists():
            return
        if privileged.loops_of(image):
            raise VolumeError(f"volume {source.handle} is in use and is not removed")
        hours = labels.read(image, source.handle).trash_hours
        with trashes.lock(self._root):
            self.pool.trash.put(source.handle, source.record, self._now(), hours)

    def _expand(self, handle: str, capacity: int) -> int:
        self.pool.open()
        image = self.pool.image(handle)
        found = labels.read(image, handle)
        if capacity <= found.capacity:
            return found.capacity
        # A file system that has grown pays a little more for itself than one made at this size.
        size = whole(_image_size(found.fs, capacity) + (2 * _MARGIN if found.fs else 0))
        with trashes.lock(self._root):
            present = image.stat().st_size
            if size > present:
                self.pool.admit(size - present, handle)
                os.truncate(image, size)
        labels.write(image, replace(found, capacity=capacity))
        return capacity

    def _stage(self, handle: str, staging: Staging) -> str:
        self.pool.open()
        image, target = self.pool.image(handle), Path(staging.target)
        found = labels.read(image, handle)
        if staging.block != (not found.fs):
            what = "a bare device (volumeMode Block)" if not found.fs else f"a volume with an {found.fs} file system"
            raise VolumeError(f"volume {handle} is {what} and cannot be used otherwise")
        if staging.block:
            if image.stat().st_size < found.capacity:
                raise VolumeError(f"volume {handle} is shorter than the {found.capacity} bytes it was made with; nothing starts on it")
            return privileged.attach_loop(image, read_only=staging.read_only)
        if staging.fs_type not in ("", found.fs):
            raise VolumeError(f"volume {handle} has an {found.fs} file system, and {staging.fs_type} is asked for (fsType)")
        read_only = staging.read_only and not found.fresh
        mounting.attach(image, target, kind=found.fs, options=staging.options, read_only=read_only, direct=True)
        if found.fresh:
            marker.mark(target, handle)
            # Should this be lost, the marker is found when it is next mounted.
            labels.write(image, replace(found, fresh=False), durable=False)
            if staging.read_only:
                privileged.remount_read_only(target)
        marker.verify(target, handle)
        return str(target / marker.DATA)

    def _grow(self, handle: str, target: Path) -> None:
        image = self.pool.image(handle)
        found = labels.read(image, handle)
        devices = privileged.loops_of(image)
        for device in devices:
            privileged.refresh_loop(device)
        if not found.fs:
            return
        mounted = privileged.find_mount(target)
        if mounted is None or mounted.source not in devices:
            raise VolumeError(f"volume {handle} is not mounted at {target}")
        filesystems.grow(mounted.source, target)

    def _unstage(self, handle: str, target: Path) -> None:
        mounting.detach(target)
        image = self.pool.image(handle)
        if self.pool.exists() and privileged.find_mount(self.pool.directory) is not None and image.exists():
            try:
                privileged.detach_loop(image)
            except OSError as error:
                raise VolumeError(f"volume {handle} is still in use: {error.strerror}") from error


def _wanted(handle: str, capacity: int, parameters: Mapping[str, str], trash_hours: float) -> Label:
    """Raises VolumeError naming the parameter."""
    unknown = sorted(set(parameters) - _PARAMETERS)
    if unknown:
        raise VolumeError(f"parameters.{unknown[0]}: unknown to {BuiltinEngine.name}; remove it from the StorageClass")
    hours = hours_of(parameters, trash_hours)
    if "volumeMode" in parameters:
        return Label(handle, max(whole(capacity), 4 * MIB), "", trash_hours=hours)
    fs = parameters.get(FS_TYPE) or "xfs"
    try:
        minimum = filesystems.kind_of(fs).minimum
    except VolumeError as error:
        raise VolumeError(f"parameters.{FS_TYPE}: {error}") from None
    return Label(handle, max(capacity, minimum), fs, fresh=True, trash_hours=hours)


def _image_size(fs: str, capacity: int) -> int:
    """Of an image whose file system holds ``capacity`` bytes: an estimate, which the fresh file system itself then corrects."""
    if not fs:
        return whole(capacity)
    kind = filesystems.kind_of(fs)
    return max(kind.image, whole(capacity + capacity // 50 + kind.overhead))
