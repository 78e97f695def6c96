"""Processes that serve volumes and are not waited for by anybody: their deaths are told, once each.

A pidfd becomes readable when its process ends, whoever started it. One thread: the loop's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Hashable


class Deaths:
    def __init__(self) -> None:
        self._watched: dict[Hashable, int] = {}

    def watch(self, key: Hashable, pid: int, ended: Callable[[], None]) -> None:
        """``ended()`` is called in the loop when ``pid`` has ended; nothing is done while a process is watched for ``key``."""
        if key in self._watched:
            return
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return  # it has ended before it was watched: who asks for the volume sees that

        def told() -> None:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)
            del self._watched[key]
            ended()

        self._watched[key] = handle
        asyncio.get_running_loop().add_reader(handle, told)
