"""The spawner: forks a child for each request and does nothing else, so that it stays small and cannot hang.

A request is a datagram on the control socket that carries file descriptors: first a connection on which the
child reads what to do and answers. The control socket's end is the node's end; children live on.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

from holdfast.node.shim import execute, finish, kernel, loop

MAX_REQUEST = 8 << 20


def main(control_fd: int, cgroups: list[str]) -> None:
    control = socket.socket(fileno=control_fd)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    kernel.set_name("holdfast-spawn")
    for directory in cgroups:
        try:
            os.makedirs(directory, exist_ok=True)
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write("0")
        except OSError as error:
            print(f"spawner: {directory}: {error}", file=sys.stderr, flush=True)
    # What is frozen is never touched by the collector, so that children share these pages for life.
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(control, 16, 16)
        if not data:
            return
        if fds and os.fork() == 0:
            control.close()
            _child(fds)
        for fd in fds:
            os.close(fd)


def _child(fds: list[int]) -> None:
    """Never returns."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in fds:
            os.set_inheritable(fd, False)
        conn = socket.socket(fileno=fds[0])
        _serve(_receive(conn), conn, fds[1:])
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _serve(request: dict[str, Any], conn: socket.socket, fds: list[int]) -> None:
    if request["do"] == "run":
        loop.main(request, conn)
    elif request["do"] == "exec":
        execute.main(request, conn, fds)
    elif request["do"] == "bury":
        try:
            answer = finish.bury(request["spec"], request["message"], request["started_at"])
        except OSError as error:
            answer = {"reason": "KillContainerError", "message": str(error)}
        conn.sendall(json.dumps(answer).encode() + b"\n")


def _receive(conn: socket.socket) -> dict[str, Any]:
    size = int.from_bytes(_exactly(conn, 4), "big")
    if size > MAX_REQUEST:
        raise ValueError(f"a request of {size} bytes")
    request: dict[str, Any] = json.loads(_exactly(conn, size))
    return request


def _exactly(conn: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = conn.recv(min(size - len(data), 1 << 16))
        if not more:
            raise EOFError("the node closed its request")
        data += more
    return bytes(data)
