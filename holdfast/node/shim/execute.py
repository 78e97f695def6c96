"""One exec: a child of the spawner runs ``runc exec --detach`` and stays as the process's parent for its exit code.

The node holds the other ends of the pipes itself (or gets the pty over the request's socket), so no byte is
copied here. The request's socket closing means that the session ended: the process is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import tempfile
from typing import Any

from holdfast.node.shim import kernel, start


def main(request: dict[str, Any], conn: socket.socket, fds: list[int]) -> None:
    """``fds`` are the process's stdin, stdout and stderr; none with a tty."""
    kernel.set_name("holdfast-exec")
    kernel.subreaper()
    with tempfile.TemporaryDirectory(prefix="x", dir=request["scratch"]) as scratch:
        pid = _begin(request, conn, fds, scratch)
    for fd in fds:
        os.close(fd)
    if pid:
        code = _wait(pid, conn)
        _answer(conn, {"exit_code": code})


def _begin(request: dict[str, Any], conn: socket.socket, fds: list[int], scratch: str) -> int:
    """The started process, or 0 after telling why not."""
    with open(f"{scratch}/process.json", "w") as file:
        json.dump(request["process"], file)
    arguments = [request["runtime"], "--root", request["runtime_root"], "--log", f"{scratch}/log", "--log-format", "json"]
    arguments += ["exec", "--detach", "--pid-file", f"{scratch}/pid", "--process", f"{scratch}/process.json"]
    console = None
    ends = start.Stdio()
    theirs = list(fds)
    if not fds:
        console = start.listen(f"{scratch}/c")
        arguments += ["--console-socket", f"{scratch}/c"]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        theirs = [null, null, null]
    arguments.append(request["id"])
    status = start.run(arguments, theirs, None, console, ends)
    if status != 0:
        reason = start.failure(f"{scratch}/log", f"{request['runtime']} ended with {status}")
        _answer(conn, {"reason": "ExecFailed", "message": reason})
        return 0
    with open(f"{scratch}/pid") as file:
        pid = int(file.read())
    body = json.dumps({"pid": pid}).encode() + b"\n"
    if ends.pty >= 0:
        socket.send_fds(conn, [body], [ends.pty])
        os.close(ends.pty)
    else:
        conn.sendall(body)
    return pid


def _wait(pid: int, conn: socket.socket) -> int:
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(conn, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == pidfd:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                return code if code >= 0 else 128 - code
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll.unregister(conn)


def _answer(conn: socket.socket, value: dict[str, Any]) -> None:
    try:
        conn.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        pass  # nobody waits any more
