"""Layers that want to write where they must not, and what a sound layer becomes."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from holdfast.node.images.unpack import BadLayer, unpack


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), mode
    return info, data


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("kept")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


BAD = {
    "parent": [entry("../outside/secret", data=b"x")],
    "parent inside": [entry("a/../../outside/secret", data=b"x")],
    "file through a symlink": [entry("l", tarfile.SYMTYPE, "../outside"), entry("l/secret", data=b"x")],
    "file through an absolute symlink": [entry("l", tarfile.SYMTYPE, "/etc"), entry("l/passwd", data=b"x")],
    "directory through a symlink": [entry("l", tarfile.SYMTYPE, "../outside"), entry("l/d", tarfile.DIRTYPE)],
    "hard link outside": [entry("h", tarfile.LNKTYPE, "../outside/secret")],
    "hard link through a symlink": [entry("l", tarfile.SYMTYPE, "../outside"), entry("h", tarfile.LNKTYPE, "l/secret")],
    "hard link to a directory": [entry("d", tarfile.DIRTYPE), entry("h", tarfile.LNKTYPE, "d")],
    "hard link to nothing": [entry("h", tarfile.LNKTYPE, "missing")],
    "whiteout outside": [entry("../outside/.wh.secret")],
    "whiteout of the parent": [entry(".wh...")],
    "whiteout through a symlink": [entry("l", tarfile.SYMTYPE, "../outside"), entry("l/.wh.secret")],
    "a file where a directory is wanted": [entry("f", data=b"x"), entry("f/g", data=b"x")],
    "deep": [entry("/".join(["d"] * 300), data=b"x")],
}


@pytest.mark.parametrize("entries", BAD.values(), ids=BAD.keys())
def test_refuses(root: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(BadLayer):
        unpack(layer(*entries), root)
    assert os.listdir(root.parent / "outside") == ["secret"]
    assert (root.parent / "outside" / "secret").read_text() == "kept"


def test_a_symlink_replaced_by_a_file_is_not_followed(root: Path) -> None:
    unpack(layer(entry("l", tarfile.SYMTYPE, "../outside/secret"), entry("l", data=b"new")), root)
    assert (root / "l").read_bytes() == b"new"
    assert not (root / "l").is_symlink()
    assert (root.parent / "outside" / "secret").read_text() == "kept"


def test_limits(root: Path) -> None:
    with pytest.raises(BadLayer, match="entries"):
        unpack(layer(*(entry(f"f{n}") for n in range(5))), root, max_entries=4)
    with pytest.raises(BadLayer, match="too many bytes"):
        unpack(layer(entry("f", data=b"x" * 100)), root, max_bytes=99)


def test_cut_short(root: Path) -> None:
    whole = layer(entry("f", data=b"x" * 4096)).getvalue()
    with pytest.raises(BadLayer):
        unpack(io.BytesIO(whole[:1024]), root)


def test_sound_layer(root: Path) -> None:
    stream = layer(
        entry("./a/", tarfile.DIRTYPE, mode=0o750),
        entry("a/f", data=b"text", mode=0o4755),
        entry("a/h", tarfile.LNKTYPE, "a/f"),
        entry("a/l", tarfile.SYMTYPE, "/etc/passwd"),
        entry("dev/null", tarfile.CHRTYPE),
        entry("a/.wh.gone"),
        entry("a/.wh..wh..opq"),
        entry("/absolute", data=b"inside"),
    )
    assert unpack(stream, root) == 10
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o750
    assert (root / "a" / "f").stat().st_ino == (root / "a" / "h").stat().st_ino
    assert stat.S_IMODE((root / "a" / "f").stat().st_mode) == 0o4755
    assert os.readlink(root / "a" / "l") == "/etc/passwd"
    assert not (root / "dev" / "null").exists()
    gone = (root / "a" / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(root / "a", "trusted.overlay.opaque") == b"y"
    assert (root / "absolute").read_bytes() == b"inside"
