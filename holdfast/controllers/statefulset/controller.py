"""The outside of the StatefulSet controller: events to keys, plans to API writes, one request an intent.

Before it acts it waits until its picture shows its own last write of the set (SCEN-17); adoption asks
the server itself; every delete carries the uid that was decided about.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence

from holdfast.client.api import Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import Informer, InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.statefulset import conditions, objects, options, revisions
from holdfast.controllers.statefulset import decide as plans
from holdfast.controllers.statefulset.decide import Plan, Seen, decide
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from holdfast.lib.clock import parse_rfc3339, rfc3339
from holdfast.machinery import meta, selectors
from holdfast.machinery.errors import ApiError

log = logging.getLogger("holdfast.controllers")

OWNER = "controller"
LARGEST_BATCH = 128
MANY, MANY_SECONDS = 250, 0.005
"""Changes of members are gathered for so long for each so many members: looking at all takes a good part of that."""


class StatefulSetController:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, now: Callable[[], float]) -> None:
        self._client = client
        self._recorder = recorder
        self._now = now
        self._sets = informers[STATEFULSETS]
        self._pods = informers[PODS]
        self._claims = informers[PERSISTENTVOLUMECLAIMS]
        self._revisions = informers[CONTROLLERREVISIONS]
        watched = (self._sets, self._pods, self._claims, self._revisions)
        self.reconciler = Reconciler("statefulset", watched, self._sync)
        self._written: dict[str, int] = {}
        self._recorded: dict[str, int] = {}
        """Revision of our last write of a set's pods, and of its history."""
        self._deleted: dict[str, set[str]] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._ahead: dict[str, tuple[str, float]] = {}
        """Uid of each pod that became Ready at a time which our clock has yet to reach: that time, and when we first saw it."""
        for informer in (self._pods, self._revisions):
            informer.add_index(OWNER, _owner_of)
        self._sets.on_change(lambda old, new: self._enqueue(new or old))
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)

    async def run(self) -> None:
        await self.reconciler.run()

    # Events to keys

    def _enqueue(self, obj: Obj | None) -> None:
        if obj is not None:
            self.reconciler.queue.add(meta.key(obj))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod else None
            if pod and owner and owner["kind"] == "StatefulSet":
                self._member_changed(f"{meta.namespace(pod)}/{owner['name']}")
            elif pod and owner is None:
                for candidate in self._sets.list(meta.namespace(pod)):
                    if objects.is_member(candidate, pod):
                        self._enqueue(candidate)

    def _member_changed(self, key: str) -> None:
        """A set of many members is not looked through at each change of one of them."""
        owner = self._sets.get(*reversed(meta.split_key(key)))
        members = int(owner["spec"].get("replicas") or 0) if owner else 0
        self.reconciler.queue.add_after(key, members // MANY * MANY_SECONDS)

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        claim = new or old
        if claim is None or (old is not None and new is not None):
            return
        for candidate in self._sets.list(meta.namespace(claim)):
            if f"-{meta.name(candidate)}-" in meta.name(claim):
                self._enqueue(candidate)

    # Keys to writes

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        owner = self._sets.get(name, namespace)
        if owner is None:
            self._written.pop(key, None)
            self._recorded.pop(key, None)
            self._deleted.pop(key, None)
            self._told.pop(key, None)
            return
        if not self._caught_up(key):
            self.reconciler.queue.add_after(key, 1.0)  # the event of our own write will wake it sooner
            return
        pods = [self._dated(pod) for pod in await self._claimed_pods(owner)]
        history = await self._history(owner)
        update, collisions = await self._update_revision(owner, history)
        history = {meta.name(r): r for r in [*history.values(), update]}
        current = history.get((owner.get("status") or {}).get("currentRevision") or "", update)
        claims = {meta.name(c): c for c in self._claims.list(namespace)}
        complete = conditions.last_complete(owner)
        templates = {n: revisions.template_of(r) for n, r in history.items() if n in (meta.name(current), meta.name(update), complete)}
        seen = Seen(owner, pods, claims, meta.name(current), meta.name(update), templates, collisions)
        plan = decide(seen, self._now())
        self._tell_mistakes(owner)
        fresh = await self._write_status(owner, plan.status)
        if plan.recreating:
            self._recorder.event(owner, "Normal", "RecreateStarted", "Deleting all pods for Recreate update")
        if plan.alone:
            await self._confirm_alone(owner, meta.name(update))
        await self._act(key, fresh, plan)
        live = {meta.name(current), meta.name(update), complete, *map(objects.revision_of, pods)}
        limit = int(owner["spec"].get("revisionHistoryLimit", 10))
        for old in revisions.surplus([*history.values()], live, limit) if not meta.is_terminating(owner) else ():
            await self._client.delete(CONTROLLERREVISIONS, meta.name(old), namespace, uid=meta.uid(old))
        if plan.again_after:
            self.reconciler.queue.add_after(key, plan.again_after)

    def _dated(self, pod: Obj) -> Obj:
        """A node's clock ahead of ours, or ours set back, must not cost a member the difference: it is Ready since we see it so."""
        ready, moment, now = meta.condition(pod, "Ready") or {}, asyncio.get_running_loop().time(), self._now()
        stamp = ready.get("lastTransitionTime") or ""
        if ready.get("status") != "True" or not stamp or (parse_rfc3339(stamp) <= now and meta.uid(pod) not in self._ahead):
            self._ahead.pop(meta.uid(pod), None)
            return pod
        known = self._ahead.get(meta.uid(pod))
        if known is None or known[0] != stamp:
            known = self._ahead[meta.uid(pod)] = (stamp, moment)
        since = min(parse_rfc3339(stamp), now - (moment - known[1]))
        status = pod["status"]
        others = [c for c in status["conditions"] if c["type"] != "Ready"]
        return {**pod, "status": {**status, "conditions": [*others, {**ready, "lastTransitionTime": rfc3339(since)}]}}

    def _caught_up(self, key: str) -> bool:
        """Whether the picture shows every write of pods and revisions we made for this set."""
        if int(self._pods.revision or 0) < self._written.get(key, 0):
            return False
        if int(self._revisions.revision or 0) < self._recorded.get(key, 0):
            return False
        gone = self._deleted.get(key, set())
        if gone:
            gone &= {meta.uid(pod) for pod in self._pods.list(meta.split_key(key)[0]) if not meta.is_terminating(pod)}
        return not gone

    def _wrote(self, key: str, answer: Obj) -> None:
        version = (answer.get("metadata") or {}).get("resourceVersion")
        if version:
            self._written[key] = max(self._written.get(key, 0), int(version))

    async def _act(self, key: str, owner: Obj, plan: Plan) -> None:
        """One batch after another; the first with a failure in it ends the sync, and the key comes back."""
        for batch in _batches(owner, plan.intents):
            outcomes = await asyncio.gather(*(self._carry_out(key, owner, intent) for intent in batch), return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome

    async def _carry_out(self, key: str, owner: Obj, intent: plans.Intent) -> None:
        match intent:
            case plans.CreateMember(pod, claims, after):
                await self._create_claims(owner, pod, claims)
                await self._confirm(owner, after)
                await self._create_pod(key, owner, pod)
            case plans.CreateClaims(pod, claims):
                await self._create_claims(owner, pod, claims)
            case plans.DeleteMember(pod, why, after, as_seen):
                await self._confirm(owner, after)
                await self._delete_pod(key, owner, pod, why, pod["metadata"]["resourceVersion"] if as_seen else "")
            case plans.RepairMember(pod, patch):
                answer = await self._client.patch(PODS, meta.name(pod), meta.namespace(pod), patch)
                self._wrote(key, answer)
            case plans.RollBack():
                await self._roll_back(owner, intent)
            case plans.OwnClaim(claim, owners):
                patch = {"metadata": {"resourceVersion": claim["metadata"]["resourceVersion"], "ownerReferences": owners}}
                await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch)

    async def _confirm(self, owner: Obj, member: Obj | None) -> None:
        """The member a step rests on is well by a live read too: the picture may be late, and order is a promise (SCEN-18)."""
        if member is None:
            return
        live = self._dated(await self._client.get(PODS, meta.name(member), meta.namespace(member)))
        if meta.uid(live) != meta.uid(member) or not objects.is_healthy(owner, live, self._now()):
            raise ApiError(409, "Conflict", f"{meta.name(member)} is not what it was: nothing is done until that is seen")

    async def _confirm_alone(self, owner: Obj, revision: str) -> None:
        """No pod of another revision is there, by a live read: that the picture shows none proves nothing."""
        others = f"{objects.REVISION},{objects.REVISION}!={revision}"
        found = await self._client.list(PODS, meta.namespace(owner), labels=others, metadata_only=True)
        left = [meta.name(pod) for pod in found["items"] if meta.is_controlled_by(pod, owner)]
        if left:
            raise ApiError(409, "Conflict", f"{', '.join(left)} of an older revision is there: nothing is created before that is gone")

    async def _create_claims(self, owner: Obj, pod: Obj, claims: list[Obj]) -> None:
        for claim in claims:
            where = f"Claim {meta.name(claim)}"
            try:
                await self._client.create(PERSISTENTVOLUMECLAIMS, claim, meta.namespace(owner))
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    continue
                text = f"create {where} for Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} failed error: {error.message}"
                self._recorder.event(owner, "Warning", "FailedCreate", text)
                raise
            text = f"create {where} Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} success"
            self._recorder.event(owner, "Normal", "SuccessfulCreate", text)

    async def _create_pod(self, key: str, owner: Obj, pod: Obj) -> None:
        what = f"create Pod {meta.name(pod)} in StatefulSet {meta.name(owner)}"
        try:
            self._wrote(key, await self._client.create(PODS, pod, meta.namespace(owner)))
        except ApiError as error:
            text = f"{what} failed error: {error.message}"
            foreign = self._pods.get(meta.name(pod), meta.namespace(pod))
            if error.reason != "AlreadyExists" or (foreign and not meta.is_controlled_by(foreign, owner)):
                self._recorder.event(owner, "Warning", "FailedCreate", text)
            raise
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"{what} successful")

    async def _delete_pod(self, key: str, owner: Obj, pod: Obj, why: str, revision: str) -> None:
        what = f"delete Pod {meta.name(pod)} in StatefulSet {meta.name(owner)}"
        log.info("%s: %s", what, why)
        try:
            await self._client.delete(PODS, meta.name(pod), meta.namespace(pod), uid=meta.uid(pod), resource_version=revision)
        except ApiError as error:
            if error.code in (404, 409):
                return  # it is gone, or another one has its name: the event of that brings us back
            self._recorder.event(owner, "Warning", "FailedDelete", f"{what} failed error: {error.message}")
            raise
        self._deleted.setdefault(key, set()).add(meta.uid(pod))
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"{what} successful")

    async def _roll_back(self, owner: Obj, to: plans.RollBack) -> None:
        """In the spec, where kubectl and whoever keeps it in version control see it; once for a revision that failed."""
        metadata = {**owner["metadata"], "annotations": {**meta.annotations_of(owner), options.ROLLED_BACK: to.failed}}
        await self._client.update(STATEFULSETS, {**owner, "metadata": metadata, "spec": {**owner["spec"], "template": to.template}})
        text = f"StatefulSet {meta.name(owner)}: revision {to.failed} made no progress, rolled back to revision {to.revision}"
        self._recorder.event(owner, "Warning", "RolledBack", text)

    def _tell_mistakes(self, owner: Obj) -> None:
        """Once for each value, not at each sync."""
        mistakes = options.of(owner).mistakes
        if mistakes and self._told.get(meta.key(owner)) != mistakes:
            for text in mistakes:
                self._recorder.event(owner, "Warning", "InvalidAnnotation", text)
        if mistakes:
            self._told[meta.key(owner)] = mistakes
        else:
            self._told.pop(meta.key(owner), None)

    async def _write_status(self, owner: Obj, status: Obj) -> Obj:
        """The set as it is afterwards."""
        if (owner.get("status") or {}) == status:
            return owner
        fresh = await self._client.update(STATEFULSETS, {**owner, "status": status}, subresource="status")
        before, now = (meta.condition(obj, "Stalled") or {} for obj in (owner, {"status": status}))
        if now.get("reason") == conditions.EXCEEDED != before.get("reason"):
            self._recorder.event(owner, "Warning", conditions.EXCEEDED, now["message"])
        return fresh

    # Adoption and history

    @staticmethod
    def _concerning(informer: Informer, owner: Obj) -> list[Obj]:
        """What is the set's, and what is nobody's."""
        found = [*informer.by_index(OWNER, meta.uid(owner)), *informer.by_index(OWNER, f"/{meta.namespace(owner)}")]
        return sorted(found, key=meta.key)

    async def _claimed_pods(self, owner: Obj) -> list[Obj]:
        """Members that are ours; orphans that fit are adopted, ours that no longer fit are let go."""
        wanted = selectors.from_object(owner["spec"].get("selector"))
        found = []
        for pod in self._concerning(self._pods, owner):
            if not objects.is_member(owner, pod):
                continue
            reference = meta.controller_of(pod)
            fits = wanted.matches(meta.labels_of(pod))
            if reference is not None:
                if reference["uid"] != meta.uid(owner):
                    continue
                if fits:
                    found.append(pod)
                elif not meta.is_terminating(owner):
                    await self._release(pod, owner)
            elif fits and not meta.is_terminating(owner) and not meta.is_terminating(pod):
                found.append(await self._adopt(PODS, pod, owner))
        return found

    async def _adopt(self, resource: object, obj: Obj, owner: Obj) -> Obj:
        """After a live look at the set: a cached one may be deleted already (upstream: recheck before adopting)."""
        live = await self._client.get(STATEFULSETS, meta.name(owner), meta.namespace(owner))
        if meta.uid(live) != meta.uid(owner) or meta.is_terminating(live):
            raise ApiError(409, "Conflict", f"{meta.name(owner)} is not what it was: nothing is adopted")
        owners = [*(obj["metadata"].get("ownerReferences") or []), meta.owner_reference(owner)]
        patch = {"metadata": {"uid": meta.uid(obj), "ownerReferences": owners}}
        assert resource in (PODS, CONTROLLERREVISIONS)
        target = PODS if resource == PODS else CONTROLLERREVISIONS
        return await self._client.patch(target, meta.name(obj), meta.namespace(obj), patch)

    async def _release(self, pod: Obj, owner: Obj) -> None:
        owners = [r for r in pod["metadata"]["ownerReferences"] if r["uid"] != meta.uid(owner)]
        patch = {"metadata": {"uid": meta.uid(pod), "ownerReferences": owners or None}}
        await self._client.patch(PODS, meta.name(pod), meta.namespace(pod), patch)

    async def _history(self, owner: Obj) -> dict[str, Obj]:
        wanted = selectors.from_object(owner["spec"].get("selector"))
        found = {}
        for revision in self._concerning(self._revisions, owner):
            reference = meta.controller_of(revision)
            if reference is None and wanted.matches(meta.labels_of(revision)):
                # A set that goes leaves its revisions to its heir: they count, but are nobody's.
                adopted = not meta.is_terminating(owner)
                found[meta.name(revision)] = await self._adopt(CONTROLLERREVISIONS, revision, owner) if adopted else revision
            elif reference is not None and reference["uid"] == meta.uid(owner):
                found[meta.name(revision)] = revision
        return found

    def _kept(self, owner: Obj, revision: Obj) -> Obj:
        """Until the picture shows it, the next template would get its number too."""
        self._recorded[meta.key(owner)] = meta.revision(revision)
        return revision

    async def _update_revision(self, owner: Obj, history: dict[str, Obj]) -> tuple[Obj, int]:
        """The revision of the present template: found, renumbered (a rollback), or created."""
        collisions = int((owner.get("status") or {}).get("collisionCount") or 0)
        ordered = revisions.in_order([*history.values()])
        newest = ordered[-1]["revision"] if ordered else 0
        while True:
            wanted = revisions.build(owner, newest + 1, collisions)
            same = revisions.find(ordered, wanted)
            if same is not None and same is ordered[-1]:
                return same, collisions
            if meta.is_terminating(owner):
                return same or wanted, collisions  # it makes nothing any more
            if same is not None:
                patch = {"revision": newest + 1}
                renumbered = await self._client.patch(CONTROLLERREVISIONS, meta.name(same), meta.namespace(owner), patch)
                return self._kept(owner, renumbered), collisions
            try:
                return self._kept(owner, await self._client.create(CONTROLLERREVISIONS, wanted, meta.namespace(owner))), collisions
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
            taken = await self._client.get(CONTROLLERREVISIONS, meta.name(wanted), meta.namespace(owner))
            if revisions.equal(taken, wanted) and meta.is_controlled_by(taken, owner):
                return taken, collisions
            if revisions.equal(taken, wanted) and meta.controller_of(taken) is None:
                return await self._adopt(CONTROLLERREVISIONS, taken, owner), collisions  # the picture has not shown it yet
            collisions += 1


def _owner_of(obj: Obj) -> list[str]:
    """The uid of its controller; what has none is found by its namespace."""
    owner = meta.controller_of(obj)
    return [owner["uid"] if owner else f"/{meta.namespace(obj)}"]


def _batches(owner: Obj, intents: Sequence[plans.Intent]) -> Iterator[Sequence[plans.Intent]]:
    """What is carried out side by side: under Parallel, and to clear the way for Recreate, the same for ever more members, so
    that what fails for all fails for few.
    """
    spec = owner["spec"]
    if spec.get("podManagementPolicy") != "Parallel" and (spec.get("updateStrategy") or {}).get("type") != "Recreate":
        yield from ([intent] for intent in intents)
        return
    for _, same in itertools.groupby(intents, type):
        left, size = [*same], 1
        while left:
            yield left[:size]
            left, size = left[size:], min(2 * size, LARGEST_BATCH)
