"""Starting one container attempt: image, environment, configuration, runtime, postStart; failures become waiting reasons."""

from __future__ import annotations

import logging

from holdfast.kinds.kind import Obj
from holdfast.machinery.errors import ApiError
from holdfast.node.api import Image
from holdfast.node.pods import env, hooks, model
from holdfast.node.pods.config import Places, make_config
from holdfast.node.pods.env import ConfigError
from holdfast.node.pods.model import Failure, KillOrder
from holdfast.node.pods.probes import Target
from holdfast.node.pods.state import PodState
from holdfast.node.runtimes.api import RuntimeFailure

log = logging.getLogger("holdfast.node.pods")

IMAGE_CHECK_SECONDS = 1.0
MAXIMUM_SECONDS = 60.0


class _ImageMissing(Exception):
    pass


class Starter:
    def __init__(self, worker: PodState) -> None:
        self._worker = worker
        self._references: dict[str, dict[tuple[str, str], Obj | None]] = {}
        self._counts: dict[str, int] = {}
        self._image_events: dict[str, tuple[float, float]] = {}
        self._warned: set[str] = set()

    async def start(self, name: str, attempt: int) -> None:
        worker = self._worker
        container = model.find_container(worker.pod, name)
        if container is None:
            return
        try:
            image = self._image(container)
            await self._start(container, attempt, image)
        except _ImageMissing:
            return
        except (ConfigError, RuntimeFailure) as failure:
            self._failed(name, failure.reason, failure.message)
        except (ApiError, OSError) as error:
            self._failed(name, "CreateContainerConfigError", str(error))
        else:
            worker.failures.pop(name, None)
            self._counts.pop(name, None)
            self._image_events.pop(name, None)

    def _failed(self, name: str, reason: str, message: str) -> None:
        worker = self._worker
        count = self._counts[name] = self._counts.get(name, 0) + 1
        delay = min(MAXIMUM_SECONDS, 2.0 ** (count - 1))
        worker.failures[name] = Failure(reason, message, worker.services.clock.monotonic() + delay)
        worker.event(name, "Warning", "Failed", f"Error: {message}")

    def _image(self, container: Obj) -> Image:
        """The loaded image. Raises _ImageMissing after noting why the container waits."""
        worker, name = self._worker, container["name"]
        reference, policy = str(container.get("image") or ""), container.get("imagePullPolicy") or "IfNotPresent"
        image = worker.services.images.find(reference) if reference else None
        if image is None:
            self._missing(name, reference, policy)
            raise _ImageMissing
        if policy == "Always" and name not in self._warned:
            self._warned.add(name)
            message = (
                f'imagePullPolicy of container {name} is Always, but images are not pulled: the loaded image "{reference}" is used'
            )
            worker.event(name, "Warning", "ImageNotPulled", message)
        message = f'Container image "{reference}" already present on machine and can be accessed by the pod'
        worker.event(name, "Normal", "Pulled", message)
        return image

    def _missing(self, name: str, reference: str, policy: str) -> None:
        """First ErrImagePull, then ImagePullBackOff; looked for often, told ever more rarely."""
        worker = self._worker
        now = worker.services.clock.monotonic()
        if policy == "Never":
            reason = "ErrImageNeverPull"
            message = f'Container image "{reference}" is not present with pull policy of Never; load it with: holdfast image load|build'
        else:
            reason = "ImagePullBackOff" if name in self._image_events else "ErrImagePull"
            why = f'image "{reference}" is not on this node and images are not pulled; load it with: holdfast image load|build'
            message = why if reason == "ErrImagePull" else f'Back-off pulling image "{reference}": ErrImagePull: {why}'
        again, delay = self._image_events.get(name, (0.0, 5.0))
        if now >= again:
            if reason == "ErrImagePull":
                worker.event(name, "Warning", "Failed", f'Failed to pull image "{reference}": {message}')
            elif reason == "ImagePullBackOff":
                worker.event(name, "Normal", "BackOff", f'Back-off pulling image "{reference}"')
            worker.event(name, "Warning", "Failed", f"Error: {reason}")
            delay = min(300.0, delay * 2)
            again = now + delay if name in self._image_events else now
            self._image_events[name] = (again, delay)
        worker.failures[name] = Failure(reason, message, now + IMAGE_CHECK_SECONDS)

    async def _objects(self, container: Obj) -> dict[tuple[str, str], Obj | None]:
        """ConfigMaps and Secrets of the environment; a restart while the API is away uses what the last start read."""
        worker, name = self._worker, container["name"]
        references = env.references(container)
        if not references:
            return {}
        try:
            found = await worker.services.fetch(references, worker.pod["metadata"].get("namespace", ""))
        except OSError:
            if name not in self._references:
                raise
            return self._references[name]
        self._references[name] = found
        return found

    def _pod_with_addresses(self) -> Obj:
        """The pod as its own environment may show it: the status may not have been reported yet."""
        worker = self._worker
        status = dict(worker.pod.get("status") or {})
        host, ip = worker.services.host_ip, worker.network.ip if worker.network else ""
        status |= {"hostIP": host, "hostIPs": [{"ip": host}], "podIP": ip, "podIPs": [{"ip": ip}]}
        return {**worker.pod, "status": status}

    async def _start(self, container: Obj, attempt: int, image: Image) -> None:
        worker, name, services = self._worker, container["name"], self._worker.services
        objects = await self._objects(container)
        pod = self._pod_with_addresses()
        environment = env.make_env(pod, container, objects, services.services(), services.capacity())
        async with services.starting:
            if worker.gone or worker.stopping or worker.pod["metadata"].get("deletionTimestamp") or worker.network is None:
                return
            places = Places(
                worker.directory,
                worker.logs,
                worker.network.netns,
                worker.volumes,
                services.volumes.fence_files(worker.uid),
                services.has_files,
                self._target_pid(container),
                services.volumes.sub_path,
            )
            config = make_config(pod, container, attempt, image, environment, places, services.cluster, worker.network.ip)
            state = await services.runtime.run(config)
        worker.image_ids[state.id] = image.id
        worker.event(name, "Normal", "Created", "Container created")
        worker.event(name, "Normal", "Started", "Container started")
        if attempt > 0:
            worker.backoff.restarted(name)
        worker.wake()
        await self._post_start(container, state.id)
        worker.hooked(state.id)

    def _target_pid(self, container: Obj) -> int:
        """The process of the container that an ephemeral one looks at; 0 when it looks at none. Raises ConfigError."""
        target = container.get("targetContainerName")
        if not target:
            return 0
        found = model.latest(self._worker.instances().values(), target)
        if found is None or found.phase != "running":
            raise ConfigError(f'target container "{target}" is not running', "CreateContainerError")
        return found.pid

    async def _post_start(self, container: Obj, id: str) -> None:
        worker, hook = self._worker, hooks.post_start(container)
        if hook is None or worker.network is None:
            return
        try:
            target = Target(id, worker.network.netns, worker.network.ip)
            await hooks.run_hook(worker.services.prober, hook, container, target)
        except hooks.HookError as error:
            worker.event(container["name"], "Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
            worker.kill_orders[id] = KillOrder("FailedPostStartHook")
