"""The nfs engine: a directory of an NFS server, mounted by the kernel's client. Nothing is made, grown or removed there.

There is no client in user space to fall back to: those tried lost data (a node without the kernel's says so in the pod's event).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from holdfast.lib import privileged
from holdfast.lib.threads import run_apart
from holdfast.volumes import filesystems, mounting
from holdfast.volumes.api import Plain, Source, Staging, Volume, VolumeError

NAME = "kubernetes.io/nfs"
FILE_SYSTEMS = Path("/proc/filesystems")
_SECONDS = 60.0


class NfsEngine(Plain):
    name = NAME
    network = True

    async def create(self, handle: str, capacity: int, parameters: Mapping[str, str], secrets: Mapping[str, str]) -> Volume:
        raise VolumeError(f"{NAME} makes no volumes: write a PersistentVolume with nfs.server and nfs.path")

    async def delete(self, source: Source) -> None:
        raise VolumeError(f"{source.handle} is not removed: {NAME} removes nothing; set the volume's reclaim policy to Retain")

    async def expand(self, source: Source, capacity: int) -> int:
        raise VolumeError(f"{source.handle}: an NFS directory has the size that its server gives it")

    async def stage(self, source: Source, staging: Staging) -> str:
        await run_apart(lambda: _mount(source, staging), "nfs")
        return staging.target

    async def grow(self, handle: str, target: str) -> None:
        return

    async def unstage(self, handle: str, target: str) -> None:
        await run_apart(lambda: mounting.detach(Path(target)), "nfs")

    async def close(self) -> None:
        return


def _has_client() -> bool:
    def listed() -> bool:
        return any(line.split()[-1] in ("nfs", "nfs4") for line in FILE_SYSTEMS.read_text().splitlines())

    if not listed() and os.path.isdir("/lib/modules"):
        try:
            command = [filesystems.tool("modprobe", "kmod"), "--quiet", "nfs"]
        except VolumeError:
            return False
        subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    return listed()


def _mount(source: Source, staging: Staging) -> None:
    place = f"{source.attributes.get('server')}:{source.attributes.get('path')}"
    present = privileged.find_mount(staging.target)
    if present is not None:
        if present.source == place:
            return
        raise VolumeError(f"{staging.target} is in use by {present.source}; {place} cannot be mounted there")
    if staging.block:
        raise VolumeError(f"volumeMode: Block is not offered by {NAME}")
    if not _has_client():
        what = f"{place} cannot be mounted: the kernel of this node has no NFS client"
        raise VolumeError(f"{what} (module nfs, in Debian's linux-image); use a node that has one, or another volume type")
    filesystems.tool("mount.nfs", "nfs-common")
    mounting.empty_directory(Path(staging.target))
    options = ",".join(("ro" if staging.read_only else "rw", *staging.options))
    command = [filesystems.tool("mount", "mount"), "-t", "nfs", "-o", options, "--", place, staging.target]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise VolumeError(f"{place} is not mounted after {_SECONDS:.0f} s: does the server answer?") from None
    if done.returncode:
        raise VolumeError(f"{place} cannot be mounted: {done.stderr.strip() or f'mount ended with {done.returncode}'}")
