"""A directory as a layer: a tar whose bytes depend on content alone, so that equal layers are one."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import IO


def write_tar(root: Path, target: IO[bytes], owners: dict[str, tuple[int, int]] | None = None) -> None:
    """Everything below ``root``, owned by root except for ``owners`` (path without leading slash -> uid, gid)."""
    given = owners or {}

    def settle(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid, entry.gid = given.get(entry.name, (0, 0))
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for parent, directories, files in os.walk(root):
            directories.sort()
            links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
            for name in sorted([*directories, *files]):
                path = os.path.join(parent, name)
                archive.add(path, os.path.relpath(path, root), recursive=False, filter=settle)
            directories[:] = [name for name in directories if name not in links]
