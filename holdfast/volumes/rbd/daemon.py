"""The daemon that serves an image where the kernel has no rbd: QEMU's storage daemon shows it as a file over FUSE.

It is a session of its own, so that it outlives the node that started it; it is found again by pid and start time. It is
spoken to through its control socket (QMP). A directory has at most one: the daemon itself locks its pid file. Blocking.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.lib import privileged
from holdfast.lib.process import start_time
from holdfast.lib.programs import SYSTEM_PATH
from holdfast.volumes.api import VolumeError
from holdfast.volumes.filesystems import tool
from holdfast.volumes.rbd.cluster import Access, Papers, papers

IMAGE, SOCKET, PID, LOG = "image", "qmp", "pid", "log"
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 20.0

_children: list[subprocess.Popen[bytes]] = []
"""Those that this process started and that may still run."""


def _command(directory: Path, reached: Access, mine: Papers, read_only: bool) -> list[str]:
    node = {
        "driver": "rbd",
        "node-name": "image",
        "pool": reached.pool,
        "image": reached.image,
        "user": reached.user,
        "conf": mine.path(mine.conf),
        "discard": "unmap",
        "read-only": read_only,
    }
    shown = {
        "type": "fuse",
        "id": "file",
        "node-name": "image",
        "mountpoint": str(directory / IMAGE),
        "writable": not read_only,
        "growable": False,
        "allow-other": "off",
    }
    return [
        tool("qemu-storage-daemon", "qemu-system-common qemu-block-extra"),
        *("--pidfile", str(directory / PID)),
        *("--chardev", f"socket,id=control,path={SOCKET},server=on,wait=off", "--monitor", "chardev=control"),
        *("--blockdev", json.dumps(node), "--export", json.dumps(shown)),
    ]


def start(directory: Path, reached: Access, *, read_only: bool) -> tuple[int, Papers]:
    """Serves the image at ``directory/image``; the daemon's pid and its papers. Raises VolumeError with its own words."""
    end_stray(directory)
    (directory / IMAGE).touch(mode=0o600)
    (directory / SOCKET).unlink(missing_ok=True)
    with papers(reached) as mine, (directory / LOG).open("wb") as log:
        process = subprocess.Popen(
            _command(directory, reached, mine, read_only),
            cwd=directory,  # the socket's path is relative: absolute ones are limited to 107 bytes
            pass_fds=(mine.conf, mine.key),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C"},
        )
        try:
            _wait_until_served(directory, process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        _children.append(process)
        return process.pid, Papers(mine.conf, mine.key, str(process.pid))


def _wait_until_served(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """It answers only when the image is open and shown."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise VolumeError(_last_words(directory))
        with contextlib.suppress(OSError), _control(directory, 1.0):
            return
        time.sleep(0.01)
    raise VolumeError(f"qemu-storage-daemon did not open the image within {_START_SECONDS:.0f} s: does the cluster answer?")


def _last_words(directory: Path) -> str:
    text = (directory / LOG).read_text(errors="replace").strip()
    if "Unknown driver" in text or "does not accept value 'rbd'" in text:
        return "qemu-storage-daemon knows no rbd: apt-get install qemu-block-extra"
    if "fuse" in text and "/dev/fuse" in text:
        return f"{text.splitlines()[-1]}: is the kernel module fuse loaded?"
    return text.splitlines()[-1] if text else "qemu-storage-daemon ended without a word"


@contextlib.contextmanager
def _control(directory: Path, seconds: float) -> Iterator[Any]:
    """A conversation past the greeting. Raises OSError when nobody answers in time."""
    handle = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(seconds)
            line.connect(f"/proc/self/fd/{handle}/{SOCKET}")
            with line.makefile("rwb") as talk:
                if not talk.readline():
                    raise OSError(errno.ECONNRESET, "the daemon hung up")
                _say(talk, "qmp_capabilities")
                yield talk
    finally:
        os.close(handle)


def _say(talk: Any, command: str, **arguments: Any) -> Any:
    talk.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    talk.flush()
    while line := talk.readline():
        answer = json.loads(line)
        if "error" in answer:
            raise VolumeError(f"qemu-storage-daemon: {command}: {answer['error'].get('desc')}")
        if "return" in answer:
            return answer["return"]
    raise OSError(errno.ECONNRESET, "the daemon hung up")


def resize(directory: Path, size: int) -> None:
    """The file at ``directory/image`` becomes as large as the image, which has been made larger already. Raises VolumeError."""
    try:
        with _control(directory, _ANSWER_SECONDS) as talk:
            nodes = _say(talk, "query-named-block-nodes", flat=True)
            if size > nodes[0]["image"]["virtual-size"]:
                _say(talk, "block_resize", **{"node-name": "image", "size": size})
    except OSError as error:
        raise VolumeError(f"qemu-storage-daemon does not answer: {error}") from error


def runs(pid: int, started: int) -> bool:
    return bool(pid) and start_time(pid) == started


def reap() -> None:
    """Daemons that have ended leave the process table."""
    _children[:] = [child for child in _children if child.poll() is None]


def stop(directory: Path, pid: int, started: int) -> None:
    """Ends it, after what was written has reached the cluster. Idempotent. Raises VolumeError when it will not end."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if not runs(pid, started):
            return
        with contextlib.suppress(OSError, VolumeError), _control(directory, _ANSWER_SECONDS) as talk:
            _say(talk, "quit")
        if not _ended(handle, _STOP_SECONDS):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not _ended(handle, _STOP_SECONDS):
                raise VolumeError(f"qemu-storage-daemon {pid} does not end")
    finally:
        os.close(handle)
        reap()


def _ended(handle: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def end_stray(directory: Path) -> None:
    """One whose start was never recorded: its node was killed in between, and nothing uses it. Raises VolumeError, OSError."""
    try:
        pid = int((directory / PID).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        pid, words = 0, []
    if os.fsencode(directory / PID) in words:
        stop(directory, pid, start_time(pid))
    clear(directory)


def clear(directory: Path) -> None:
    """What a daemon that has ended leaves. Raises OSError (EBUSY) while a loop device still stands on its file."""
    privileged.unmount(directory / IMAGE)
