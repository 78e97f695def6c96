"""What engines have in common that mount a directory of a server: nothing is made, grown or removed there."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.lib import privileged
from holdfast.lib.threads import Busy, Locks, run_apart
from holdfast.volumes import filesystems, mounting
from holdfast.volumes.api import Plain, Source, Staging, Volume, VolumeError, VolumeLost

_SECONDS = 60.0


class ShareEngine(Plain, ABC):
    network = True
    name = ""
    kind = ""
    """The file system, as mount(8) knows it."""

    def __init__(self) -> None:
        self._locks = Locks()

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        raise VolumeError(f"{self.name} makes no volumes: write a PersistentVolume that says where the directory is")

    async def delete(self, source: Source) -> None:
        raise VolumeError(f"{source.handle} is not removed: {self.name} removes nothing; set the volume's reclaim policy to Retain")

    async def expand(self, source: Source, capacity: int) -> int:
        raise VolumeError(f"{source.handle}: a directory of {self.name} has the size that its server gives it")

    async def stage(self, source: Source, staging: Staging) -> str:
        await self._apart(staging.target, lambda: self._stage(source, staging))
        return staging.target

    async def grow(self, handle: str, target: str) -> None:
        return

    async def unstage(self, handle: str, target: str) -> None:
        await self._apart(target, lambda: mounting.detach(Path(target)))

    async def close(self) -> None:
        return

    async def _apart(self, target: str, work: Callable[[], None]) -> None:
        """Pods that share a volume ask for it at the same time: it is mounted once."""

        def alone() -> None:
            try:
                with self._locks.hold(target, _SECONDS):
                    work()
            except Busy:
                raise VolumeError(f"{target}: an earlier act on it is still under way; does the server answer?") from None

        await run_apart(alone, self.kind)

    @abstractmethod
    def where(self, source: Source) -> tuple[str, tuple[str, ...]]:
        """What to mount, and the options that go with it. Raises VolumeError when this node, or what was asked for, lacks something."""

    def _stage(self, source: Source, staging: Staging) -> None:
        if staging.block:
            raise VolumeError(f"volumeMode: Block is not offered by {self.name}")
        place, own = self.where(source)
        if _is_mounted(place, staging.target):
            return
        mounting.empty_directory(Path(staging.target))
        options = ",".join(("ro" if staging.read_only else "rw", *own, *staging.options))
        command = [filesystems.tool("mount", "mount"), "-t", self.kind, "-o", options, "--", place, staging.target]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise VolumeError(f"{place} is not mounted after {_SECONDS:.0f} s: does the server answer?") from None
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or f"mount ended with {done.returncode}").replace("\n", "; ")
            raise VolumeError(f"{place} cannot be mounted: {said}")
        privileged.make_private(staging.target)


def _is_mounted(place: str, target: str) -> bool:
    """Raises VolumeLost when it is and has stopped to work, VolumeError when something else is."""
    present = privileged.find_mount(target)
    if present is None:
        return False
    try:
        os.statvfs(target)  # stat may be answered from what is remembered
    except OSError as error:
        for point in reversed(privileged.mount_points()):
            if point.device == present.device:  # also where it is bound on
                privileged.unmount(point.target)
        raise VolumeLost(f"{place}: what served it here has ended ({error.strerror}); its users are restarted on it") from None
    if present.source != place:
        raise VolumeError(f"{target} is in use by {present.source}; {place} cannot be mounted there")
    return True
