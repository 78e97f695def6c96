"""The outside of budgets: PodDisruptionBudgets, their pods and these pods' owners in, the budgets' status out.

The status is written under the resourceVersion it was computed from: an eviction that spent from it in between wins, and
the budget is looked at again. A mark DisruptionTarget that no deletion followed is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer, InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.disruption import decide
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
)
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta, selectors

_MARGIN = 0.1


class DisruptionController:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, now: Callable[[], float]) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._budgets, self._pods = informers[PODDISRUPTIONBUDGETS], informers[PODS]
        self._owners: dict[tuple[str, str], Informer] = {
            (resource.group, resource.kind): informers[resource]
            for resource in (DEPLOYMENTS, REPLICASETS, REPLICATIONCONTROLLERS, STATEFULSETS)
        }
        watched = (self._budgets, self._pods, *self._owners.values())
        self.reconciler = Reconciler("disruption", watched, self._sync, workers=1)
        self.marks = Reconciler("stale disruption marks", (self._pods,), self._take_back, workers=1)
        self._budgets.on_change(lambda old, new: self.reconciler.queue.add(meta.key(new or old or {})))
        self._pods.on_change(self._pod_changed)
        for owners in self._owners.values():
            owners.on_change(self._owner_changed)

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is not None and decide.stale_since(new) is not None:
            self.marks.queue.add(meta.key(new))
        if old is not None and new is not None and _told(old) == _told(new):
            return
        for pod in (old, new):
            for budget in self._budgets.list(meta.namespace(pod)) if pod else ():
                if pod and _selects(budget, pod):
                    self.reconciler.queue.add(meta.key(budget))

    def _owner_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and new is not None and old["spec"].get("replicas") == new["spec"].get("replicas"):
            return
        owner = new or old or {}
        for budget in self._budgets.list(meta.namespace(owner)):
            self.reconciler.queue.add(meta.key(budget))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        budget = self._budgets.get(name, namespace)
        if budget is None:
            return
        pods = [pod for pod in self._pods.list(namespace) if _selects(budget, pod)]
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        stamp = rfc3339(self._now())
        try:
            wanted = decide.expectation(budget, pods, self._scales(pods))
        except decide.CountError as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            await self._write(budget, decide.failed(budget, str(error), stamp))
            return
        if wanted.unmanaged:
            text = f"Pods without a controller, of which nobody says how many are wanted: {', '.join(wanted.unmanaged)}"
            self._recorder.event(budget, "Warning", "UnmanagedPods", f"{text}. Set .spec.minAvailable to a number to count them")
        gone = decide.disrupted(budget, pods, self._now())
        for pod in pods:
            if meta.name(pod) in gone.overdue:
                text = f"Pod was expected by PDB {key} to be deleted but it wasn't"
                self._recorder.event(pod, "Warning", "NotDeleted", text)
        if gone.again_at is not None:
            self.reconciler.queue.add_after(key, gone.again_at - self._now() + _MARGIN)
        await self._write(budget, decide.status(budget, wanted, decide.healthy(pods, gone.pods), gone.pods, stamp))

    async def _write(self, budget: Obj, status: Obj) -> None:
        if status != budget.get("status"):
            await self._client.update(PODDISRUPTIONBUDGETS, {**budget, "status": status}, subresource="status")

    def _scales(self, pods: list[Obj]) -> Mapping[str, tuple[str, int]]:
        """As ``decide.expectation`` takes them: of each controller of these pods that is there."""
        found: dict[str, tuple[str, int]] = {}
        for pod in pods:
            reference = meta.controller_of(pod)
            if reference is None or reference["uid"] in found:
                continue
            owner = self._owner(meta.namespace(pod), reference)
            if owner is not None:
                above = meta.controller_of(owner)
                # A ReplicaSet of a Deployment is one half of a rollout: the Deployment says how many there shall be.
                owner = self._owner(meta.namespace(pod), above) if above else owner
            if owner is not None:
                replicas = owner["spec"].get("replicas")
                found[reference["uid"]] = meta.uid(owner), 1 if replicas is None else replicas
        return found

    def _owner(self, namespace: str, reference: Obj) -> Obj | None:
        group = reference["apiVersion"].rpartition("/")[0]
        informer = self._owners.get((group, reference["kind"]))
        found = informer.get(reference["name"], namespace) if informer else None
        return found if found is not None and meta.uid(found) == reference["uid"] else None

    async def _take_back(self, key: str) -> None:
        """The mark of a disruption that did not come."""
        namespace, name = meta.split_key(key)
        pod = self._pods.get(name, namespace)
        since = decide.stale_since(pod) if pod else None
        if pod is None or since is None:
            return
        left = since + decide.DELETION_SECONDS - self._now()
        if left > 0:
            self.marks.queue.add_after(key, left + _MARGIN)
            return
        stamp = rfc3339(self._now())
        conditions = [
            {**one, "status": "False", "lastTransitionTime": stamp} if one["type"] == decide.TARGET else one
            for one in pod["status"]["conditions"]
        ]
        metadata = {"uid": meta.uid(pod), "resourceVersion": pod["metadata"]["resourceVersion"]}
        patch = {"metadata": metadata, "status": {"conditions": conditions}}
        await self._client.patch(PODS, name, namespace, patch, subresource="status")


def _selects(budget: Obj, pod: Obj) -> bool:
    return selectors.from_object(budget["spec"].get("selector")).matches(meta.labels_of(pod))


def _told(pod: Obj) -> tuple[object, ...]:
    """What a budget counts."""
    owner = meta.controller_of(pod) or {}
    return meta.condition_true(pod, "Ready"), meta.is_terminating(pod), owner.get("uid"), tuple(sorted(meta.labels_of(pod).items()))
