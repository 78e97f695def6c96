"""The shim's life: start the container, serve its stdio, record its end.

One thread, one poll. The node follows over the unix socket; attached clients get copies of the output and may
feed stdin. A slow client pauses the instance's output for a few seconds at most, then it is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
from typing import Any

from holdfast.node.shim import finish, frames, kernel, start
from holdfast.node.shim.logfile import LogFile

CHUNK = 64 << 10
QUEUE = 1 << 20
STALL_SECONDS = 10.0
DRAIN_SECONDS = 1.0
BACKLOG = 64 << 10


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.queue = bytearray()
        self.attached = False
        self.fed = False
        self.moved = time.monotonic()


class Shim:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.log: LogFile | None = None
        self.clients: dict[int, Client] = {}
        self.stdin_queue = bytearray()
        self.stdin_closing = False
        self.pid = 0
        self.status: int | None = None
        self.started_at = 0.0
        # Output nobody was attached for yet; an interactive instance (kubectl run -it) loses none of it.
        self.backlog: bytearray | None = bytearray() if spec["stdin"] else None

    # --- start

    def start(self, reply: socket.socket) -> bool:
        """Starts the container and tells the node; False when it was refused."""
        self.wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            self.fences = start.hold_fences(self.spec["fence_files"], self.spec["pod_uid"], self.spec["fences"])
            self.server = start.listen(self.spec["socket"])
            self.server.setblocking(False)
            self.pid, self.stdio = start.begin(self.spec)
        except (start.Refused, OSError) as error:
            refused = error if isinstance(error, start.Refused) else start.Refused("CreateContainerError", str(error))
            finish.kill_all(self.spec["cgroups"])
            finish.clean(self.spec)
            _send(reply, {"reason": refused.reason, "message": refused.message})
            return False
        self.started_at = time.time()
        state = {"pid": self.pid, "started_at": self.started_at, "boot_id": self.spec["boot_id"], "shim": os.getpid()}
        finish.write_durably(os.path.join(self.spec["directory"], "state.json"), state)
        _send(reply, state)
        return True

    # --- serve

    def serve(self) -> None:
        if self.spec["log_path"]:
            self.log = LogFile(self.spec["log_path"])
        stdio = self.stdio
        outputs = {stdio.pty: "stdout"} if stdio.pty >= 0 else {stdio.stdout: "stdout", stdio.stderr: "stderr"}
        self.outputs = outputs
        self.input = stdio.pty if stdio.pty >= 0 else stdio.stdin
        for fd in {*outputs, self.input} - {-1}:
            os.set_blocking(fd, False)
        drained_by = 0.0
        while True:
            self._reap()
            if self.status is not None:
                drained_by = drained_by or time.monotonic() + DRAIN_SECONDS
                if not self.outputs or time.monotonic() > drained_by:
                    return
            self._turn(0.05 if self.status is not None or self._stalled() or (self.log is not None and self.log.unfinished) else None)

    def _turn(self, timeout: float | None) -> None:
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        poll.register(self.server, select.POLLIN)
        masks: dict[int, int] = {}
        if not self._stalled():
            masks = dict.fromkeys(self.outputs, select.POLLIN)
        if self.stdin_queue and self.input >= 0:
            masks[self.input] = masks.get(self.input, 0) | select.POLLOUT
        for fd, client in self.clients.items():
            masks[fd] = select.POLLOUT if client.queue else 0
            if len(self.stdin_queue) < QUEUE:
                masks[fd] |= select.POLLIN
        for fd, mask in masks.items():
            poll.register(fd, mask)
        ready = poll.poll(None if timeout is None else timeout * 1000)
        if not ready and self.log is not None:
            self.log.flush()  # a prompt without newline is in the log once the instance pauses
        for fd, events in ready:
            if fd == self.wake:
                os.read(fd, 512)
            elif fd == self.server.fileno():
                self._accept()
            elif fd in self.clients:
                self._serve_client(self.clients[fd], events)
            else:
                if fd == self.input and events & (select.POLLOUT | select.POLLERR):
                    self._feed()
                if events & ~select.POLLOUT and fd in self.outputs and not self._stalled():
                    self._output(fd)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status

    def _accept(self) -> None:
        try:
            sock, _ = self.server.accept()
        except OSError:
            return
        sock.setblocking(False)
        self.clients[sock.fileno()] = Client(sock)

    # --- output

    def _output(self, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        stream = self.outputs[fd]
        if not data:
            del self.outputs[fd]
            if fd != self.stdio.pty:
                os.close(fd)
            return
        if self.log is not None:
            self.log.write(stream, data)
        frame = frames.pack(frames.STDOUT if stream == "stdout" else frames.STDERR, data)
        if self.backlog is not None and len(self.backlog) < BACKLOG:
            self.backlog += frame
        for client in list(self.clients.values()):
            if client.attached:
                self._queue(client, frame)

    def _stalled(self) -> bool:
        """Whether an attached client is too far behind; one that makes no progress at all is let go."""
        stalled = False
        for client in list(self.clients.values()):
            if len(client.queue) > QUEUE:
                if time.monotonic() - client.moved > STALL_SECONDS:
                    self._drop(client)
                else:
                    stalled = True
        return stalled

    def _queue(self, client: Client, data: bytes) -> None:
        if not client.queue:
            client.moved = time.monotonic()
        client.queue += data
        self._flush(client)

    def _flush(self, client: Client) -> None:
        try:
            sent = client.sock.send(client.queue)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if sent:
            client.moved = time.monotonic()
            del client.queue[:sent]

    def _drop(self, client: Client) -> None:
        self.clients.pop(client.sock.fileno(), None)
        client.sock.close()
        if client.fed and self.spec["stdin_once"]:
            self.stdin_closing = True
            self._feed()

    # --- input

    def _serve_client(self, client: Client, events: int) -> None:
        if events & select.POLLOUT:
            self._flush(client)
        if not events & ~select.POLLOUT or client.sock.fileno() < 0:
            return
        try:
            data = client.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        client.received += data
        try:
            for kind, payload in frames.take(client.received):
                self._frame(client, kind, payload)
        except (frames.Broken, ValueError, KeyError, struct.error):
            self._drop(client)

    def _frame(self, client: Client, kind: int, payload: bytes) -> None:
        if kind == frames.REQUEST:
            self._request(client, json.loads(payload))
        elif kind == frames.STDIN and self.input >= 0 and not self.stdin_closing:
            client.fed = True
            self.stdin_queue += payload
            self._feed()
        elif kind == frames.RESIZE and self.stdio.pty >= 0:
            size = json.loads(payload)
            window = struct.pack("HHHH", size["height"] & 0xFFFF, size["width"] & 0xFFFF, 0, 0)
            fcntl.ioctl(self.stdio.pty, termios.TIOCSWINSZ, window)
        elif kind == frames.CLOSE_STDIN and self.spec["stdin_once"]:
            self.stdin_closing = True
            self._feed()

    def _request(self, client: Client, request: dict[str, Any]) -> None:
        if request["do"] == "kill":
            if self.status is None:
                try:
                    os.kill(self.pid, int(request["signal"]))
                except ProcessLookupError:
                    pass
        elif request["do"] == "attach":
            client.attached = True
        self._queue(client, frames.pack(frames.STATE, json.dumps({"pid": self.pid, "started_at": self.started_at}).encode()))
        if client.attached and self.backlog is not None:
            self._queue(client, bytes(self.backlog))
            self.backlog = None

    def _feed(self) -> None:
        while self.stdin_queue and self.input >= 0:
            try:
                sent = os.write(self.input, self.stdin_queue[:CHUNK])
            except BlockingIOError:
                return
            except OSError:
                self.stdin_queue.clear()
                return
            del self.stdin_queue[:sent]
        if self.stdin_closing and self.input >= 0 and self.stdio.pty < 0:
            os.close(self.input)
            self.input = -1

    # --- the end

    def end(self) -> None:
        if self.log is not None:
            self.log.close()
        end = finish.record(self.spec, self.status, self.started_at)
        self.server.close()
        finish.clean(self.spec)
        finish.write_durably(os.path.join(self.spec["directory"], "exit.json"), end)
        frame = frames.pack(frames.EXIT, json.dumps(end).encode())
        for client in list(self.clients.values()):
            self._queue(client, frame)
        deadline = time.monotonic() + STALL_SECONDS
        while (waiting := {fd: c for fd, c in self.clients.items() if c.queue}) and time.monotonic() < deadline:
            poll = select.poll()
            for fd in waiting:
                poll.register(fd, select.POLLOUT)
            for fd, _ in poll.poll(1000):
                self._flush(waiting[fd])


def _send(reply: socket.socket, value: dict[str, Any]) -> None:
    try:
        reply.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        pass  # the node is gone; the next one finds state.json
    reply.close()


def main(spec: dict[str, Any], reply: socket.socket) -> None:
    """In a fresh child of the spawner."""
    kernel.set_name("holdfast-shim")
    kernel.subreaper()
    shim = Shim(spec)
    if not shim.start(reply):
        return
    try:
        shim.serve()
    except BaseException as error:
        # The container must not outlive the one that keeps its fences and its exit.
        print(f"shim of {spec['id']}: {error!r}", file=sys.stderr, flush=True)
        finish.bury(spec, f"the shim failed: {error!r}", shim.started_at)
        raise
    shim.end()
