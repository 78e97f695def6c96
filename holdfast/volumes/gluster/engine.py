"""The glusterfs engine: a volume of a GlusterFS cluster, mounted through its FUSE client, one process a mount.

The client is a session of its own and outlives the node that started it; its end is told, and what used the volume is
restarted on a new mount. Any of the cluster's servers may answer first: the others are named to the client as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from holdfast.volumes import filesystems
from holdfast.volumes.api import Source, Staging, VolumeError
from holdfast.volumes.deaths import Deaths
from holdfast.volumes.shares import ShareEngine

NAME = "kubernetes.io/glusterfs"
_HOST = re.compile(r"[\w.\-:]+")
_VOLUME = re.compile(r"/?[\w.\-]+(/[\w.\-]+)*")


class GlusterEngine(ShareEngine):
    """``root``: DATA/volumes, where the clients' logs are kept."""

    name = NAME
    kind = "glusterfs"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._log = root / "glusterfs.log"
        self._deaths = Deaths()
        self._told: list[Callable[[str, str], None]] = []

    def where(self, source: Source) -> tuple[str, tuple[str, ...]]:
        hosts = [host for host in source.attributes.get("hosts", "").split(",") if host]
        path = source.attributes.get("path", "")
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise VolumeError(f"endpoints: {host!r} is not an address")
        if not hosts or not _VOLUME.fullmatch(path):
            raise VolumeError(f"path: {path!r} is not a volume of GlusterFS, or no server of it is known")
        filesystems.tool("mount.glusterfs", "glusterfs-client")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        others = (f"backup-volfile-servers={':'.join(hosts[1:])}",) if hosts[1:] else ()
        return f"{hosts[0]}:{path.lstrip('/')}", (f"log-file={self._log}", "log-level=WARNING", *others)

    async def stage(self, source: Source, staging: Staging) -> str:
        path = await super().stage(source, staging)
        pid = _client_of(staging.target)
        if pid:
            self._deaths.watch(staging.target, pid, lambda: self._ended(staging.target, source.handle))
        return path

    def on_lost(self, told: Callable[[str, str], None]) -> None:
        self._told.append(told)

    def _ended(self, target: str, handle: str) -> None:
        if _is_dead(target):
            for told in self._told:
                told(target, f"GlusterFS volume {handle}: its client has ended by itself")


def _is_dead(target: str) -> bool:
    """Mounted, and nobody serves it any more."""
    try:
        os.statvfs(target)  # stat may be answered from what is remembered
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _client_of(target: str) -> int:
    """The pid of the client that serves a mount; 0 when there is none."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                words = Path(entry.path, "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"glusterfs") and words[-1] == os.fsencode(target):
                return int(entry.name)
    return 0
