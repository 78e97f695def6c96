"""The node's side of the spawner: starts it, hands requests over, starts it again when it is gone.

The control socket is one end of a pair: nobody else can connect, and the spawner ends with the node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from holdfast.node.runtimes.oci import wire

log = logging.getLogger("holdfast.node.runtime")

_START = """
import sys
sys.path.insert(0, sys.argv[1])
from holdfast.node.spawner.main import main
main(int(sys.argv[2]), sys.argv[3:])
"""


class Spawner:
    def __init__(self, log_file: Path, cgroups: Sequence[str]) -> None:
        self._log_file = log_file
        self._cgroups = list(cgroups)
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        self.stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).resolve().parents[4])
        command = [sys.executable, "-I", "-S", "-c", _START, root, str(theirs.fileno()), *self._cgroups]
        with theirs, self._log_file.open("ab") as errors:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, cwd="/"
            )
        self._control = ours

    def stop(self) -> None:
        """The spawner ends; its children stay."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def send(self, fds: Sequence[int] = ()) -> socket.socket:
        """Hands a request over; the answer comes on the returned socket. The caller keeps its own ``fds``."""
        ours, theirs = socket.socketpair()
        with theirs:
            for again in (True, False):
                if not self.pid:
                    log.info("starting the spawner")
                    self.start()
                assert self._control is not None
                try:
                    socket.send_fds(self._control, [b"r"], [theirs.fileno(), *fds])
                    break
                except OSError as error:
                    log.warning("the spawner is gone (%s)", error)
                    self.stop()
                    if not again:
                        ours.close()
                        raise
        ours.setblocking(False)
        return ours

    async def call(self, request: dict[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """The one answer to a request; {} when its child died."""
        sock, answer, received = await self.open(request, fds)
        sock.close()
        for fd in received:
            os.close(fd)
        return answer

    async def open(self, request: dict[str, Any], fds: Sequence[int] = ()) -> tuple[socket.socket, dict[str, Any], list[int]]:
        """The connection, the first answer on it and the descriptors that came along."""
        body = orjson.dumps(request)
        sock = self.send(fds)
        try:
            await asyncio.get_running_loop().sock_sendall(sock, len(body).to_bytes(4, "big") + body)
            line, received = await wire.receive_line(sock)
        except ConnectionError:
            line, received = b"", []
        except BaseException:
            sock.close()
            raise
        answer: dict[str, Any] = orjson.loads(line) if line else {}
        return sock, answer, received
