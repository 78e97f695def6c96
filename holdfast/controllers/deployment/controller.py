"""The outside of the Deployment controller: events to keys, plans to API writes, one request an intent.

Every write to a ReplicaSet and to the Deployment carries the resourceVersion of what was decided about, and it waits until its
picture shows its own last write (SCEN-17): what was decided on an old word is refused, and decided again.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers import pods as state
from holdfast.controllers.deployment import objects, scaling
from holdfast.controllers.deployment.decide import CreateSet, DeleteSet, Intent, Plan, Seen, UpdateSet, decide
from holdfast.controllers.deployment.status import NOT_CREATED, Conditions
from holdfast.controllers.ownership import OWNER, Claims, concerned, controller_among, controller_index, owned
from holdfast.controllers.replicaset.decide import replicas
from holdfast.controllers.writes import LATE_SECONDS, OwnWrites
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import DEPLOYMENTS, PODS, REPLICASETS
from holdfast.machinery import meta, selectors
from holdfast.machinery.errors import ApiError, is_namespace_terminating


class DeploymentController:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, now: Callable[[], float]) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._deployments, self._sets, self._pods = informers[DEPLOYMENTS], informers[REPLICASETS], informers[PODS]
        watched = (self._deployments, self._sets, self._pods)
        self.reconciler = Reconciler("deployment", watched, self._sync)
        self._writes, self._statuses = OwnWrites(self._sets), OwnWrites(self._deployments)
        self._claims = Claims(client, DEPLOYMENTS, self._sets)
        for informer in (self._sets, self._pods):
            informer.add_index(OWNER, controller_index)
        self._deployments.on_change(lambda old, new: self.reconciler.queue.add(meta.key(new or old or {})))
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)

    # Events to keys

    def _set_changed(self, old: Obj | None, new: Obj | None) -> None:
        for owner in concerned(self._deployments, old, new, _selector):
            self.reconciler.queue.add(meta.key(owner))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Only who waits for the end of old pods hears of pods."""
        if old is None or (new is not None and not state.has_ended(new)):
            return
        found = controller_among(self._sets, old)
        owner = controller_among(self._deployments, found) if found is not None else None
        if owner is not None and not scaling.is_rolling(owner):
            self.reconciler.queue.add(meta.key(owner))

    # Keys to writes

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        owner = self._deployments.get(name, namespace)
        if owner is None:
            self._writes.forget(key)
            self._statuses.forget(key)
            return
        if not self._writes.shown(key) or not self._statuses.shown(key):
            self.reconciler.queue.add_after(key, LATE_SECONDS)
            return
        sets = await self._claims.take(owner, _selector(owner))
        plan = decide(Seen(owner, sets, self._busy(owner, sets)), self._now())
        for intent in plan.intents:
            if not await self._carry_out(key, owner, intent):
                return
        await self._write_status(key, owner, plan)
        if plan.again_after:
            self.reconciler.queue.add_after(key, plan.again_after)

    def _busy(self, owner: Obj, sets: list[Obj]) -> set[str]:
        if scaling.is_rolling(owner):
            return set()
        uids = [meta.uid(found) for found in sets]
        return {uid for uid in uids if not all(map(state.has_ended, owned(self._pods, uid)))}

    async def _carry_out(self, key: str, owner: Obj, intent: Intent) -> bool:
        """Whether to go on."""
        match intent:
            case CreateSet(made):
                return await self._create(key, owner, made)
            case UpdateSet(before, after):
                answer = await self._client.update(REPLICASETS, after)
                self._writes.wrote(key, answer)
                self._tell(owner, after, replicas(before), replicas(after))
            case DeleteSet(found):
                await self._delete(key, found)
        return True

    def _tell(self, owner: Obj, found: Obj, before: int, after: int) -> None:
        if before != after:
            way = "up" if after > before else "down"
            text = f"Scaled {way} replica set {meta.name(found)} from {before} to {after}"
            self._recorder.event(owner, "Normal", "ScalingReplicaSet", text)

    async def _create(self, key: str, owner: Obj, made: Obj) -> bool:
        try:
            answer = await self._client.create(REPLICASETS, made, meta.namespace(made))
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return await self._made_before(key, owner, made)
            if not is_namespace_terminating(error):
                await self._tell_failure(key, owner, f'Failed to create new replica set "{meta.name(made)}": {error.message}')
            raise
        self._writes.wrote(key, answer)
        self._tell(owner, answer, 0, replicas(answer))
        return True

    async def _made_before(self, key: str, owner: Obj, made: Obj) -> bool:
        """One of that name is there: ours, whose creation was not heard of, or by bad luck another template's."""
        there = await self._client.get(REPLICASETS, meta.name(made), meta.namespace(made))
        if meta.is_controlled_by(there, owner) and objects.same_template(there["spec"]["template"], owner["spec"]["template"]):
            self._writes.wrote(key, there)
            return True
        status = dict(owner.get("status") or {})
        status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
        await self._update_status(key, {**owner, "status": status})
        return False

    async def _tell_failure(self, key: str, owner: Obj, message: str) -> None:
        self._recorder.event(owner, "Warning", NOT_CREATED, message)
        conditions = Conditions(owner, self._now())
        conditions.not_created(message)
        if conditions.all != ((owner.get("status") or {}).get("conditions") or []):
            await self._update_status(key, {**owner, "status": {**(owner.get("status") or {}), "conditions": conditions.all}})

    async def _delete(self, key: str, found: Obj) -> None:
        version = found["metadata"]["resourceVersion"]
        try:
            await self._client.delete(
                REPLICASETS, meta.name(found), meta.namespace(found), uid=meta.uid(found), resource_version=version
            )
        except ApiError as error:
            if error.code != 404:
                raise
        self._writes.deleted(key, found)

    async def _write_status(self, key: str, owner: Obj, plan: Plan) -> None:
        """The status, and with it the revision: a status may carry annotations."""
        metadata = owner["metadata"]
        if plan.revision and meta.annotations_of(owner).get(objects.REVISION) != plan.revision:
            metadata = {**metadata, "annotations": {**meta.annotations_of(owner), objects.REVISION: plan.revision}}
        if metadata is not owner["metadata"] or plan.status != (owner.get("status") or {}):
            await self._update_status(key, {**owner, "metadata": metadata, "status": plan.status})

    async def _update_status(self, key: str, owner: Obj) -> None:
        self._statuses.wrote(key, await self._client.update(DEPLOYMENTS, owner, subresource="status"))


def _selector(owner: Obj) -> selectors.LabelSelector:
    return selectors.from_object(owner["spec"].get("selector"))
