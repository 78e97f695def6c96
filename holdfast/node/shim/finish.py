"""Ends a container: its cgroups and the runtime's record go, then ``exit.json`` is written for good.

The same steps bury an instance whose shim was killed. ``exit.json`` says that nothing of the instance runs any more.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import Any

BUSY_SECONDS = 3.0


def write_durably(path: str, value: dict[str, Any]) -> None:
    """Whole or not at all, and still there after a power cut."""
    directory = os.path.dirname(path)
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(value).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def oom_killed(spec: dict[str, Any]) -> bool:
    """Whether the kernel killed a process of the instance for its memory limit."""
    try:
        with open(spec["oom_file"]) as file:
            for line in file:
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value) > 0
    except (OSError, ValueError):
        pass
    return False


def members(directories: list[str]) -> set[int]:
    found: set[int] = set()
    for directory in directories:
        for parent, _, _ in os.walk(directory):
            try:
                with open(f"{parent}/cgroup.procs") as file:
                    found.update(int(line) for line in file)
            except OSError:
                continue
    return found


def kill_all(directories: list[str]) -> bool:
    """SIGKILL to every process of the cgroups until none is left; False when some cannot die."""
    deadline = time.monotonic() + BUSY_SECONDS
    while left := members(directories):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def remove_cgroups(directories: list[str]) -> None:
    """The kernel answers EBUSY for a moment after the last process died; nested ones go first."""
    deadline = time.monotonic() + BUSY_SECONDS
    left = []
    for directory in directories:
        left += [parent for parent, _, _ in os.walk(directory, topdown=False)]
    while left:
        still = []
        for directory in left:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                still.append(directory)
        left = still
        if not left or time.monotonic() > deadline:
            return
        time.sleep(0.002)


def clean(spec: dict[str, Any]) -> None:
    """What ``runc delete`` would do for a container that is dead."""
    remove_cgroups(spec["cgroups"])
    shutil.rmtree(os.path.join(spec["runtime_root"], spec["id"]), ignore_errors=True)
    for path in (spec["socket"], spec["console"]):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def record(spec: dict[str, Any], status: int | None, started_at: float, message: str = "") -> dict[str, Any]:
    """``status`` as waitpid gave it; None when it was lost with the shim."""
    code, number = 137, 9
    if status is not None:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
    reason = "Completed" if code == 0 else "Error"
    if code != 0 and oom_killed(spec):
        reason = "OOMKilled"
    return {
        "exit_code": code,
        "signal": number,
        "reason": reason,
        "message": message,
        "started_at": started_at,
        "finished_at": time.time(),
    }


def bury(spec: dict[str, Any], message: str, started_at: float) -> dict[str, Any]:
    """Ends what a killed shim left: the container's processes, cgroups and record. Raises OSError when some live on."""
    if not kill_all(spec["cgroups"]):
        raise OSError(16, f"processes of {spec['id']} cannot be killed: {sorted(members(spec['cgroups']))}")
    end = record(spec, None, started_at, message)
    clean(spec)
    write_durably(os.path.join(spec["directory"], "exit.json"), end)
    return end
