"""What the engines of a machine's own disk have in common: what a handle may be, one act at a time on a volume, and a trash.

``builtin`` and ``directory`` have one name, so that classes and claims need not know which of both a node has.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from holdfast.volumes import trash as trashes
from holdfast.volumes.api import Plain, Source, Staging, VolumeError
from holdfast.volumes.trash import TRASH_HOURS

_HANDLE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?")
_STRIPES = 64

T = TypeVar("T")


class LocalEngine(Plain, ABC):
    """``root``: DATA/volumes. ``trash_hours``: for classes that say nothing. All methods may be called again after a crash."""

    name = "builtin.holdfast.io"
    network = False

    def __init__(self, root: Path, *, trash_hours: float = TRASH_HOURS, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self._trash_hours = trash_hours
        self._now = now
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    async def delete(self, source: Source) -> None:
        await self._act(source.handle, lambda: self._delete(source))

    async def expand(self, source: Source, capacity: int) -> int:
        return await self._act(source.handle, lambda: self._expand(source.handle, capacity))

    async def stage(self, source: Source, staging: Staging) -> str:
        return await self._act(source.handle, lambda: self._stage(source.handle, staging))

    async def run(self) -> None:
        await trashes.keep_empty(self.expire)

    async def _act(self, handle: str, work: Callable[[], T]) -> T:
        """One act at a time on a volume, in a thread, and to its end: a cancelled caller does not leave a mount half made."""
        if not _HANDLE.fullmatch(handle):
            raise VolumeError(f"{handle!r} is not a volume handle")
        stripe = self._stripes[hash(handle) % _STRIPES]

        def act() -> T:
            with stripe:
                try:
                    return work()
                except OSError as error:
                    raise VolumeError(f"volume {handle}: {error}") from error

        return await asyncio.shield(asyncio.to_thread(act))

    # Blocking, in a thread

    @abstractmethod
    def expire(self) -> list[str]:
        """Erases what has been in the trash for long enough. Handles of what was erased."""

    @abstractmethod
    def _delete(self, source: Source) -> None: ...

    @abstractmethod
    def _expand(self, handle: str, capacity: int) -> int: ...

    @abstractmethod
    def _stage(self, handle: str, staging: Staging) -> str: ...
