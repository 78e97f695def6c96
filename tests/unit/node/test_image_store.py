"""References and the store: what is loaded is found by any spelling; damaged archives leave nothing."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from holdfast.node.images import ImageStore, archive, normalise

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.9.1", "docker.io/library/nginx:1.9.1"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("localhost/app:v1", "localhost/app:v1"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
        ("example.org/a_b/c--d", "example.org/a_b/c--d:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
    ],
)
def test_one_spelling(given: str, full: str) -> None:
    assert normalise(given) == full
    assert normalise(full) == full


@pytest.mark.parametrize(
    "bad", ["", "Nginx", "nginx:", "a//b", "a/../b", "nginx@sha256:12", ":tag", "a b", "x:" + "t" * 129, "a" * 300]
)
def test_bad_references(bad: str) -> None:
    with pytest.raises(ValueError, match="image"):
        normalise(bad)


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return out.getvalue()


def oci(layer: bytes, *, named: bytes | None = None) -> dict[str, bytes]:
    """Files of an OCI layout; ``named`` is the layer whose digest the manifest gives."""

    def digest(data: bytes) -> str:
        return "sha256:" + hashlib.sha256(data).hexdigest()

    config = json.dumps(
        {"config": {"Cmd": ["run"], "Env": ["A=1"]}, "rootfs": {"type": "layers", "diff_ids": [digest(named or layer)]}}
    ).encode()
    manifest = json.dumps(
        {"config": {"digest": digest(config), "size": len(config)}, "layers": [{"digest": digest(named or layer), "size": len(layer)}]}
    ).encode()
    index = {"manifests": [{"digest": digest(manifest), "annotations": {"org.opencontainers.image.ref.name": "team/app:v1"}}]}
    blobs = {digest(manifest): manifest, digest(config): config, digest(named or layer): layer}
    return {"index.json": json.dumps(index).encode(), **{f"blobs/{d.replace(':', '/')}": data for d, data in blobs.items()}}


def test_load_find_tag_remove(tmp_path: Path) -> None:
    (tmp_path / "app.tar").write_bytes(tar(oci(tar({"bin/run": b"#!"}))))
    store = ImageStore(tmp_path / "data")
    [image] = archive.load(store, tmp_path / "app.tar")
    assert (image.name, image.cmd, image.env) == ("docker.io/team/app:v1", ("run",), ("A=1",))
    assert (Path(image.layers[0]) / "bin/run").read_bytes() == b"#!"
    other = ImageStore(tmp_path / "data")
    assert other.find("team/app:v1") == image
    store.tag("team/app:v1", "other")
    assert [i.name for i in other.list()] == ["docker.io/library/other:latest", "docker.io/team/app:v1"]
    store.remove("team/app:v1")
    assert other.find("team/app:v1") is None
    found = other.find("other")
    assert found
    assert Path(found.layers[0]).is_dir()
    store.remove("other")
    assert other.list() == []
    assert list((tmp_path / "data/images/unpacked").iterdir()) == []


def test_docker_archive(tmp_path: Path) -> None:
    layer = tar({"f": b"1"})
    config = json.dumps(
        {"config": {"Entrypoint": ["e"]}, "rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
    ).encode()
    manifest = [{"Config": "c.json", "RepoTags": ["app:1", "app:2"], "Layers": ["x/layer.tar"]}]
    (tmp_path / "a.tar").write_bytes(tar({"manifest.json": json.dumps(manifest).encode(), "c.json": config, "x/layer.tar": layer}))
    images = archive.load(ImageStore(tmp_path), tmp_path / "a.tar")
    assert [i.name for i in images] == ["docker.io/library/app:1", "docker.io/library/app:2"]
    assert images[0].entrypoint == ("e",)
    assert images[0].id == images[1].id


@pytest.mark.parametrize(
    "files",
    [
        oci(tar({"f": b"changed"}), named=tar({"f": b"wanted!"})),
        oci(tar({"../f": b"1"})),
        {"index.json": b"{"},
        {"index.json": json.dumps({"manifests": [{"digest": "sha256:../../x"}]}).encode()},
        {"manifest.json": json.dumps([{"Config": "missing", "Layers": []}]).encode()},
        {},
    ],
    ids=["digest", "escape", "json", "digest path", "missing member", "empty"],
)
def test_bad_archives_leave_no_image(tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "bad.tar").write_bytes(tar(files))
    store = ImageStore(tmp_path / "data")
    with pytest.raises(ValueError, match=r"damaged|leads out|not a sha256|archive|layout|image|json"):
        archive.load(store, tmp_path / "bad.tar")
    assert store.list() == []
    unpacked = tmp_path / "data/images/unpacked"
    assert not unpacked.exists() or list(unpacked.iterdir()) == []


def test_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(ValueError, match=r"x\.tar"):
        archive.load(ImageStore(tmp_path), tmp_path / "x.tar")
