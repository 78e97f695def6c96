"""Begins a container: fences, stdio, overlay root and one call of ``runc run --detach``.

The overlay is mounted in a mount namespace that only runc and the container live in, so nothing is left to
unmount when they end, however they end. The shim is the subreaper, hence the container's parent.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from holdfast.node.shim import kernel

RUNC_SECONDS = 60


class Refused(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Stdio:
    """The shim's ends of the instance's standard streams; -1 where there is none. With a tty all three are the pty."""

    def __init__(self) -> None:
        self.stdin = self.stdout = self.stderr = self.pty = -1


def hold_fences(files: list[str], pod_uid: str, directory: str) -> list[int]:
    """Locks each file for this pod; other containers of the same pod may hold it too, other pods not.

    Exclusive first: nobody holds it, so our pod's uid is put beside it; then shared for life. The change
    from one to the other is not atomic, so the uid is read again once the shared lock is held.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    held = []
    for name in files:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held.append(fd)
        holder = os.path.join(directory, hashlib.sha1(os.path.realpath(name).encode()).hexdigest())
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            with open(holder, "w") as file:
                file.write(pod_uid)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with open(holder) as file:
                owner = file.read()
        except (BlockingIOError, FileNotFoundError):
            owner = ""
        if owner != pod_uid:
            by = f"pod {owner}" if owner else "another instance"
            raise Refused("CreateContainerError", f"the volume fence {name} is held by {by}, which still runs")
    return held


def begin(spec: dict[str, Any]) -> tuple[int, Stdio]:
    """Starts the container; its first process's id. Raises Refused."""
    directory = spec["directory"]
    stdio, theirs = Stdio(), []
    console: socket.socket | None = None
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    arguments = [spec["runtime"], "--root", spec["runtime_root"], "--log", f"{directory}/runtime.log", "--log-format", "json"]
    arguments += ["run", "--detach", "--bundle", directory, "--pid-file", f"{directory}/pid"]
    try:
        if spec["tty"]:
            console = listen(spec["console"])
            arguments += ["--console-socket", spec["console"]]
            theirs = [null, null, null]
        else:
            theirs = [null, -1, -1]
            if spec["stdin"]:
                theirs[0], stdio.stdin = os.pipe2(os.O_CLOEXEC)
            stdio.stdout, theirs[1] = os.pipe2(os.O_CLOEXEC)
            stdio.stderr, theirs[2] = os.pipe2(os.O_CLOEXEC)
        arguments.append(spec["id"])
        status = run(arguments, theirs, lambda: enter_root(spec), console, stdio)
        if status != 0:
            raise Refused("RunContainerError", failure(f"{directory}/runtime.log", f"{spec['runtime']} ended with {status}"))
        with open(f"{directory}/pid") as file:
            return int(file.read()), stdio
    finally:
        for fd in {*theirs, null} - {-1}:
            os.close(fd)
        if console is not None:
            console.close()
            os.unlink(spec["console"])


def enter_root(spec: dict[str, Any]) -> None:
    """In the child that becomes runc: its own mounts, the overlay among them."""
    directory = spec["directory"]
    kernel.unshare_mounts()
    kernel.mount_overlay(spec["layers"], f"{directory}/upper", f"{directory}/work", f"{directory}/rootfs")


def listen(path: str) -> socket.socket:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    os.chmod(path, 0o600)
    server.listen(16)
    return server


def run(arguments: list[str], stdio: list[int], before: Callable[[], None] | None, console: socket.socket | None, ends: Stdio) -> int:
    """Runs the runtime to its end and gives its exit status; takes the pty it sends meanwhile."""
    pid = os.fork()
    if pid == 0:
        _become(arguments, stdio, before)
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if console is not None:
        poll.register(console, select.POLLIN)
    deadline = time.monotonic() + RUNC_SECONDS
    try:
        while True:
            ready = dict(poll.poll(max(0, deadline - time.monotonic()) * 1000))
            if not ready:
                os.kill(pid, signal.SIGKILL)
            if console is not None and console.fileno() in ready:
                peer, _ = console.accept()
                with peer:
                    _, fds, _, _ = socket.recv_fds(peer, 256, 1)
                ends.pty = fds[0]
                poll.unregister(console)
                console = None
            if not ready or pidfd in ready:
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)


def _become(arguments: list[str], stdio: list[int], before: Callable[[], None] | None) -> None:
    """In the child: never returns."""
    try:
        kernel.die_with_parent()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if before is not None:
            before()
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        os.execv(arguments[0], arguments)
    except BaseException as error:
        try:
            log = arguments[arguments.index("--log") + 1]
            with open(log, "a") as file:
                file.write(json.dumps({"level": "error", "msg": str(error)}) + "\n")
        finally:
            os._exit(125)
    os._exit(125)


def failure(log: str, otherwise: str) -> str:
    """The last error that the runtime logged."""
    found = otherwise
    try:
        with open(log, errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and entry.get("level", "error") in ("error", "fatal"):
                    found = str(entry.get("msg", otherwise))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return found
