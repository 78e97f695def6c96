"""inotify: the kernel tells when a file in a directory was written or renamed."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MODIFY, _MOVED_TO, _CREATE = 0x2, 0x80, 0x100


class Watch:
    """Changes since the last ``wait`` are not lost. Raises OSError where inotify's limits are reached."""

    def __init__(self, directory: Path) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(directory), _MODIFY | _MOVED_TO | _CREATE) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, f"watching {directory}: {os.strerror(number)}")
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            os.read(self._fd, 64 << 10)
        except BlockingIOError:
            return
        self._changed.set()

    async def wait(self, ended: asyncio.Event) -> bool:
        """Until something changed or ``ended`` is set, which it returns."""
        waits = [asyncio.ensure_future(self._changed.wait()), asyncio.ensure_future(ended.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        self._changed.clear()
        return ended.is_set()

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
