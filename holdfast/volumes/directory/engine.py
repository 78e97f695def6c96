"""The directory engine: a volume is a plain directory, where loop devices and mounts are not to be had.

It stands in for the builtin engine under the same name, so that classes and claims need not know. What it cannot keep it says:
nothing limits a volume but the disk. Layout under ``root``: ``directories/HANDLE`` with the marker, ``volume.json`` and
``data/``; a staged one is a symlink at its target, which outlives the node's process as a mount would.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.lib import privileged
from holdfast.volumes import marker, mounting
from holdfast.volumes import trash as trashes
from holdfast.volumes.api import BLOCK, FS_TYPE, Source, Staging, Volume, VolumeError
from holdfast.volumes.local import LocalEngine
from holdfast.volumes.trash import TRASH_HOURS, Trash, hours_of

CAVEAT = "its capacity is not enforced: there are no loop devices on this node, so it is a plain directory on the node's disk"
_ABOUT = "volume.json"
_LATE = "and cannot be had without loop devices (/dev/loop-control, as root)"


class DirectoryEngine(LocalEngine):
    def __init__(self, root: Path, *, trash_hours: float = TRASH_HOURS, now: Callable[[], float] = time.time) -> None:
        super().__init__(root, trash_hours=trash_hours, now=now)
        self._place = root / "directories"
        self.trash = Trash(self._place, "")

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        """Raises VolumeError for parameters it does not know or cannot keep."""
        unknown = sorted(set(parameters) - {"type", "trashHours", FS_TYPE, *BLOCK})
        if unknown:
            raise VolumeError(f"parameters.{unknown[0]}: unknown to {self.name}; remove it from the StorageClass")
        for field in (*BLOCK, FS_TYPE):
            if field in parameters:
                raise VolumeError(f"{field} {parameters[field]}: needs a device {_LATE}")
        hours = hours_of(parameters, self._trash_hours)
        return await self._act(handle, lambda: self._create(handle, capacity, hours))

    async def grow(self, handle: str, target: str) -> None:
        return None

    async def unstage(self, handle: str, target: str) -> None:
        await self._act(handle, lambda: _let_go(Path(target)))

    async def close(self) -> None:
        return None

    # Blocking, in a thread

    def expire(self) -> list[str]:
        if not self._place.is_dir():
            return []
        with trashes.lock(self._root):
            return self.trash.expire(self._now())

    def _create(self, handle: str, capacity: int, hours: float) -> Volume:
        path = self._place / handle
        if not path.exists():
            self._admit(handle, capacity)
            fresh = self._place / f".new-{handle}"
            privileged.remove_tree(fresh)
            fresh.mkdir(parents=True, mode=0o711)
            marker.mark(fresh, handle)
            marker.write_durably(fresh / _ABOUT, json.dumps({"capacity": capacity, "trash_hours": hours}))
            os.replace(fresh, path)
            marker.sync(self._place)
        attributes = {"capacityEnforced": "false"}
        return Volume(handle, int(self._about(handle)["capacity"]), attributes, caveat=CAVEAT)

    def _about(self, handle: str) -> dict[str, Any]:
        """Raises VolumeError when it is missing or not this volume."""
        path = self._place / handle
        if not path.is_dir():
            elsewhere = self._root / "pool.img"
            hint = f" (it may lie in {elsewhere}, which needs loop devices)" if elsewhere.exists() else ""
            raise VolumeError(f"volume {handle} is not on this node: {path} is missing{hint}; nothing is made in its place")
        marker.verify(path, handle)
        try:
            found: dict[str, Any] = json.loads((path / _ABOUT).read_bytes())
        except (OSError, ValueError) as error:
            raise VolumeError(f"volume {handle} has lost its {_ABOUT}: {error}; nothing starts on it") from error
        return found

    def _admit(self, handle: str, size: int) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = mounting.room(self._root)
        if size > free:
            mib = 1024 * 1024
            text = f"volume {handle} needs {size // mib} MiB and the disk under {self._root} has {free // mib} MiB"
            raise VolumeError(f"{text}; free some space or ask for less")

    def _users(self, handle: str) -> list[Path]:
        mounts, data = self._root / "mounts", str(self._place / handle / marker.DATA)
        return [path for path in mounts.iterdir() if path.is_symlink() and os.readlink(path) == data] if mounts.is_dir() else []

    def _delete(self, source: Source) -> None:
        path = self._place / source.handle
        if not path.exists():
            return
        about = self._about(source.handle)
        if self._users(source.handle):
            raise VolumeError(f"volume {source.handle} is in use and is not removed")
        with trashes.lock(self._root):
            self.trash.put(source.handle, source.record, self._now(), float(about["trash_hours"]))

    def _expand(self, handle: str, capacity: int) -> int:
        about = self._about(handle)
        if capacity > about["capacity"]:
            self._admit(handle, capacity - about["capacity"])
            about["capacity"] = capacity
            marker.write_durably(self._place / handle / _ABOUT, json.dumps(about))
        return int(about["capacity"])

    def _stage(self, handle: str, staging: Staging) -> str:
        self._about(handle)
        asked = {"volumeMode Block": staging.block, "readOnly": staging.read_only, "mountOptions": bool(staging.options)}
        for what in (what for what, wanted in asked.items() if wanted):
            raise VolumeError(f"{what}: needs a mount {_LATE}")
        data, target = self._place / handle / marker.DATA, Path(staging.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.symlink(data, target)
        except FileExistsError:
            if not target.is_symlink() or os.readlink(target) != str(data):
                raise VolumeError(f"{target} is in use by something else; volume {handle} cannot be staged there") from None
        return str(data)


def _let_go(target: Path) -> None:
    """Removes the link alone: what else lies there is somebody's."""
    if target.is_symlink():
        target.unlink()
