"""Files that change together: a directory whose visible names lead through one symlink, swapped by a rename.

As upstream's volumes do: ``..data`` > ``..TIME.RANDOM/``, and ``name`` > ``..data/name`` for each first path part. A
reader sees all old files or all new ones.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.volumes.api import VolumeError

CURRENT = "..data"
_OURS = re.compile(r"\.\.\d{4}(_\d\d){5}\.[0-9a-f]{10}")


@dataclass(frozen=True)
class File:
    data: bytes
    mode: int


def write(directory: Path, files: Mapping[str, File], *, uid: int = -1, gid: int = -1) -> bool:
    """Makes ``directory`` show exactly ``files`` (relative path > content). True when something changed."""
    for name in files:
        if name.startswith("/") or ".." in name.split("/") or "\0" in name or name.startswith(".."):
            raise VolumeError(f"path {name!r}: must be relative, without .. (SEC-12)")
    present, old = directory / CURRENT, _current(directory)
    if old is not None and _read(old) == {name: file.data for name, file in files.items()}:
        return False
    stamp = time.strftime("..%Y_%m_%d_%H_%M_%S.", time.gmtime()) + secrets.token_hex(5)
    fresh = directory / stamp
    fresh.mkdir(mode=0o755)
    fresh.chmod(0o755)
    for name, file in files.items():
        path = fresh / name
        for parent in reversed(path.relative_to(fresh).parents[:-1]):
            (fresh / parent).mkdir(exist_ok=True, mode=0o755)
        path.write_bytes(file.data)
        path.chmod(file.mode)
        if uid >= 0 or gid >= 0:
            os.chown(path, uid, gid)
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(stamp)
    os.replace(link, present)
    _name(directory, {name.split("/", 1)[0] for name in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _current(directory: Path) -> Path | None:
    """The directory that is visible now. A link that we did not make leads nowhere: what it names is not ours (SEC-11)."""
    try:
        name = os.readlink(directory / CURRENT)
    except OSError:
        return None
    path = directory / name
    return path if _OURS.fullmatch(name) and path.is_dir() and not path.is_symlink() else None


def _read(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def _name(directory: Path, wanted: set[str]) -> None:
    for entry in os.listdir(directory):
        if not entry.startswith("..") and entry not in wanted:
            (directory / entry).unlink()
    for name in wanted:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{CURRENT}/{name}")
