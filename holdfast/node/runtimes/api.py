"""The runtime: starts, watches and ends the instances (containers) of pods.

The node decides *what* runs (``node.pods``); a runtime knows *how*. Instances live under shims that
outlive the node (DESIGN, Processes): ``start`` finds the running ones again with their PIDs.
Implementations: ``node.runtimes.oci`` (runc or crun under our shim).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


class RuntimeFailure(Exception):
    """Starting failed. ``reason`` is the waiting reason kubectl shows (CreateContainerError, RunContainerError ...)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Mount:
    """A bind of a host path into the instance."""

    source: str
    target: str
    read_only: bool = False
    recursive: bool = False
    """Read-only with everything that is mounted below it."""


@dataclass(frozen=True)
class Device:
    """A block device of the host that the instance gets under another name."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class InstanceConfig:
    """All a runtime needs to start one container attempt. Paths are host paths; sizes bytes; cpu in cores."""

    id: str
    """Unique: ``<pod uid>_<container>_<attempt>``."""
    pod_uid: str
    pod_name: str
    namespace: str
    container: str
    attempt: int
    layers: tuple[str, ...]
    """Unpacked image layer directories, lowest first: the overlay's lower directories."""
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"
    hostname: str = ""
    netns: str = ""
    """Path of the pod's network namespace; "" = the host's."""
    pid_of: int = 0
    """A process whose PID namespace the instance joins; 0 = one of its own."""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    cpu_shares: int = 0
    cpu_limit: float = 0.0
    memory_limit: int = 0
    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = False
    read_only_root: bool = False
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log_path: str = ""
    """Log file in CRI form (``<rfc3339nano> stdout F line``)."""
    stop_signal: str = "SIGTERM"
    fence_files: tuple[str, ...] = ()
    """Files the shim locks (flock) for the instance's life; a held lock refuses the start."""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InstanceState:
    """``phase`` is running or exited. Times are unix seconds. ``reason`` is Completed, Error or OOMKilled once exited."""

    id: str
    pod_uid: str
    container: str
    attempt: int
    phase: str
    pid: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""


class Streams(Protocol):
    """A live exec or attach session. Reads return b"" at the end; with a tty, stdout carries everything."""

    async def read_stdout(self) -> bytes: ...
    async def read_stderr(self) -> bytes: ...
    async def write_stdin(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def resize(self, width: int, height: int) -> None: ...
    async def wait(self) -> int:
        """Exit code (exec), or the instance's exit code (attach)."""

    async def close(self) -> None:
        """Ends an exec's process; an attach only detaches."""


class Runtime(Protocol):
    name: str
    version: str

    async def start(self) -> None:
        """Finds running instances again and begins to follow their exits. Raises RuntimeError naming a missing package."""

    async def close(self) -> None:
        """Stops following; instances keep running."""

    def instances(self) -> Mapping[str, InstanceState]:
        """All known instances by id, running or exited and not removed."""

    def of_pod(self, uid: str) -> Mapping[str, InstanceState]:
        """Those of one pod."""

    def on_exit(self, callback: Callable[[InstanceState], None]) -> None:
        """Called on the loop each time an instance exits."""

    async def run(self, config: InstanceConfig) -> InstanceState:
        """Creates and starts; returns once the process runs. Raises RuntimeFailure."""

    async def kill(self, id: str, signal: str) -> None:
        """Signals the instance's first process; absent or exited is not an error."""

    async def remove(self, id: str) -> None:
        """Forgets an exited instance and deletes its writable layer (not its log)."""

    async def exec(self, id: str, command: list[str], *, tty: bool = False, stdin: bool = False) -> Streams:
        """Runs a command in the instance. Raises RuntimeFailure when it cannot start."""

    async def attach(self, id: str) -> Streams:
        """Joins the instance's own stdio. Raises RuntimeFailure when it is not running."""
