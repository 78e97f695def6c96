"""What is kept of an instance on disk: ``DATA/node/instances/<id>/``.

``instance.json`` is written before the start, ``state.json`` by the shim once it runs, ``exit.json`` when
nothing of it runs any more. ``lock`` is held (flock) by the shim from before it exists until it is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from holdfast.node.runtimes.api import Device, InstanceConfig, InstanceState, Mount, RuntimeFailure
from holdfast.node.runtimes.oci import spec
from holdfast.node.runtimes.oci.cgroups import Cgroups

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


@dataclass(frozen=True)
class Record:
    directory: Path
    config: InstanceConfig
    shim: dict[str, Any]
    """What the shim was told."""

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def socket(self) -> Path:
        return Path(self.shim["socket"])

    def read(self, name: str) -> dict[str, Any] | None:
        try:
            value: dict[str, Any] = orjson.loads((self.directory / name).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return value

    def lock(self) -> int:
        """The descriptor that holds the lock. Raises BlockingIOError while a shim is there."""
        fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def has_shim(self) -> bool:
        try:
            os.close(self.lock())
        except BlockingIOError:
            return True
        return False

    def running(self, state: dict[str, Any]) -> InstanceState:
        return self._state("running", pid=state["pid"], started_at=state["started_at"])

    def exited(self, end: dict[str, Any]) -> InstanceState:
        return self._state("exited", **{key: end[key] for key in _END})

    def _state(self, phase: str, **more: Any) -> InstanceState:
        c = self.config
        return InstanceState(id=c.id, pod_uid=c.pod_uid, container=c.container, attempt=c.attempt, phase=phase, **more)


_END = ("started_at", "finished_at", "exit_code", "signal", "reason", "message")


@dataclass(frozen=True)
class Places:
    """Where a runtime keeps things, and how its cgroups are named."""

    data: Path
    run: Path
    id: str
    runtime: str
    cgroups: Cgroups
    boot_id: str

    @property
    def instances(self) -> Path:
        return self.data / "instances"

    @property
    def group(self) -> str:
        return f"/holdfast-{self.id}"

    def pod_group(self, pod_uid: str) -> str:
        return f"{self.group}/pod{pod_uid}"

    def create(self, config: InstanceConfig) -> Record:
        """Makes the instance's directory with all the shim needs. Raises RuntimeFailure."""
        for name in (config.id, f"pod{config.pod_uid}"):
            if not _ID.fullmatch(name):
                raise RuntimeFailure("CreateContainerConfigError", f"{name!r} cannot name an instance")
        if not config.layers or not config.args:
            raise RuntimeFailure("CreateContainerError", "no command specified" if config.layers else "the image has no layers")
        directory = self.instances / config.id
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError as error:
            raise RuntimeFailure("CreateContainerError", f"an instance {config.id} exists already") from error
        for name in ("rootfs", "upper", "work"):
            (directory / name).mkdir()
        (directory / "upper").chmod(0o755)
        group = f"{self.pod_group(config.pod_uid)}/{config.id}"
        record = Record(directory, config, self._shim(config, directory, group))
        (directory / "config.json").write_bytes(orjson.dumps(spec.bundle(config, group)))
        (directory / "instance.json").write_bytes(orjson.dumps({"config": asdict(config), "shim": record.shim}))
        return record

    def _shim(self, config: InstanceConfig, directory: Path, group: str) -> dict[str, Any]:
        short = hashlib.sha1(config.id.encode()).hexdigest()[:16]
        return {
            "id": config.id,
            "pod_uid": config.pod_uid,
            "directory": str(directory),
            "layers": list(config.layers),
            "runtime": self.runtime,
            "runtime_root": str(self.run / "runc"),
            "socket": str(self.run / "s" / short),
            "console": str(self.run / "c" / short),
            "fences": str(self.run / "fences"),
            "fence_files": list(config.fence_files),
            "log_path": config.log_path,
            "tty": config.tty,
            "stdin": config.stdin,
            "stdin_once": config.stdin_once,
            "cgroups": self.cgroups.directories(group),
            "oom_file": self.cgroups.oom_file(group),
            "boot_id": self.boot_id,
        }

    def load(self, directory: Path) -> Record | None:
        """None for a directory that was never finished."""
        try:
            kept = orjson.loads((directory / "instance.json").read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return Record(directory, _config(kept["config"]), kept["shim"])


def _config(kept: dict[str, Any]) -> InstanceConfig:
    lists = {key: tuple(value) for key, value in kept.items() if isinstance(value, list)}
    lists["mounts"] = tuple(Mount(**mount) for mount in kept["mounts"])
    lists["devices"] = tuple(Device(**device) for device in kept.get("devices") or ())
    return InstanceConfig(**{**kept, **lists})
