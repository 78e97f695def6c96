"""The nfs engine: what it asks of the kernel's client, and what it says where there is none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.kinds import sources
from holdfast.volumes.api import Source, Staging, VolumeError
from holdfast.volumes.nfs import NfsEngine, engine

SPEC = {"nfs": {"server": "files.example", "path": "/exports/a", "readOnly": True}}


def source() -> Source:
    found = sources.read(SPEC, "n")
    assert found is not None
    assert found.read_only
    return Source(found.handle, found.attributes)


async def test_a_kernel_without_a_client_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "filesystems").write_text("nodev\ttmpfs\n\text4\n")
    monkeypatch.setattr(engine, "FILE_SYSTEMS", tmp_path / "filesystems")
    with pytest.raises(VolumeError, match=r"files\.example:/exports/a cannot be mounted: the kernel of this node has no NFS client"):
        await NfsEngine().stage(source(), Staging(str(tmp_path / "t")))


async def test_the_kernels_client_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "filesystems").write_text("nodev\tnfs4\n")
    monkeypatch.setattr(engine, "FILE_SYSTEMS", tmp_path / "filesystems")
    for name, script in (("mount.nfs", "exit 0"), ("mount", f'echo "$@" > {tmp_path}/said; echo mount.nfs: no route >&2; exit 32')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    target = str(tmp_path / "t")
    with pytest.raises(VolumeError, match=r"files\.example:/exports/a cannot be mounted: mount\.nfs: no route"):
        await NfsEngine().stage(source(), Staging(target, read_only=True, options=("vers=4.2",)))
    assert (tmp_path / "said").read_text() == f"-t nfs -o ro,vers=4.2 -- files.example:/exports/a {target}\n"
    with pytest.raises(VolumeError, match="removes nothing"):
        await NfsEngine().delete(source())
