"""One pod's worker: observes, asks ``decide``, carries out the intents as tasks of its own group, reports the status.

It sleeps until something happens: the pod changed, an instance exited, a task ended, a probe changed its
mind, a time has come. Each intent runs at most once at a time; nothing here blocks another pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
from collections.abc import Coroutine
from typing import Any

import orjson

from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import PODS
from holdfast.lib import privileged
from holdfast.machinery.errors import ApiError, UnknownOutcomeError
from holdfast.node.api import NotReady, PodNetwork, VolumesLost
from holdfast.node.pods import model
from holdfast.node.pods.config import log_path
from holdfast.node.pods.decide import decide
from holdfast.node.pods.files import termination_file, termination_message
from holdfast.node.pods.killing import Killer
from holdfast.node.pods.model import Failure, KillOrder, View
from holdfast.node.pods.probing import Probing
from holdfast.node.pods.services import PodServices
from holdfast.node.pods.starting import Starter
from holdfast.node.pods.state import PodState
from holdfast.node.pods.status import differs
from holdfast.node.runtimes.api import InstanceState

log = logging.getLogger("holdfast.node.pods")

RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 0.5
"""A step of the start or the end that takes less is not worth a report: the next one says more."""
LOST_GRACE = 2
"""Seconds for a container whose volume no longer works: there is nothing left that it could save."""
_SETUP = (model.Confirm, model.PrepareVolumes, model.AddNetwork, model.StartContainer)
_SETUP_KEYS = tuple(f"{kind.__name__}:" for kind in _SETUP)


class PodWorker(PodState):
    def __init__(self, services: PodServices, pod: Obj) -> None:
        super().__init__(services, pod)
        self.missing = False
        self.dead = asyncio.Event()
        """Set while stopping once no instance runs and the API has been told."""
        self.forgotten = False
        self.setup_failure: Failure | None = None
        self.volumes_ready = False
        self.confirmed = bool(self.instances())
        self.released = False
        self._setup_failures = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._messages: dict[str, str] = {}
        self._announced: set[tuple[str, int]] = set()
        self._wanted_status: Obj = {}
        self._refused_status: Obj | None = None
        self._asked: tuple[Obj, Obj, Obj | None, bool] = ({}, {}, None, False)
        """Whether which status of which form of the pod is reported, as ``_is_reported`` said last."""
        self._waiting_since: dict[str, float] = {}
        self._killer = Killer(self)
        self._starter = Starter(self)
        self._probing = Probing(self)
        self._is_kept = False
        with contextlib.suppress(OSError):  # a full disk: nothing starts before it is kept
            self._remember()

    def _remember(self) -> None:
        """The pod on disk: an instance whose pod the API no longer has is ended by what it was. Raises OSError."""
        if self._is_kept:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.directory / "pod.tmp"
        temporary.write_bytes(orjson.dumps(self.pod))
        os.replace(temporary, self.directory / "pod.json")
        self._is_kept = True

    def update(self, pod: Obj) -> None:
        """A newer form of this uid."""
        if _version(pod) >= _version(self.pod):
            self.pod = pod
        self.missing = False
        self.wake()

    def exited(self, state: InstanceState) -> None:
        container = model.find_container(self.pod, state.container)
        init = container in model.init_containers(self.pod)
        if container is not None and model.restarts(self.pod, container, state.exit_code, init=init):
            self.backoff.exited(state.container, state.finished_at - state.started_at, self.services.clock.monotonic())
        self._killer.exited(state.id)
        self.wake()

    def stop(self) -> None:
        """The node goes down: instances end, the pod stays."""
        self.stopping = True
        self.wake()

    def lost(self, why: str) -> None:
        """A volume of the pod has stopped to work: whatever runs still has the old mount, and no use of it."""
        self.volumes_ready = False
        for id, state in self.instances().items():
            if state.phase == "running":
                self.kill_orders[id] = KillOrder(f"Container {state.container} has lost a volume: {why}", LOST_GRACE)
        self.wake()

    def hooked(self, id: str) -> None:
        self._probing.hooked(id)

    def fail(self, error: BaseException) -> None:
        """A step before the containers failed: tried again, ever less often."""
        self._setup_failures += 1
        delay = min(10.0, RETRY_SECONDS * 2 ** min(self._setup_failures - 1, 5))
        if isinstance(error, NotReady):
            self.services.events.event(self.pod, "Warning", error.reason, error.message)
            reason, message = error.reason, error.message
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason, message = "OutOfDisk", f"the node's disk has no room ({error}); the pod starts when there is some"
            self.services.events.event(self.pod, "Warning", reason, message)
        else:
            reason, message = "NodeError", str(error)
            log.warning("pod %s: %s", model.full_name(self.pod), error)
        self.setup_failure = Failure(reason, message, self.services.clock.monotonic() + delay)

    async def run(self) -> None:
        """Until the pod is forgotten, or cancelled (instances keep running)."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            while not self.forgotten:
                self._wake.clear()
                wake_at = self._step()
                timeout = None if wake_at is None else max(0.0, wake_at - self.services.clock.monotonic()) + 0.001
                try:
                    async with asyncio.timeout(timeout):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            for task in list(self._tasks.values()):
                task.cancel()
            self._probing.cancel()

    def spawn(self, key: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Runs ``work`` unless the same is under way."""
        assert self._group is not None
        if key in self._tasks:
            work.close()
            return None
        task = self._group.create_task(self._guarded(key, work), name=f"pod {self.pod['metadata']['name']} {key}")
        self._tasks[key] = task
        return task

    async def _guarded(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (ApiError, UnknownOutcomeError, OSError, NotReady) as error:
            self.fail(error)
        except Exception as error:
            log.exception("pod %s: %s", model.full_name(self.pod), key)
            self.fail(error)
        finally:
            self._tasks.pop(key, None)
            self.wake()

    def _view(self) -> View:
        clock = self.services.clock
        instances = {}
        for id, state in self.instances().items():
            said = state.message or state.phase != "exited"
            instances[id] = state if said else dataclasses.replace(state, message=self._message(state))
        return View(
            pod=self.pod,
            now=clock.now(),
            moment=clock.monotonic(),
            instances=instances,
            network=self.network,
            volumes_ready=self.volumes_ready,
            confirmed=self.confirmed,
            gone=self.gone,
            stopping=self.stopping,
            busy=self._setting_up(),
            released=self.released,
            reported=self._is_reported(),
            setup_failure=self.setup_failure,
            failures=dict(self.failures),
            not_before=self.backoff.not_before(),
            delays=self.backoff.delays(),
            started=self._probing.started(),
            passing=self._probing.passing(),
            kill_orders=dict(self.kill_orders),
            image_ids=dict(self.image_ids),
            host_ip=self.services.host_ip,
        )

    def _message(self, state: InstanceState) -> str:
        if state.id not in self._messages:
            container = model.find_container(self.pod, state.container) or {}
            file = termination_file(self.directory, state.container, state.attempt)
            path = log_path(self.logs, state.container, state.attempt)
            self._messages[state.id] = termination_message(file, path, container, state.exit_code)
        return self._messages[state.id]

    def _step(self) -> float | None:
        self._probing.follow(self.instances())
        if self.missing and not self.gone and "Finish:" not in self._tasks:  # which learns as much from its own answer
            self.spawn("look", self._look())
        view = self._view()
        decision = decide(view)
        self._wanted_status = decision.status
        self._announce_back_off(decision.status)
        for intent in decision.intents:
            self._begin(intent)
        wake_at = decision.wake_at
        reported = self._is_reported()
        if reported != view.reported:
            self.wake()  # what was decided rests on whether the status before this one had been reported
        if not self.gone and not self.missing and not reported:
            later = self._may_wait_until(view)
            if later is None:
                self.spawn("report", self._report())
            else:
                wake_at = min(later, wake_at or later)
        if self.volumes_ready and not self.stopping and self.services.refresh_seconds:
            self.spawn("refresh", self._refresh())
        alive = view.busy or any(i.phase == "running" for i in view.instances.values())
        if self.stopping and not alive and (self.gone or reported):
            self.dead.set()
        return wake_at

    def _may_wait_until(self, view: View) -> float | None:
        """A status that says only that something under way goes on: in a moment the pod may be Running, or have nothing left here."""
        stage = self._stage(view)
        if not stage:
            return None
        until = self._waiting_since.setdefault(stage, view.moment) + PATIENCE_SECONDS
        return until if view.moment < until else None

    def _stage(self, view: View) -> str:
        if not self.pod["metadata"].get("deletionTimestamp"):
            starting = self._wanted_status.get("phase") == "Pending" and self._setting_up()
            return "start" if starting and not view.instances else ""
        if "Release:" in self._tasks:
            return "release"
        same = self._wanted_status.get("phase") == (self.pod.get("status") or {}).get("phase")
        return "kill" if same and any(key.startswith("kill:") for key in self._tasks) else ""

    def _setting_up(self) -> bool:
        return any(key.startswith(_SETUP_KEYS) for key in self._tasks)

    def _announce_back_off(self, status: Obj) -> None:
        for item in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
            waiting = item["state"].get("waiting") or {}
            key = (item["name"], item["restartCount"])
            if waiting.get("reason") == "CrashLoopBackOff" and key not in self._announced:
                self._announced.add(key)
                message = f"Back-off restarting failed container {item['name']} in pod {model.full_name(self.pod)}"
                self.event(item["name"], "Warning", "BackOff", message)

    def _begin(self, intent: model.Intent) -> None:
        kind = type(intent).__name__
        match intent:
            case model.Confirm():
                self.spawn(f"{kind}:", self._confirm())
            case model.PrepareVolumes():
                self.spawn(f"{kind}:", self._prepare())
            case model.AddNetwork():
                self.spawn(f"{kind}:", self._connect())
            case model.StartContainer(name=name, attempt=attempt):
                self.spawn(f"{kind}:{name}", self._starter.start(name, attempt))
            case model.KillInstance():
                self._killer.order(intent)
            case model.RemoveInstance(id=id):
                self.spawn(f"{kind}:{id}", self.services.runtime.remove(id))
            case model.Release():
                self.spawn(f"{kind}:", self._release())
            case model.Finish():
                self.spawn(f"{kind}:", self._finish())
            case model.Forget():
                self.spawn(f"{kind}:", self._forget())

    async def _confirm(self) -> None:
        if await self._exists():
            self.confirmed = True
            self._settled()

    async def _look(self) -> None:
        if await self._exists():
            self.missing = False

    async def _exists(self) -> bool:
        """A live read by name and uid; what it shows is kept. Raises when the API does not answer."""
        try:
            found = await self._live()
        except (ApiError, OSError):
            await asyncio.sleep(RETRY_SECONDS)
            raise
        if found is None or found["metadata"]["uid"] != self.uid:
            self.gone = True
            return False
        self.update(found)
        return True

    async def _live(self) -> Obj | None:
        """The pod of this name. Another one that is not (yet) bound here is not ours to read: then our own are looked through."""
        metadata, client = self.pod["metadata"], self.services.client
        name, namespace = metadata["name"], metadata.get("namespace", "")
        try:
            return await client.get(PODS, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            if error.code != 403:
                raise
        fields = f"spec.nodeName={self.pod['spec'].get('nodeName', '')},metadata.name={name}"
        mine = await client.list(PODS, namespace, fields=fields)
        return next(({**item, "apiVersion": "v1", "kind": "Pod"} for item in mine["items"]), None)

    def _settled(self) -> None:
        self.setup_failure, self._setup_failures = None, 0

    async def _prepare(self) -> None:
        self._remember()
        try:
            self.volumes = dict(await self.services.volumes.prepare(self.pod))
        except VolumesLost as error:
            self.lost(error.message)
            raise
        self.volumes_ready = True
        self._settled()

    async def _connect(self) -> None:
        metadata = self.pod["metadata"]
        if self.pod["spec"].get("hostNetwork"):
            self.network = PodNetwork(self.services.node_ip, self.services.node_netns)
        else:
            self.network = await self.services.network.add(self.uid, metadata.get("namespace", ""), metadata["name"])
        self._settled()

    async def _refresh(self) -> None:
        await asyncio.sleep(self.services.refresh_seconds)
        if self.volumes_ready:
            try:
                await self.services.volumes.refresh(self.pod)
            except (ApiError, OSError, NotReady) as error:
                log.debug("refreshing volumes of %s: %s", model.full_name(self.pod), error)

    async def _release(self) -> None:
        self._probing.cancel()
        try:
            await self.services.volumes.release(self.uid)
            if not self.pod["spec"].get("hostNetwork"):
                await self.services.network.remove(self.uid)
        except Exception:
            await asyncio.sleep(RETRY_SECONDS)
            raise
        self.volumes_ready, self.network, self.released = False, None, True

    async def _finish(self) -> None:
        metadata, client = self.pod["metadata"], self.services.client
        try:
            answer = await client.delete(PODS, metadata["name"], metadata.get("namespace", ""), uid=self.uid, grace_period=0)
            if not (answer.get("metadata") or {}).get("finalizers"):
                self.gone = True  # the server's own word, about this uid
                return
        except ApiError as error:
            if error.code not in (404, 409):
                await asyncio.sleep(RETRY_SECONDS)
                raise
        except (OSError, UnknownOutcomeError):
            await asyncio.sleep(RETRY_SECONDS)
            raise
        # a finalizer may keep the record: then it is still there, and Finish is decided again after a change
        if not await self._exists():
            return
        await asyncio.sleep(RETRY_SECONDS)

    async def _forget(self) -> None:
        for id in self.instances():
            await self.services.runtime.remove(id)
        await asyncio.to_thread(self._remove_directories)
        self.forgotten = True

    def _remove_directories(self) -> None:
        for directory in (self.directory, self.logs):
            privileged.remove_tree(directory)

    def _is_reported(self) -> bool:
        wanted, asked = self._wanted_status, self._asked
        if wanted is not asked[0] or self.pod is not asked[1] or self._refused_status is not asked[2]:
            told = bool(wanted) and (wanted == self._refused_status or not differs(wanted, self.pod.get("status") or {}))
            asked = self._asked = (wanted, self.pod, self._refused_status, told)
        return asked[3]

    async def _report(self) -> None:
        status = self._wanted_status
        try:
            pod = await self.services.reporter.report(self.pod, status)
        except ApiError as error:
            if error.code in (400, 403, 422):
                log.error("status of %s refused: %s", model.full_name(self.pod), error.message)
                self._refused_status = status
                return
            await asyncio.sleep(RETRY_SECONDS)
        except (OSError, UnknownOutcomeError) as error:
            log.debug("status of %s: %s", model.full_name(self.pod), error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            if pod is None:
                self.missing = True
            else:
                self.update(pod)


def _version(pod: Obj) -> int:
    text = str(pod["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0
