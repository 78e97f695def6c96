"""Reads what ``image load`` is given: an OCI layout as directory or tar, or a ``docker save`` archive.

Nothing is extracted here: members are read by name, their digests verified by the store.
"""

from __future__ import annotations

import platform
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import orjson

from holdfast.node.api import Image
from holdfast.node.images import names
from holdfast.node.images.store import NAME, ImageStore, Layer

MAX_JSON = 4 << 20
MAX_NESTING = 3
_REF = "org.opencontainers.image.ref.name"
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Source(Protocol):
    def open(self, name: str) -> IO[bytes]:
        """Raises FileNotFoundError."""


class _Directory:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {member.name.removeprefix("./"): member for member in archive}

    def open(self, name: str) -> IO[bytes]:
        member = self._members.get(name)
        file = self._archive.extractfile(member) if member is not None else None
        if file is None:
            raise FileNotFoundError(f"{name} is not in the archive")
        return file


def load(store: ImageStore, path: Path) -> list[Image]:
    """Raises ValueError or OSError, naming the file."""
    try:
        with _source(path) as source:
            loaded = _load_layout(store, source, path) if _has(source, "index.json") else _load_docker(store, source)
    except tarfile.ReadError as error:
        raise ValueError(f"{path}: neither a tar file nor a directory with an OCI layout") from error
    except (tarfile.TarError, orjson.JSONDecodeError, KeyError, TypeError, EOFError) as error:
        raise ValueError(f"{path}: not an OCI or docker image archive ({type(error).__name__}: {error})") from error
    except FileNotFoundError as error:
        raise ValueError(f"{path}: not a whole OCI or docker image archive: {error}") from error
    if not loaded:
        raise ValueError(f"{path}: holds no image for linux/{_architecture()}")
    return loaded


@contextmanager
def _source(path: Path) -> Iterator[Source]:
    if path.is_dir():
        yield _Directory(path)
    else:
        with tarfile.open(path) as archive:
            yield _Tar(archive)


def _has(source: Source, name: str) -> bool:
    try:
        source.open(name).close()
    except FileNotFoundError:
        return False
    return True


def _json(source: Source, name: str) -> Any:
    with source.open(name) as file:
        body = file.read(MAX_JSON + 1)
    if len(body) > MAX_JSON:
        raise ValueError(f"{name} is larger than {MAX_JSON} bytes")
    return orjson.loads(body)


def _blob(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or not value.isalnum():
        raise ValueError(f"{digest[:80]!r} is not a sha256 digest")
    return f"blobs/sha256/{value}"


def _load_layout(store: ImageStore, source: Source, path: Path) -> list[Image]:
    loaded = []
    for entry in _json(source, "index.json")["manifests"]:
        manifest = _manifest(source, entry, 0)
        if manifest is None:
            continue
        described = _json(source, _blob(manifest["config"]["digest"]))
        layers = (
            Layer(source.open(_blob(layer["digest"])), layer.get("mediaType", ""), layer["digest"]) for layer in manifest["layers"]
        )
        loaded.append(store.add(_name(entry.get("annotations") or {}, path), described, layers))
    return loaded


def _manifest(source: Source, entry: dict[str, Any], depth: int) -> dict[str, Any] | None:
    """The manifest an index entry leads to on this machine; None when it is for another."""
    if depth > MAX_NESTING:
        raise ValueError("indexes nested too deep")
    target = entry.get("platform") or {}
    if target.get("os", "linux") != "linux" or target.get("architecture", _architecture()) != _architecture():
        return None
    document = cast("dict[str, Any]", _json(source, _blob(entry["digest"])))
    if "manifests" not in document:
        return document
    return next((found for below in document["manifests"] if (found := _manifest(source, below, depth + 1))), None)


def _name(annotations: dict[str, str], path: Path) -> str:
    """The full name if one is given; a bare tag belongs to a repository named as the file."""
    if full := annotations.get(NAME):
        return full
    reference = annotations.get(_REF, "")
    if ":" in reference or "/" in reference:
        return reference
    stem = path.name.split(".")[0].lower() or "image"
    return names.normalise(f"{stem}:{reference}" if reference else stem)


def _load_docker(store: ImageStore, source: Source) -> list[Image]:
    loaded = []
    for entry in _json(source, "manifest.json"):
        described = _json(source, entry["Config"])
        names = entry.get("RepoTags") or [entry["Config"].split("/")[-1].removesuffix(".json")[:12]]
        loaded += [store.add(name, described, (Layer(source.open(layer)) for layer in entry["Layers"])) for name in names]
    return loaded


def _architecture() -> str:
    return _MACHINE.get(platform.machine(), platform.machine())
