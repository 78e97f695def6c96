"""The outside of the scheduler: unbound pods in, bindings out.

Claims that wait for their first consumer are seen to first: a volume that is there for one is given its name, else the chosen node
is written on the claim (``selected-node``) and makes one; the binder binds, and only then is the pod bound. Pods that fit nowhere are
tried again whenever nodes, volumes or other pods change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.pods import has_ended
from holdfast.controllers.scheduler import volumes
from holdfast.controllers.scheduler.decide import Accounts, Choice, Cluster, decide, refused
from holdfast.controllers.volumes.controller import BY_CLAIM, used_claims
from holdfast.controllers.volumes.matching import INDEX, candidates, index, is_bound
from holdfast.kinds.core.claims import BOUND_BY_CONTROLLER, SELECTED_NODE, claims_of, reference_to
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

log = logging.getLogger("holdfast.controllers")

NAME = "default-scheduler"
WORKERS = 16
"""Choosing is done at once, so one at a time; bindings are on their way side by side."""


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
        self._volumes.add_index(INDEX, index)
        watched = (self._pods, self._nodes, self._claims, self._volumes, self._classes)
        self.reconciler = Reconciler("scheduler", watched, self._sync, workers=WORKERS)
        self._accounts = Accounts()
        self._placed: dict[str, Obj] = {}
        """Pods in the accounts by uid, those too whose binding is on its way."""
        self._waiting: set[str] = set()
        self._reserved: dict[str, str] = {}
        """By uid of a claim: the volume that was asked for it, until the picture shows whether it has it."""
        self._pods.on_change(self._pod_changed)
        self._pods.add_index(BY_CLAIM, used_claims)
        for informer in (self._nodes, self._classes):
            informer.on_change(lambda _old, _new: self._retry())
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)

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
        self._place(pod, pod if new is not None and pod["spec"].get("nodeName") and not has_ended(pod) else None)
        if new is None or has_ended(new):
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

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        claim = new or old
        assert claim is not None
        if new is None or is_bound(new):
            self._reserved.pop(meta.uid(claim), None)
        self._retry_users(meta.key(claim))

    def _retry_users(self, claim: str) -> None:
        """What happens to a claim is news for its pods alone: with many of both, others must not be looked at again for it."""
        for pod in self._pods.by_index(BY_CLAIM, claim):
            if meta.key(pod) in self._waiting:
                self.reconciler.queue.add(meta.key(pod))

    def _volume_changed(self, old: Obj | None, new: Obj | None) -> None:
        references = [((each or {}).get("spec") or {}).get("claimRef") for each in (old, new)]
        for reference in references:
            if reference:
                self._retry_users(f"{reference.get('namespace')}/{reference.get('name')}")
        if new is not None and not references[1]:  # it may be for anybody
            self._retry()

    def _retry(self) -> None:
        for key in self._waiting:
            self.reconciler.queue.add(key)

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or not _unbound(pod) or meta.uid(pod) in self._placed:
            self._waiting.discard(key)
            return
        claims = {n: self._claims.get(n, namespace) for n in claims_of(pod).values()}
        if [n for n, claim in claims.items() if claim is not None and not await self._is_settled(claim)]:
            self._waiting.add(key)
            return
        classes = self._classes.named()
        nodes = [n for n in self._nodes.list() if meta.condition_true(n, "Ready")]
        if why := volumes.refusal(pod, claims, classes):
            if why == volumes.UNBOUND and key in self._waiting and volumes.are_given(claims.values()):
                return  # no news: the binding that was asked for is nearly done, and then brings the pod back
            await self._cannot(pod, refused(nodes, why))
            return
        known = {n: claim for n, claim in claims.items() if claim is not None}
        users = {n: self._accounts.users(f"{namespace}/{n}") for n in known}
        storage = volumes.storage(known.values(), self._volumes.get, lambda claim: candidates(self._volumes, claim), classes, users)
        choice = decide(pod, Cluster(nodes, self._accounts, storage))
        if not choice.node:
            await self._cannot(pod, choice.message)
        elif storage.waiting:
            await self._select(pod, known, choice)
        else:
            await self._bind(pod, choice.node)

    async def _select(self, pod: Obj, claims: dict[str, Obj], choice: Choice) -> None:
        """Speaks for volumes that are there, asks for others on the chosen node; the claims' binding brings the pod back."""
        self._waiting.add(meta.key(pod))
        for name, found in choice.volumes.static.items():
            volume = self._volumes.get(found)
            if volume is not None:
                await self._reserve(volume, claims[name])
        for name in choice.volumes.made:
            claim = claims[name]
            if meta.annotations_of(claim).get(SELECTED_NODE) != choice.node:
                metadata = {"resourceVersion": claim["metadata"]["resourceVersion"], "annotations": {SELECTED_NODE: choice.node}}
                await self._client.patch(PERSISTENTVOLUMECLAIMS, name, meta.namespace(claim), {"metadata": metadata})

    async def _is_settled(self, claim: Obj) -> bool:
        """Whether the picture shows what became of a reservation. Until then another volume would be a second one for it (P-3)."""
        asked = self._reserved.get(meta.uid(claim))
        if asked is None:
            return True
        if not _has(self._volumes.get(asked), claim) and _has(await self._live_volume(asked), claim):
            return False
        self._reserved.pop(meta.uid(claim), None)
        return True

    async def _live_volume(self, name: str) -> Obj | None:
        try:
            return await self._client.get(PERSISTENTVOLUMES, name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _reserve(self, volume: Obj, claim: Obj) -> None:
        """The first half of a binding (``controllers.volumes``): refused with 409 when somebody else has been here."""
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") == meta.uid(claim):
            return
        metadata: Obj = {"resourceVersion": volume["metadata"]["resourceVersion"]}
        if not reference:
            metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
        self._reserved[meta.uid(claim)] = meta.name(volume)
        await self._client.patch(
            PERSISTENTVOLUMES, meta.name(volume), "", {"metadata": metadata, "spec": {"claimRef": reference_to(claim)}}
        )

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


def _has(volume: Obj | None, claim: Obj) -> bool:
    return ((volume or {}).get("spec", {}).get("claimRef") or {}).get("uid") == meta.uid(claim)


def _unbound(pod: Obj) -> bool:
    spec = pod["spec"]
    return not spec.get("nodeName") and spec.get("schedulerName", NAME) == NAME and not meta.is_terminating(pod) and not has_ended(pod)
