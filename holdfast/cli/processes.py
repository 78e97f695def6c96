"""The two processes, server and node: starting, finding and ending them.

Each role writes its pid file (``system.pidfile``). Both processes are session leaders of their own and
survive this command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from holdfast.cli.errors import UserError
from holdfast.system.pidfile import read_pid

ROLES = ("server", "node")


def find(data: Path, role: str, *, serves: bool = False) -> int:
    """The pid of a running (or serving) role on this data directory; 0 when it does not run (or does not serve yet)."""
    return read_pid(data / "run" / f"{role}.pid", serves=serves)


def spawn(data: Path, role: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Starts a role in a session of its own, logging to DATA/log/<role>.log."""
    logs = data / "log"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{role}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "holdfast.cli.main", role, "--data", str(data), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )


def last_words(data: Path, role: str) -> str:
    """The end of a role's log: why it stopped."""
    try:
        lines = (data / "log" / f"{role}.log").read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def end(data: Path, role: str, seconds: float) -> None:
    """TERM, then waits until it is gone; KILL after ``seconds``. Raises UserError if even that leaves it."""
    pid = find(data, role)
    if not pid:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _wait(handle, seconds):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not _wait(handle, 10):
                raise UserError(f"the {role} (pid {pid}) does not end; see {data}/log/{role}.log")
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _wait(handle: int, seconds: float) -> bool:
    import select

    poller = select.poll()
    poller.register(handle, select.POLLIN)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if poller.poll(left * 1000):
            return True
    return False
