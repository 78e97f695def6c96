"""What is physically there: processes, addresses and disks. It outlives the node's own process.

A container does what its first words say: ``sleep N`` and ``true`` end well, ``false`` ends with 1, all else runs until
it is killed. Hooks let a test make them slow, sick or stubborn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

from holdfast.lib.clock import Clock
from holdfast.node.runtimes.api import InstanceConfig, InstanceState

Watcher = Callable[[InstanceState], None]
KEPT = ".volume"
KILLED, TERMINATED = 137, 143
_NUMBERS = {"SIGKILL": 9, "SIGTERM": 15, "SIGINT": 2, "SIGQUIT": 3}


@dataclass
class Disk:
    """Volumes by handle: who wrote there, one line a process, in order. Shared by machines that reach the same storage."""

    volumes: dict[str, list[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    room: int = 2**62
    """Bytes: no volume grows beyond that."""

    def create(self, handle: str, capacity: int) -> int:
        """The size it has, which is that of its first creation."""
        self.volumes.setdefault(handle, [])
        return self.sizes.setdefault(handle, capacity)

    def expand(self, handle: str, capacity: int) -> int:
        self.sizes[handle] = max(self.sizes.get(handle, 0), capacity)
        return self.sizes[handle]

    def delete(self, handle: str) -> None:
        self.volumes.pop(handle, None)
        self.sizes.pop(handle, None)


class KeptDisk(Disk):
    """Which volumes there are outlives this process: a file each, that holds its size."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.glob(f"*{KEPT}"):
            super().create(unquote(path.name.removesuffix(KEPT)), int(path.read_text()))

    def _path(self, handle: str) -> Path:
        return self._directory / f"{quote(handle, safe='')}{KEPT}"

    def create(self, handle: str, capacity: int) -> int:
        if handle not in self.volumes:
            self._path(handle).write_text(str(capacity))
        return super().create(handle, capacity)

    def expand(self, handle: str, capacity: int) -> int:
        size = super().expand(handle, capacity)
        self._path(handle).write_text(str(size))
        return size

    def delete(self, handle: str) -> None:
        self._path(handle).unlink(missing_ok=True)
        super().delete(handle)


class Machine:
    """``disk``: the volumes within its reach."""

    def __init__(self, name: str, clock: Clock, disk: Disk | None = None) -> None:
        self.name = name
        self.clock = clock
        self.disk = disk or Disk()
        self.boot = 1
        self.instances: dict[str, InstanceState] = {}
        self.configs: dict[str, InstanceConfig] = {}
        self.addresses: dict[str, str] = {}
        self.unused: set[str] = set()
        """Handles of volumes that were made here and never mounted."""
        self.staged: dict[str, str] = {}
        """Handle of a mounted volume by where it is mounted."""
        self.watchers: list[Watcher] = []
        self.start_seconds = 0.0
        self.end_seconds = 0.0
        """From the signal that asks a process to end to its end."""
        self.is_well: Callable[[InstanceConfig], bool] = lambda _config: True
        """What its probes find."""
        self.heeds: Callable[[InstanceConfig, str], bool] = lambda _config, _signal: True
        """Whether a signal has its effect."""
        self._pids = 100
        self._of_pod: dict[str, dict[str, None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def boot_id(self) -> str:
        return f"{self.name}-{self.boot}"

    def of_pod(self, uid: str) -> Mapping[str, InstanceState]:
        return {id: self.instances[id] for id in self._of_pod.get(uid, ())}

    def living(self) -> list[InstanceConfig]:
        return [self.configs[state.id] for state in self.instances.values() if state.phase == "running"]

    def holders(self, fence: str) -> set[str]:
        """Uids of the pods whose processes hold a fence."""
        return {config.pod_uid for config in self.living() if fence in config.fence_files}

    def start(self, config: InstanceConfig) -> InstanceState:
        self._pids += 1
        state = InstanceState(
            config.id,
            config.pod_uid,
            config.container,
            config.attempt,
            "running",
            pid=self._pids,
            started_at=self.clock.now(),
        )
        self.instances[config.id], self.configs[config.id] = state, config
        self._of_pod.setdefault(config.pod_uid, {})[config.id] = None
        for mount in config.mounts:
            handle = self.staged.get(mount.source)
            if handle is not None:
                self.disk.volumes[handle].append(
                    f"{config.namespace}/{config.pod_name} {config.pod_uid} {config.container} {config.attempt}"
                )
        end = _ending(config.args)
        if end is not None:
            self._at(config.id, end[0], end[1], 0)
        return state

    def _at(self, id: str, seconds: float, code: int, signal: int) -> None:
        waiting = self._timers.pop(id, None)
        if waiting is not None:
            waiting.cancel()
        if seconds <= 0:
            self.end(id, code, signal)
            return
        self._timers[id] = asyncio.get_running_loop().call_later(seconds, self.end, id, code, signal)

    def signal(self, id: str, signal: str) -> None:
        state = self.instances.get(id)
        if state is None or state.phase != "running" or not self.heeds(self.configs[id], signal):
            return
        number = _NUMBERS.get(signal, 15)
        self._at(id, 0.0 if signal == "SIGKILL" else self.end_seconds, 128 + number, number)

    def end(self, id: str, code: int, signal: int = 0) -> None:
        """The process is gone."""
        waiting = self._timers.pop(id, None)
        if waiting is not None:
            waiting.cancel()
        state = self.instances.get(id)
        if state is None or state.phase != "running":
            return
        reason = "Completed" if code == 0 else "Error"
        ended = replace(state, phase="exited", finished_at=self.clock.now(), exit_code=code, signal=signal, reason=reason)
        self.instances[id] = ended
        for watcher in self.watchers:
            watcher(ended)

    def remove(self, id: str) -> None:
        if self.instances.get(id) is not None and self.instances[id].phase != "running":
            uid = self.configs[id].pod_uid
            del self.instances[id], self.configs[id], self._of_pod[uid][id]
            if not self._of_pod[uid]:
                del self._of_pod[uid]

    def power_off(self) -> None:
        """Every process is gone at once, and nobody is there to notice; what was mounted is not any more."""
        self.boot += 1
        for waiting in self._timers.values():
            waiting.cancel()
        self._timers.clear()
        self.watchers.clear()
        self.instances.clear()
        self._of_pod.clear()
        self.configs.clear()
        self.addresses.clear()
        self.staged.clear()


def _ending(args: tuple[str, ...]) -> tuple[float, int] | None:
    """(seconds, exit code) of a program that ends by itself."""
    match args:
        case ("sleep", seconds, *_) if seconds.replace(".", "", 1).isdigit():
            return float(seconds), 0
        case ("true", *_):
            return 0.001, 0
        case ("false", *_):
            return 0.001, 1
    return None
