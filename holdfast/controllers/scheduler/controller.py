"""The outside of the scheduler: unbound pods in, bindings out.

A claim that waits for its first consumer gets the chosen node written on it (``selected-node``); the node
provisions, the binder binds, and only then is the pod bound. Pods that fit nowhere are tried again
whenever nodes, volumes or other pods change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.scheduler.decide import Accounts, Choice, Cluster, decide
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

log = logging.getLogger("holdfast.controllers")

NAME = "default-scheduler"
WORKERS = 16
"""Choosing is done at once, so one at a time; bindings are on their way side by side."""
SELECTED_NODE = "volume.kubernetes.io/selected-node"


class Scheduler:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, now: Callable[[], float]) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._pods = informers[PODS]
        self._nodes = informers[NODES]
        self._claims = informers[PERSISTENTVOLUMECLAIMS]
        self._volumes = informers[PERSISTENTVOLUMES]
        self._classes = informers[STORAGECLASSES]
        watched = (self._pods, self._nodes, self._claims, self._volumes, self._classes)
        self.reconciler = Reconciler("scheduler", watched, self._sync, workers=WORKERS)
        self._accounts = Accounts()
        self._placed: dict[str, Obj] = {}
        """Pods in the accounts by uid, those too whose binding is on its way."""
        self._waiting: set[str] = set()
        self._pods.on_change(self._pod_changed)
        for informer in (self._nodes, self._claims, self._volumes, self._classes):
            informer.on_change(lambda _old, _new: self._retry())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reconciler.run())

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None and _unbound(new):
            self.reconciler.queue.add(meta.key(new))
            return
        pod = new or old
        assert pod is not None
        self._waiting.discard(meta.key(pod))
        self._place(pod, pod if new is not None and pod["spec"].get("nodeName") and not _finished(pod) else None)
        if new is None or _finished(new):
            self._retry()

    def _place(self, pod: Obj, placed: Obj | None) -> None:
        """Enters a pod as it now is, or strikes it out."""
        before = self._placed.get(meta.uid(pod))
        if before is not None and placed is not None and before["spec"] == placed["spec"]:
            return
        if before is not None:
            self._accounts.remove(self._placed.pop(meta.uid(pod)))
        if placed is not None:
            self._placed[meta.uid(pod)] = placed
            self._accounts.add(placed)

    def _retry(self) -> None:
        for key in self._waiting:
            self.reconciler.queue.add(key)

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or not _unbound(pod) or meta.uid(pod) in self._placed:
            self._waiting.discard(key)
            return
        claims = self._claims_of(pod)
        missing = [n for n, claim in claims.items() if claim is None]
        if missing:
            await self._cannot(pod, f'persistentvolumeclaim "{missing[0]}" not found')
            return
        dying = [n for n, claim in claims.items() if claim and meta.is_terminating(claim)]
        if dying:
            await self._cannot(pod, f'persistentvolumeclaim "{dying[0]}" is being deleted')
            return
        unbound = [claim for claim in claims.values() if claim and not _bound(claim)]
        immediate = [claim for claim in unbound if not self._waits_for_consumer(claim)]
        if immediate:
            await self._cannot(pod, "pod has unbound immediate PersistentVolumeClaims")
            return
        choice = decide(pod, self._cluster(claims))
        if not choice.node:
            await self._cannot(pod, choice.message)
            return
        if unbound:
            await self._select(pod, unbound, choice)
            return
        await self._bind(pod, choice.node)

    def _claims_of(self, pod: Obj) -> dict[str, Obj | None]:
        names = [v["persistentVolumeClaim"]["claimName"] for v in pod["spec"].get("volumes") or [] if v.get("persistentVolumeClaim")]
        return {n: self._claims.get(n, meta.namespace(pod)) for n in names}

    def _waits_for_consumer(self, claim: Obj) -> bool:
        found = self._classes.get(claim["spec"].get("storageClassName") or "")
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"

    def _cluster(self, claims: dict[str, Obj | None]) -> Cluster:
        volumes = {}
        for name, claim in claims.items():
            found = self._volumes.get((claim or {}).get("spec", {}).get("volumeName") or "")
            if found is not None:
                volumes[name] = found
        nodes = [n for n in self._nodes.list() if meta.condition_true(n, "Ready")]
        return Cluster(nodes, self._accounts, volumes)

    async def _select(self, pod: Obj, claims: list[Obj], choice: Choice) -> None:
        """Asks for volumes on the chosen node; the claims' binding brings the pod back."""
        self._waiting.add(meta.key(pod))
        for claim in claims:
            if meta.annotations_of(claim).get(SELECTED_NODE) != choice.node:
                patch = {
                    "metadata": {
                        "resourceVersion": claim["metadata"]["resourceVersion"],
                        "annotations": {SELECTED_NODE: choice.node},
                    }
                }
                await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch)

    async def _bind(self, pod: Obj, node: str) -> None:
        uid = meta.uid(pod)
        self._place(pod, {**pod, "spec": {**pod["spec"], "nodeName": node}})
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name(pod), "namespace": meta.namespace(pod), "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(PODS, binding, meta.namespace(pod), subresource="binding", name=meta.name(pod))
        except BaseException:
            seen = self._pods.get(meta.name(pod), meta.namespace(pod))
            if seen is None or meta.uid(seen) != uid or not seen["spec"].get("nodeName"):
                self._place(pod, None)
            raise
        self._waiting.discard(meta.key(pod))
        text = f"Successfully assigned {meta.namespace(pod)}/{meta.name(pod)} to {node}"
        self._recorder.event(pod, "Normal", "Scheduled", text)

    async def _cannot(self, pod: Obj, message: str) -> None:
        """Says why, once per reason, and waits for something to change."""
        self._waiting.add(meta.key(pod))
        condition = meta.condition(pod, "PodScheduled")
        if condition and condition.get("status") == "False" and condition.get("message") == message:
            return
        self._recorder.event(pod, "Warning", "FailedScheduling", message)
        entry = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": rfc3339(self._now()),
        }
        others = [c for c in (pod.get("status") or {}).get("conditions") or [] if c["type"] != "PodScheduled"]
        try:
            patch = {"metadata": {"uid": meta.uid(pod)}, "status": {"conditions": [*others, entry]}}
            await self._client.patch(PODS, meta.name(pod), meta.namespace(pod), patch, subresource="status")
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _unbound(pod: Obj) -> bool:
    spec = pod["spec"]
    return not spec.get("nodeName") and spec.get("schedulerName", NAME) == NAME and not meta.is_terminating(pod) and not _finished(pod)


def _finished(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _bound(claim: Obj) -> bool:
    return bool(claim["spec"].get("volumeName")) and (claim.get("status") or {}).get("phase") == "Bound"
