"""The image store: an OCI layout (``index.json``, ``blobs/sha256``) and layers unpacked by diff id.

Several processes use it at once (the node reads, the command line writes): writers hold a lock, every file
appears by rename, and readers notice a new index by its stat.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from holdfast.node.api import Image
from holdfast.node.images import names
from holdfast.node.images.unpack import BadLayer, unpack

NAME = "io.containerd.image.name"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
_CHUNK = 1 << 20
# Inside the class ``list`` is a method.
_Entries = list[dict[str, Any]]
_Images = list[Image]
_Diffs = list[str]


@dataclass(frozen=True)
class Layer:
    """A layer to be stored: an open file at its start, with its media type and (if known) its digest."""

    file: IO[bytes]
    media_type: str = TAR
    digest: str = ""


class ImageStore:
    """``data`` is the data directory of the system."""

    def __init__(self, data: Path) -> None:
        self.root = data / "images"
        self._blobs = self.root / "blobs" / "sha256"
        self._unpacked = self.root / "unpacked"
        self._seen: tuple[int, int, int] | None = None
        self._images: dict[str, Image] = {}
        self._manifests: dict[str, str] = {}

    # --- reading

    def find(self, reference: str) -> Image | None:
        self._refresh()
        if reference.startswith("sha256:"):
            return next((image for image in self._images.values() if image.id == reference), None)
        try:
            name = names.normalise(reference)
        except ValueError:
            return None
        if "@" in name:
            digest = name.partition("@")[2]
            return next((self._images[n] for n, manifest in self._manifests.items() if manifest == digest), None)
        return self._images.get(name)

    def list(self) -> _Images:
        self._refresh()
        return sorted(self._images.values(), key=lambda image: image.name)

    def _refresh(self) -> None:
        try:
            found = os.stat(self.root / "index.json")
        except FileNotFoundError:
            self._seen, self._images, self._manifests = None, {}, {}
            return
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen == self._seen:
            return
        images: dict[str, Image] = {}
        manifests: dict[str, str] = {}
        for entry in self._index():
            name = entry["annotations"][NAME]
            images[name] = self._image(name, entry["digest"])
            manifests[name] = entry["digest"]
        self._seen, self._images, self._manifests = seen, images, manifests

    def _index(self) -> _Entries:
        try:
            index = orjson.loads((self.root / "index.json").read_bytes())
        except FileNotFoundError:
            return []
        return [entry for entry in index["manifests"] if entry.get("annotations", {}).get(NAME)]

    def _json(self, digest: str) -> dict[str, Any]:
        return cast("dict[str, Any]", orjson.loads((self._blobs / _hex(digest)).read_bytes()))

    def _image(self, name: str, digest: str) -> Image:
        manifest = self._json(digest)
        described = self._json(manifest["config"]["digest"])
        config = described.get("config") or {}
        return Image(
            id=manifest["config"]["digest"],
            name=name,
            layers=tuple(str(self._unpacked / _hex(diff)) for diff in described["rootfs"]["diff_ids"]),
            env=tuple(config.get("Env") or ()),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            cwd=config.get("WorkingDir") or "",
            user=config.get("User") or "",
            stop_signal=config.get("StopSignal") or "",
            size=manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"]),
            config=config,
        )

    # --- writing

    def tag(self, source: str, target: str) -> None:
        """Raises LookupError when there is no such image, ValueError for a bad name."""
        image = self.find(source)
        if image is None:
            raise LookupError(f"image {source} is not loaded; `holdfast image list` shows what is")
        self._enter(names.normalise(target), self._manifests[image.name])

    def remove(self, reference: str) -> None:
        """Takes a name away, and what no other name needs. Raises LookupError."""
        image = self.find(reference)
        if image is None:
            raise LookupError(f"image {reference} is not loaded")
        with self._writing():
            self._write_index([entry for entry in self._index() if entry["annotations"][NAME] != image.name])
            self._collect()

    def add(self, name: str, described: Mapping[str, Any], layers: Iterable[Layer]) -> Image:
        """Stores an image: its configuration and layers, lowest first. Verifies what digests there are.

        ``described`` is the OCI image configuration; without ``rootfs`` the diff ids are filled in.
        """
        name = names.normalise(name)
        if "@" in name:
            raise ValueError(f"{name}: an image is stored under a tag")
        with self._writing():
            expected = list((described.get("rootfs") or {}).get("diff_ids") or [])
            entries: _Entries = []
            diffs: _Diffs = []
            for layer in layers:
                digest, size = self._store(layer.file, layer.digest)
                entries.append({"mediaType": layer.media_type, "digest": digest, "size": size})
                wanted = expected[len(diffs)] if len(diffs) < len(expected) else ""
                diffs.append(self._unpack(digest, layer.media_type, wanted))
            if expected and diffs != expected:
                raise BadLayer(f"{name}: {len(diffs)} layers where the configuration names {len(expected)}")
            full = {**described, "rootfs": {"type": "layers", "diff_ids": diffs}}
            config = self._store_json(full)
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, "digest": config[0], "size": config[1]},
                "layers": entries,
            }
            digest, _ = self._store_json(manifest)
            self._enter_locked(name, digest)
        image = self.find(name)
        assert image is not None, "it was just entered"
        return image

    def _enter(self, name: str, digest: str) -> None:
        if "@" in name:
            raise ValueError(f"{name}: a digest cannot be given to an image")
        with self._writing():
            self._enter_locked(name, digest)

    def _enter_locked(self, name: str, digest: str) -> None:
        kept = [entry for entry in self._index() if entry["annotations"][NAME] != name]
        size = (self._blobs / _hex(digest)).stat().st_size
        notes = {NAME: name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
        self._write_index([*kept, {"mediaType": MANIFEST, "digest": digest, "size": size, "annotations": notes}])

    def _write_index(self, entries: _Entries) -> None:
        body = orjson.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})
        _write(self.root / "index.json", body)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        for directory in (self._blobs, self._unpacked):
            directory.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        if not (self.root / "oci-layout").exists():
            _write(self.root / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _store_json(self, value: Any) -> tuple[str, int]:
        body = orjson.dumps(value)
        digest = hashlib.sha256(body).hexdigest()
        if not (self._blobs / digest).exists():
            _write(self._blobs / digest, body)
        return f"sha256:{digest}", len(body)

    def _store(self, source: IO[bytes], expected: str) -> tuple[str, int]:
        """Digest and size of a blob, now stored. Raises ValueError when it is not the expected one."""
        with tempfile.NamedTemporaryFile(dir=self._blobs, prefix=".new-", delete=False) as target:
            try:
                digest, size = hashlib.sha256(), 0
                while data := source.read(_CHUNK):
                    digest.update(data)
                    size += len(data)
                    target.write(data)
                if expected and expected != f"sha256:{digest.hexdigest()}":
                    raise BadLayer(f"blob {expected} is damaged: its content is sha256:{digest.hexdigest()}")
                target.flush()
                os.fsync(target.fileno())
                os.rename(target.name, self._blobs / digest.hexdigest())
            except BaseException:
                os.unlink(target.name)
                raise
        return f"sha256:{digest.hexdigest()}", size

    def _unpack(self, digest: str, media_type: str, wanted: str) -> str:
        """The diff id of a layer, now unpacked. Raises BadLayer."""
        if wanted and (self._unpacked / _hex(wanted)).is_dir():
            return wanted
        scratch = Path(tempfile.mkdtemp(dir=self._unpacked, prefix=".new-"))
        try:
            scratch.chmod(0o755)
            with (self._blobs / _hex(digest)).open("rb") as blob:
                reader = _Hashing(_decompressed(blob, media_type))
                unpack(cast("IO[bytes]", reader), scratch)
                while reader.read(_CHUNK):
                    pass
            diff = f"sha256:{reader.digest.hexdigest()}"
            if wanted and diff != wanted:
                raise BadLayer(f"layer {digest} is damaged: its content is {diff}, the image names {wanted}")
            target = self._unpacked / _hex(diff)
            if not target.is_dir():
                os.sync()  # a layer is made of many files; all of them are on disk before its name is
                scratch.rename(target)
            return diff
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _collect(self) -> None:
        """Removes blobs and layers that no name reaches. A running instance's layers stay: overlay holds the files."""
        blobs, diffs = set(), set()
        for entry in self._index():
            manifest = self._json(entry["digest"])
            blobs |= {_hex(entry["digest"]), _hex(manifest["config"]["digest"])}
            blobs |= {_hex(layer["digest"]) for layer in manifest["layers"]}
            diffs |= {_hex(diff) for diff in self._json(manifest["config"]["digest"])["rootfs"]["diff_ids"]}
        for blob in self._blobs.iterdir():
            if blob.name not in blobs:
                blob.unlink()
        for layer in self._unpacked.iterdir():
            if layer.name not in diffs:
                shutil.rmtree(layer, ignore_errors=True)


class _Hashing:
    """A stream that hashes what is read from it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


def _decompressed(blob: IO[bytes], media_type: str) -> IO[bytes]:
    head = blob.read(4)
    blob.seek(0)
    if head[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=blob))
    if head == b"\x28\xb5\x2f\xfd":
        raise BadLayer(f"a layer of type {media_type} is compressed with zstd; save the image with gzip or uncompressed layers")
    return blob


def _hex(digest: str) -> str:
    """The file name of a digest; nothing else ever becomes a path. Raises ValueError."""
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{digest[:80]!r} is not a sha256 digest")
    return value


def _write(path: Path, body: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.rename(file.name, path)
