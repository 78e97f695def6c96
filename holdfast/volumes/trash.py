"""The trash: what a removed volume held is kept for a while, so that it can be had back; then it is erased.

For engines whose volumes are files or directories in one place: removal is a rename into ``.trash/`` beside a record, and the
way back is the same rename. A record is written before the rename and removed after the last act, so that each of both can be
asked for again after a crash. Blocking; who calls holds ``lock(root)``, which other processes (``holdfast volume``) take too.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.lib import privileged
from holdfast.volumes import marker
from holdfast.volumes.api import VolumeError

log = logging.getLogger("holdfast.volumes")

TRASH_HOURS = 24.0
_EXPIRY_SECONDS = 60.0


@dataclass(frozen=True)
class Removed:
    """A volume in the trash. Times are unix seconds; ``record`` is its PersistentVolume as JSON, "" when nobody knew it."""

    handle: str
    removed: float
    until: float
    record: str = ""
    has_data: bool = True
    """False: its data is back in its place, and only its PersistentVolume is not yet."""
    size: int = 0
    """Bytes on the disk."""


@contextlib.contextmanager
def lock(root: Path) -> Iterator[None]:
    """One at a time, of all threads and processes, gives away or takes back room of the volumes under ``root``."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def hours_of(parameters: Mapping[str, str], default: float) -> float:
    """How long a class wants what it removes to be kept. Raises VolumeError."""
    if "trashHours" not in parameters:
        return default
    try:
        hours = float(parameters["trashHours"])
    except ValueError:
        hours = -1.0
    if not 0 <= hours <= 24 * 3660:
        raise VolumeError(f"parameters.trashHours: {parameters['trashHours']}: a number of hours is wanted; 0 erases at once")
    return hours


async def keep_empty(expire: Callable[[], list[str]]) -> None:
    """Erases what has lain in a trash for its time, until cancelled."""
    while True:
        try:
            for handle in await asyncio.to_thread(expire):
                log.info("volume %s has lain in the trash for its time and is erased", handle)
        except (VolumeError, OSError) as error:
            log.warning("the trash is not emptied: %s", error)
        await asyncio.sleep(_EXPIRY_SECONDS)


class Trash:
    """``place`` holds the volumes, each as HANDLE + ``suffix``."""

    def __init__(self, place: Path, suffix: str) -> None:
        self._place = place
        # No volume's name begins with a dot.
        self._directory = place / ".trash"
        self._suffix = suffix

    def kept(self, handle: str) -> Path:
        """Where a removed volume's data lies."""
        return self._directory / f"{handle}{self._suffix}"

    def _record(self, handle: str) -> Path:
        return self._directory / f"{handle}.json"

    def put(self, handle: str, record: str, now: float, hours: float) -> None:
        """Takes a volume out of its place; without hours, for good."""
        volume = self._place / f"{handle}{self._suffix}"
        if hours <= 0:
            return self._erase(volume)
        self._directory.mkdir(exist_ok=True, mode=0o700)
        item = Removed(handle, now, now + hours * 3600, record)
        marker.write_durably(self._record(handle), json.dumps(asdict(item)))
        os.rename(volume, self.kept(handle))
        marker.sync(self._place)
        return marker.sync(self._directory)

    def items(self) -> list[Removed]:
        """The next one to be erased first."""
        found = []
        for path in self._directory.glob("*.json") if self._directory.is_dir() else ():
            try:
                fields = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue  # written and removed in one piece: somebody else has just removed it
            kept, volume = self.kept(fields["handle"]), self._place / f"{fields['handle']}{self._suffix}"
            if kept.exists() or volume.exists():
                fields |= {"has_data": kept.exists(), "size": _size(kept if kept.exists() else volume)}
                found.append(Removed(**fields))
        return sorted(found, key=lambda item: (item.until, item.handle))

    def present(self) -> list[str]:
        """Handles of the volumes that are in their place."""
        names = [entry.name for entry in os.scandir(self._place) if not entry.name.startswith(".")]
        return sorted(name.removesuffix(self._suffix) for name in names if name.endswith(self._suffix))

    def size(self, handle: str) -> int:
        """Bytes on the disk of a volume in its place."""
        return _size(self._place / f"{handle}{self._suffix}")

    def find(self, handle: str) -> Removed:
        """Raises VolumeError."""
        for item in self.items():
            if item.handle == handle:
                return item
        raise VolumeError(f"volume {handle} is not in the trash; holdfast volume list --trash shows what is")

    def take_back(self, handle: str) -> Removed:
        """Puts the data back in its place; ``forget`` ends it, once its PersistentVolume is there. Raises VolumeError."""
        item = self.find(handle)
        volume = self._place / f"{handle}{self._suffix}"
        if item.has_data:
            if volume.exists():
                raise VolumeError(f"volume {handle} exists: the removed one of that name cannot take its place")
            os.rename(self.kept(handle), volume)
            marker.sync(self._place)
            marker.sync(self._directory)
        return item

    def forget(self, handle: str) -> None:
        self._record(handle).unlink(missing_ok=True)

    def purge(self, handle: str) -> None:
        """Erases it now. Raises VolumeError when it is not in the trash, or its data is back in use."""
        if not self.find(handle).has_data:
            raise VolumeError(f"volume {handle} has been restored but for its PersistentVolume: holdfast volume restore {handle}")
        self._erase(self.kept(handle))
        self.forget(handle)

    def expire(self, now: float) -> list[str]:
        """Erases all whose time is over; their handles."""
        over = [item.handle for item in self.items() if item.until <= now and item.has_data]
        for handle in over:
            self.purge(handle)
        return over

    def _erase(self, path: Path) -> None:
        if path.is_dir():
            privileged.remove_tree(path)
        else:
            path.unlink(missing_ok=True)
        marker.sync(path.parent)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_blocks * 512
    return sum(os.lstat(os.path.join(top, name)).st_blocks * 512 for top, _, names in os.walk(path) for name in names)
