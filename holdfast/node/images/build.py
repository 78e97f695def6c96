"""Builds images without a registry: busybox, and images out of Debian packages as a small spec file says.

The spec (YAML): ``name``; ``packages``; ``files`` (path: content); ``links`` (path: target); ``directories`` (list of
``{path, mode, uid, gid}``); ``users`` (list of ``{name, uid, gid, home}``); and of the image's configuration ``cmd``,
``entrypoint``, ``env``, ``cwd``, ``user``, ``ports``, ``stopSignal``. The lowest layer is busybox: sh, hostname and
friends; the second is kept in a cache, so that a second build costs nothing.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import yaml

from holdfast.node.api import Image
from holdfast.node.images import busybox, packages
from holdfast.node.images.busybox import build_busybox
from holdfast.node.images.names import normalise
from holdfast.node.images.store import ImageStore, Layer
from holdfast.node.images.tree import write_tar

__all__ = ["build_busybox", "build_from_packages", "build_from_spec"]

_FIELDS: dict[str, type] = {
    "name": str,
    "packages": list,
    "files": dict,
    "links": dict,
    "directories": list,
    "users": list,
    "cmd": list,
    "entrypoint": list,
    "env": dict,
    "cwd": str,
    "user": str,
    "ports": list,
    "stopSignal": str,
}
_FORMAT = 1


def build_from_spec(store: ImageStore, path: Path) -> Image:
    """Raises ValueError for a bad spec, RuntimeError when packages cannot be had."""
    try:
        spec = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(spec, dict):
        raise ValueError(f"{path}: an image spec is a mapping with name, packages, ...")
    for key, value in spec.items():
        if key not in _FIELDS:
            raise ValueError(f"{path}: unknown field {key!r}; known are {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[key]):
            raise ValueError(f"{path}: {key} must be a {_FIELDS[key].__name__}")
    if not spec.get("name"):
        raise ValueError(f"{path}: name is missing, for example `name: nginx:1.9.1`")
    return build_from_packages(store, spec["name"], spec.get("packages") or [], spec)


def build_from_packages(store: ImageStore, name: str, wanted: list[str], config: Mapping[str, Any]) -> Image:
    """``config`` holds the other fields of a spec."""
    normalise(name)
    described = {"os": "linux", "config": _image_config(config)}
    with ExitStack() as stack:
        base = stack.enter_context(tempfile.TemporaryFile())
        busybox.root_layer(base)
        base.seek(0)
        top = stack.enter_context(_package_layer(wanted, config).open("rb"))
        return store.add(name, described, [Layer(base), Layer(top)])


def _image_config(spec: Mapping[str, Any]) -> dict[str, Any]:
    env = {"PATH": busybox.PATH, **(spec.get("env") or {})}
    config: dict[str, Any] = {
        "Env": [f"{key}={value}" for key, value in env.items()],
        "Cmd": [str(part) for part in spec.get("cmd") or []],
        "Entrypoint": [str(part) for part in spec.get("entrypoint") or []],
        "WorkingDir": spec.get("cwd") or "",
        "User": spec.get("user") or "",
        "StopSignal": spec.get("stopSignal") or "",
        "ExposedPorts": {f"{port}" if "/" in f"{port}" else f"{port}/tcp": {} for port in spec.get("ports") or []},
    }
    return {key: value for key, value in config.items() if value}


def _package_layer(wanted: list[str], spec: Mapping[str, Any]) -> Path:
    """The tar of the upper layer, out of the cache when the same was built from the same package lists."""
    content = {key: spec.get(key) for key in ("files", "links", "directories", "users")}
    key = hashlib.sha256(orjson.dumps([_FORMAT, wanted, content, packages.lists_stamp()], option=orjson.OPT_SORT_KEYS))
    layers = packages.cache_directory() / "layers"
    layers.mkdir(parents=True, exist_ok=True)
    kept = layers / f"{key.hexdigest()}.tar"
    if kept.exists():
        return kept
    with tempfile.TemporaryDirectory() as scratch, tempfile.NamedTemporaryFile(dir=layers, delete=False) as target:
        try:
            root = Path(scratch)
            files = packages.download(packages.resolve(wanted)) if wanted else []
            packages.extract(files, root)
            owners = _furnish(root, spec)
            root.chmod(0o755)
            write_tar(root, target, owners)
            target.flush()
            os.fsync(target.fileno())
            os.rename(target.name, kept)
        except BaseException:
            os.unlink(target.name)
            raise
    return kept


def _furnish(root: Path, spec: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """What maintainer scripts would have done, as the spec says it. Returns owners that are not root."""
    owners: dict[str, tuple[int, int]] = {}
    for entry in spec.get("directories") or []:
        path = _inside(root, entry["path"])
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(int(str(entry.get("mode", "0755")), 8))
        owners[str(path.relative_to(root))] = (int(entry.get("uid", 0)), int(entry.get("gid", entry.get("uid", 0))))
    for name, text in (spec.get("files") or {}).items():
        path = _inside(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(str(text))
        path.chmod(0o755 if str(text).startswith("#!") else 0o644)
    for name, target in (spec.get("links") or {}).items():
        path = _inside(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    if users := spec.get("users"):
        (root / "etc").mkdir(exist_ok=True)
        passwd, group = busybox.PASSWD, busybox.GROUP
        for user in users:
            uid, gid = int(user["uid"]), int(user.get("gid", user["uid"]))
            if f"\n{user['name']}:" not in passwd:
                passwd += f"{user['name']}:x:{uid}:{gid}::{user.get('home', '/')}:/bin/sh\n"
                group += f"{user['name']}:x:{gid}:\n"
        (root / "etc/passwd").write_text(passwd)
        (root / "etc/group").write_text(group)
    return owners


def _inside(root: Path, name: str) -> Path:
    path = root / str(name).lstrip("/")
    if ".." in path.parts or not path.parent.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{name!r} leads out of the image")
    return path
