"""The outside of the ReplicaSet controller, and of the ReplicationController's: events to keys, plans to API writes.

A pod's name is chosen here and not by the server: when nobody knows what became of a create, the next one asks for the same
name, and there is no second pod (SCEN-17). Nothing is deleted before a live look says that so many are wanted still.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers import pods as state
from holdfast.controllers.ownership import OWNER, Claims, concerned, controller_index, owned
from holdfast.controllers.replicaset import status
from holdfast.controllers.replicaset.decide import Plan, build_pod, decide, replicas, surplus
from holdfast.controllers.writes import LATE_SECONDS, Deletions, OwnWrites, gathering, growing
from holdfast.kinds.kind import Obj, Resource
from holdfast.kinds.resources import PODS, REPLICASETS, REPLICATIONCONTROLLERS
from holdfast.machinery import meta, selectors
from holdfast.machinery.errors import ApiError, UnknownOutcomeError, is_namespace_terminating

T = TypeVar("T")


@dataclass(frozen=True)
class Family:
    """What the two kinds differ in."""

    resource: Resource
    selects: Callable[[Mapping[str, object] | None], selectors.LabelSelector]
    counts_terminating: bool

    def selector(self, owner: Obj) -> selectors.LabelSelector:
        return self.selects(owner["spec"].get("selector"))


SETS = Family(REPLICASETS, selectors.from_object, counts_terminating=True)
CONTROLLERS = Family(REPLICATIONCONTROLLERS, selectors.plain, counts_terminating=False)


class ReplicaSetController:
    def __init__(
        self,
        client: Client,
        informers: InformerSet,
        recorder: EventRecorder,
        now: Callable[[], float],
        family: Family = SETS,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._family = family
        self._sets, self._pods = informers[family.resource], informers[PODS]
        self.reconciler = Reconciler(family.resource.kind.lower(), (self._sets, self._pods), self._sync)
        self._writes = OwnWrites(self._pods)
        self._deletions = Deletions(client, recorder, self._writes)
        self._members = Claims(client, family.resource, self._pods)
        self._names: dict[str, list[str]] = {}
        """Names of pods that were asked for and were refused, or of which nobody knows what became: by key."""
        for informer in (self._sets, self._pods):
            informer.add_index(OWNER, controller_index)
        self._sets.on_change(lambda old, new: self.reconciler.queue.add(meta.key(new or old or {})))
        self._pods.on_change(self._pod_changed)

    # Events to keys

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for owner in concerned(self._sets, old, new, self._family.selector):
            self.reconciler.queue.add_after(meta.key(owner), gathering(replicas(owner)))

    # Keys to writes

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        owner = self._sets.get(name, namespace)
        if owner is None:
            self._writes.forget(key)
            self._names.pop(key, None)
            return
        if not self._writes.shown(key):
            self.reconciler.queue.add_after(key, LATE_SECONDS)
            return
        pods = await self._members.take(owner, self._family.selector(owner))
        failure = await self._act(key, owner, decide(owner, pods, self._near(owner, pods), self._now()))
        await self._write_status(owner, pods, str(getattr(failure, "message", failure) or ""))
        if failure is not None:
            raise failure
        wait = state.next_available(filter(state.is_active, pods), int(owner["spec"].get("minReadySeconds") or 0), self._now())
        if wait:
            self.reconciler.queue.add_after(key, wait)

    def _near(self, owner: Obj, pods: Sequence[Obj]) -> Mapping[str, int]:
        """Active pods by node, of the set and of those with the same controller: the parts of one Deployment."""
        if surplus(owner, pods) <= 0:
            return {}
        above = meta.controller_of(owner)
        kin = owned(self._sets, above["uid"]) if above else [owner]
        found = [pod for each in kin for pod in owned(self._pods, meta.uid(each)) if state.is_active(pod)]
        return Counter(pod["spec"].get("nodeName") or "" for pod in found)

    async def _act(self, key: str, owner: Obj, plan: Plan) -> Exception | None:
        """Why not all of the plan was done; None when it was."""
        if plan.create:
            return await _in_batches(lambda _number: self._create_pod(key, owner), range(plan.create))
        if plan.delete:
            await self._confirm(owner)
            return await _in_batches(lambda pod: self._deletions.delete(key, owner, pod), plan.delete)
        return None

    async def _confirm(self, owner: Obj) -> None:
        """So many pods are too many by a live read too: the picture may be late, and a deletion is for good."""
        live = await self._client.get(self._family.resource, meta.name(owner), meta.namespace(owner))
        if meta.uid(live) != meta.uid(owner) or live["metadata"].get("generation") != owner["metadata"].get("generation"):
            raise ApiError(409, "Conflict", f"{meta.name(owner)} is not what it was: nothing is deleted until that is seen")

    async def _create_pod(self, key: str, owner: Obj) -> None:
        names = self._names.setdefault(key, [])
        pod = build_pod(owner, names.pop() if names else "")
        try:
            answer = await self._client.create(PODS, pod, meta.namespace(owner))
        except UnknownOutcomeError:
            names.append(meta.name(pod))
            raise
        except ApiError as error:
            answer = await self._made_before(owner, pod, error, names)
        self._writes.wrote(key, answer)
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {meta.name(answer)}")

    async def _made_before(self, owner: Obj, pod: Obj, refusal: ApiError, names: list[str]) -> Obj:
        """The pod of that name, if the refusal is because it is there and the set's. Raises the refusal.

        What was refused is asked for under the same name again: so the refusal reads the same, and is one event.
        """
        if refusal.reason == "AlreadyExists":
            there = await self._client.get(PODS, meta.name(pod), meta.namespace(pod))
            if meta.is_controlled_by(there, owner):
                return there
        elif not is_namespace_terminating(refusal):
            names.append(meta.name(pod))
            self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {refusal.message}")
        raise refusal

    async def _write_status(self, owner: Obj, pods: Sequence[Obj], failure: str) -> None:
        new = status.count(owner, pods, failure, self._now(), terminating=self._family.counts_terminating)
        if new != (owner.get("status") or {}):
            await self._client.update(self._family.resource, {**owner, "status": new}, subresource="status")


async def _in_batches(work: Callable[[T], Awaitable[None]], items: Sequence[T]) -> Exception | None:
    """One batch after the other, each greater; the first with a failure in it is the last. A namespace that ends is no failure."""
    for batch in growing(items):
        for outcome in await asyncio.gather(*map(work, batch), return_exceptions=True):
            if isinstance(outcome, Exception):
                gone = isinstance(outcome, ApiError) and is_namespace_terminating(outcome)
                return None if gone else outcome
    return None
