"""The nfs engine: a directory of an NFS server, mounted by the kernel's client.

There is no client in user space to fall back to: those tried lost data (a node without the kernel's says so in the pod's event).
"""

from __future__ import annotations

from pathlib import Path

from holdfast.lib import programs
from holdfast.volumes import filesystems
from holdfast.volumes.api import Source, VolumeError
from holdfast.volumes.shares import ShareEngine

NAME = "kubernetes.io/nfs"
FILE_SYSTEMS = Path("/proc/filesystems")


class NfsEngine(ShareEngine):
    name = NAME
    kind = "nfs"

    def where(self, source: Source) -> tuple[str, tuple[str, ...]]:
        place = f"{source.attributes.get('server')}:{source.attributes.get('path')}"
        if not _has_client():
            what = f"{place} cannot be mounted: the kernel of this node has no NFS client"
            raise VolumeError(f"{what} (module nfs, in Debian's linux-image); use a node that has one, or another volume type")
        filesystems.tool("mount.nfs", "nfs-common")
        return place, ()


def _has_client() -> bool:
    def listed() -> bool:
        return any(line.split()[-1] in ("nfs", "nfs4") for line in FILE_SYSTEMS.read_text().splitlines())

    if not listed():
        programs.load_module("nfs")
    return listed()
