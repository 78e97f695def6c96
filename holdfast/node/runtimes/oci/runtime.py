"""The OCI runtime: instances by runc or crun, each under a shim, found again after a restart.

The shim is the truth: its lock says that it lives, ``state.json`` what runs, ``exit.json`` how it ended. This class
keeps a copy of that in memory and follows each shim over its socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal as signals
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from holdfast.lib import programs
from holdfast.node.runtimes.api import InstanceConfig, InstanceState, RuntimeFailure, Streams
from holdfast.node.runtimes.oci import cgroups, follow, spec
from holdfast.node.runtimes.oci.follow import AttachSession, Connection
from holdfast.node.runtimes.oci.record import Places, Record
from holdfast.node.runtimes.oci.session import ExecSession
from holdfast.node.runtimes.oci.spawner import Spawner
from holdfast.node.shim import finish, frames

log = logging.getLogger("holdfast.node.runtime")

LOST = "the shim was killed; its container was ended"
ADOPT_SECONDS = 15.0


def find_binary() -> str:
    """The path of runc or crun. Raises RuntimeError."""
    for name in ("runc", "crun"):
        if found := programs.find(name):
            return found
    raise RuntimeError("containers need runc or crun, and neither is installed: apt-get install runc")


class OciRuntime:
    """``data``: DATA/node; ``run``: the system's run directory; ``id``: its short id."""

    name = "oci"

    def __init__(self, data: Path, run: Path, id: str) -> None:
        self.version = ""
        self._arguments = (data, run, id)
        self._places: Places
        self._spawner: Spawner
        self._records: dict[str, Record] = {}
        self._states: dict[str, InstanceState] = {}
        self._starting: dict[str, str] = {}
        self._callbacks: list[Callable[[InstanceState], None]] = []
        self._ended: dict[str, asyncio.Event] = {}
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._supervisor: asyncio.Task[None] | None = None

    # --- life

    async def start(self) -> None:
        data, run, id = self._arguments
        binary = find_binary()
        done = await asyncio.to_thread(subprocess.run, [binary, "--version"], capture_output=True, text=True, check=True)
        self.version = " ".join(done.stdout.splitlines()[0].split())
        self._places = Places(data.resolve(), run, id, binary, cgroups.detect(), follow.boot_id())
        self._places.instances.mkdir(parents=True, exist_ok=True)
        for name in ("runc", "s", "c", "x", "fences"):
            (run / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        shims = [mount + f"{self._places.group}/shims" for mount in self._places.cgroups.movable]
        self._spawner = Spawner(self._places.data / "spawner.log", shims)
        self._spawner.start()
        running = asyncio.Event()
        self._supervisor = asyncio.create_task(self._supervise(running), name="oci runtime")
        await running.wait()
        found = sorted(path for path in self._places.instances.iterdir() if path.is_dir())
        await asyncio.gather(*(self._adopt(path) for path in found))

    async def _supervise(self, running: asyncio.Event) -> None:
        """Owns the tasks that follow shims."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            running.set()
            await self._stop.wait()

    async def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
            self._supervisor = None
        self._group = None

    async def shutdown(self) -> None:
        """After ``close`` or instead of it: ends the spawner and takes away what no running instance needs."""
        await self.close()
        self._spawner.stop()
        if any(state.phase == "running" for state in self._states.values()):
            return
        await asyncio.to_thread(finish.remove_cgroups, self._places.cgroups.directories(self._places.group))
        for name in ("runc", "s", "c", "x", "fences"):
            shutil.rmtree(self._places.run / name, ignore_errors=True)

    @property
    def spawner_pid(self) -> int:
        return self._spawner.pid

    def statistics(self) -> dict[str, int]:
        running = sum(state.phase == "running" for state in self._states.values())
        return {"instances": len(self._states), "running": running, "starting": len(self._starting)}

    # --- finding and following

    async def _adopt(self, directory: Path) -> None:
        record = self._places.load(directory)
        if record is None:
            shutil.rmtree(directory, ignore_errors=True)
            return
        if end := record.read("exit.json"):
            self._keep(record, record.exited(end))
            return
        deadline = asyncio.get_running_loop().time() + ADOPT_SECONDS
        while record.has_shim() and asyncio.get_running_loop().time() < deadline:
            try:
                connection, state = await Connection.open(record.socket, {"do": "follow"})
            except OSError:
                # It is starting or ending: both take milliseconds and nothing tells when.
                await asyncio.sleep(0.02)
                continue
            self._keep(record, record.running(state))
            self._follow(record, connection)
            return
        end = record.read("exit.json") or await self._bury(record)
        self._keep(record, record.exited(end))

    def _keep(self, record: Record, state: InstanceState) -> None:
        self._records[record.id] = record
        self._states[record.id] = state
        ended = self._ended.setdefault(record.id, asyncio.Event())
        if state.phase == "exited":
            ended.set()

    def _follow(self, record: Record, connection: Connection | None) -> None:
        assert self._group is not None, "the runtime is not started"
        self._group.create_task(self._until_exit(record, connection), name=f"follow {record.id}")

    async def _until_exit(self, record: Record, connection: Connection | None) -> None:
        try:
            if connection is None:
                connection, _ = await Connection.open(record.socket, {"do": "follow"})
            while (await connection.receive())[0] != frames.EXIT:
                pass
        except OSError as error:
            log.debug("%s: %s", record.id, error)
        finally:
            if connection is not None:
                connection.close()
        while not (end := record.read("exit.json")):
            await self._shim_gone(record)
            try:
                end = record.read("exit.json") or await self._bury(record)
                break
            except RuntimeFailure as failure:
                # A process in the kernel's hands cannot be killed; its fences must not be given away.
                log.error("%s: %s", record.id, failure)
                await asyncio.sleep(1)
        state = record.exited(end)
        self._keep(record, state)
        for callback in self._callbacks:
            callback(state)

    async def _shim_gone(self, record: Record) -> None:
        """Waits for the shim's lock: the kernel frees it when the shim ends, and tells nobody."""
        while record.has_shim():  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    async def _bury(self, record: Record) -> dict[str, Any]:
        """Ends what is left of an instance without shim, and writes how. Raises RuntimeFailure."""
        state = record.read("state.json")
        message = LOST
        if state is not None and state["boot_id"] != self._places.boot_id:
            message = "the machine was restarted"
        elif state is None:
            message = "the start was interrupted"
        started_at = state["started_at"] if state else 0.0
        request = {"do": "bury", "spec": record.shim, "message": message, "started_at": started_at}
        answer = await self._spawner.call(request)
        if "exit_code" not in answer:
            raise RuntimeFailure(answer.get("reason", "KillContainerError"), answer.get("message", "the spawner died"))
        return answer

    # --- the Runtime interface

    def instances(self) -> Mapping[str, InstanceState]:
        return MappingProxyType(self._states)

    def of_pod(self, uid: str) -> Mapping[str, InstanceState]:
        return {id: state for id, state in self._states.items() if state.pod_uid == uid}

    def on_exit(self, callback: Callable[[InstanceState], None]) -> None:
        self._callbacks.append(callback)

    async def run(self, config: InstanceConfig) -> InstanceState:
        if config.id in self._records or config.id in self._starting:
            raise RuntimeFailure("CreateContainerError", f"an instance {config.id} exists already")
        self._starting[config.id] = config.pod_uid
        try:
            record = self._places.create(config)
            return await asyncio.shield(self._run(record))
        finally:
            self._starting.pop(config.id, None)

    async def _run(self, record: Record) -> InstanceState:
        lock = record.lock()
        try:
            answer = await self._spawner.call({"do": "run", **record.shim}, [lock])
        finally:
            os.close(lock)
        if "pid" not in answer:
            await self._shim_gone(record)
            await self._bury(record)
            await asyncio.to_thread(shutil.rmtree, record.directory, True)
            self._remove_pod_group(record.config.pod_uid, besides=record.id)
            raise RuntimeFailure(answer.get("reason", "RunContainerError"), answer.get("message", "the shim died at the start"))
        state = record.running(answer)
        self._keep(record, state)
        self._follow(record, None)
        return state

    async def kill(self, id: str, signal: str) -> None:
        record = self._records.get(id)
        if record is None or self._states[id].phase != "running":
            return
        try:
            connection, _ = await Connection.open(record.socket, {"do": "kill", "signal": _signal_number(signal)})
            connection.close()
        except OSError as error:
            log.info("kill %s: %s", id, error)  # it is ending; its follower will tell

    async def remove(self, id: str) -> None:
        record = self._records.get(id)
        if record is None:
            return
        if self._states[id].phase == "running":
            raise RuntimeFailure("RemoveContainerError", f"{id} still runs")
        await self._shim_gone(record)
        await asyncio.to_thread(shutil.rmtree, record.directory, True)
        self._records.pop(id, None)
        self._states.pop(id, None)
        self._ended.pop(id, None)
        self._remove_pod_group(record.config.pod_uid)

    def _remove_pod_group(self, pod_uid: str, besides: str = "") -> None:
        """Not while another container of the pod is there or starting: runc makes the same directories."""
        in_use = {record.config.pod_uid for record in self._records.values()}
        in_use |= {pod for id, pod in self._starting.items() if id != besides}
        if pod_uid not in in_use:
            for directory in self._places.cgroups.directories(self._places.pod_group(pod_uid)):
                try:
                    os.rmdir(directory)
                except OSError:
                    continue

    async def exec(self, id: str, command: list[str], *, tty: bool = False, stdin: bool = False) -> Streams:
        record = self._running(id)
        request = {
            "do": "exec",
            "id": id,
            "runtime": self._places.runtime,
            "runtime_root": record.shim["runtime_root"],
            "scratch": str(self._places.run / "x"),
            "process": spec.process(record.config, command, tty),
        }
        if tty:
            sock, answer, fds = await self._spawner.open(request)
            if "pid" in answer and fds:
                return ExecSession(sock, fds[0], fds[0], -1, tty=True)
        else:
            pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
            theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
            ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
            try:
                if not stdin:
                    os.close(ours[0])
                    ours[0] = -1
                sock, answer, fds = await self._spawner.open(request, theirs)
            except BaseException:
                _close_all(ours)
                raise
            finally:
                _close_all(theirs)
            if "pid" in answer:
                return ExecSession(sock, *ours, tty=False)
            _close_all(ours)
        sock.close()
        _close_all(fds)
        raise RuntimeFailure(answer.get("reason", "ExecFailed"), answer.get("message", "the spawner died"))

    async def attach(self, id: str) -> Streams:
        record = self._running(id)
        try:
            connection, _ = await Connection.open(record.socket, {"do": "attach"})
        except OSError as error:
            raise RuntimeFailure("AttachFailed", f"container {record.config.container} is not running") from error
        return AttachSession(connection)

    def _running(self, id: str) -> Record:
        record = self._records.get(id)
        if record is None or self._states[id].phase != "running":
            raise RuntimeFailure("NotRunning", f"container {id} is not running")
        return record

    def config(self, id: str) -> InstanceConfig | None:
        """What an instance was started with; also after a restart of the node."""
        record = self._records.get(id)
        return record.config if record is not None else None

    async def wait(self, id: str) -> InstanceState | None:
        """Until the instance has exited; None when it is not known."""
        ended = self._ended.get(id)
        if ended is None:
            return None
        await ended.wait()
        return self._states.get(id)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _signal_number(name: str) -> int:
    """``SIGTERM``, ``TERM``, ``15``; real-time ones as ``SIGRTMIN+3``."""
    text = name.upper().removeprefix("SIG")
    if text.isdigit():
        return int(text)
    base, _, offset = text.partition("+")
    try:
        return int(signals.Signals[f"SIG{base}"]) + int(offset or 0)
    except (KeyError, ValueError):
        return int(signals.SIGTERM)
