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
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.ownership import OWNER, Claims, concerning, controller_index
from holdfast.controllers.statefulset import conditions, objects, options, revisions
from holdfast.controllers.statefulset import decide as plans
from holdfast.controllers.statefulset.decide import Plan, Seen, decide
from holdfast.controllers.statefulset.roster import Roster
from holdfast.controllers.statefulset.rosters import Rosters
from holdfast.controllers.writes import LATE_SECONDS, Deletions, OwnWrites, gathering, growing
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from holdfast.machinery import meta, selectors
from holdfast.machinery.errors import ApiError

log = logging.getLogger("holdfast.controllers")
UNTOLD = 10.0
"""Seconds until a set is looked at again after something was done: what is made and removed in between no event need tell of."""


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
        self._rosters = Rosters(self._sets, self._pods)
        self._writes, self._numbered = OwnWrites(self._pods), OwnWrites(self._revisions)
        self._deletions = Deletions(client, recorder, self._writes)
        self._members = Claims(client, STATEFULSETS, self._pods)
        self._records = Claims(client, STATEFULSETS, self._revisions)
        self._stated: dict[str, Obj] = {}
        """Each set as it was after the last status we wrote: the picture may show it later."""
        self._told: dict[str, tuple[str, ...]] = {}
        self._revisions.add_index(OWNER, controller_index)
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)

    async def run(self) -> None:
        await self.reconciler.run()

    # Events to keys

    def _enqueue(self, obj: Obj | None) -> None:
        if obj is not None:
            self.reconciler.queue.add(meta.key(obj))

    def _set_changed(self, old: Obj | None, new: Obj | None) -> None:
        if new is None and old is not None:
            self._rosters.forget(old)
        stated = self._stated.get(meta.key(new)) if new is not None else None
        if new is None or stated is None or meta.revision(stated) != meta.revision(new):  # our own words tell us nothing
            self._enqueue(new or old)

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for key in self._rosters.changed(old, new):
            self._member_changed(key)

    def _member_changed(self, key: str) -> None:
        """Where many members change at a time, not all are looked through at each change of one of them."""
        owner = self._sets.get(*reversed(meta.split_key(key)))
        spec = owner["spec"] if owner else {}
        many = spec.get("podManagementPolicy") == "Parallel"
        self.reconciler.queue.add_after(key, gathering(int(spec.get("replicas") or 0)) if many else 0)

    def _claim_changed(self, old: Obj | None, new: Obj | None) -> None:
        claim = new or old
        if claim is None or (old is not None and new is not None):
            return
        for candidate in self._sets.list(meta.namespace(claim)):
            if f"-{meta.name(candidate)}-" in meta.name(claim):
                self._enqueue(candidate)

    # Keys to writes

    async def _sync(self, key: str) -> None:
        namespace, _ = meta.split_key(key)
        owner = self._newest(key)
        if owner is None:
            self._writes.forget(key)
            self._numbered.forget(key)
            self._stated.pop(key, None)
            self._told.pop(key, None)
            return
        if not self._writes.shown(key) or not self._numbered.shown(key):
            self.reconciler.queue.add_after(key, LATE_SECONDS)
            return
        roster = await self._claimed_pods(owner)
        history = await self._history(owner)
        update, collisions = await self._update_revision(owner, history)
        history = {meta.name(r): r for r in [*history.values(), update]}
        current = history.get((owner.get("status") or {}).get("currentRevision") or "", update)
        complete = conditions.last_complete(owner)
        templates = {n: revisions.template_of(r) for n, r in history.items() if n in (meta.name(current), meta.name(update), complete)}
        seen = Seen(owner, roster, self._claims.space(namespace), meta.name(current), meta.name(update), templates, collisions)
        plan = decide(seen, self._now())
        self._tell_mistakes(owner)
        refused = await self._carry(key, owner, plan)
        live = {meta.name(current), meta.name(update), complete, *roster.revisions()}
        limit = int(owner["spec"].get("revisionHistoryLimit", 10))
        for old in revisions.surplus([*history.values()], live, limit) if not meta.is_terminating(owner) else ():
            await self._client.delete(CONTROLLERREVISIONS, meta.name(old), namespace, uid=meta.uid(old))
        if plan.intents:
            self.reconciler.queue.add_after(key, UNTOLD)
        if plan.again_after:
            self.reconciler.queue.add_after(key, plan.again_after)
        if refused is not None and not plan.intents:  # what was done brings us back, and there is no need to wait ever longer
            raise refused

    def _newest(self, key: str) -> Obj | None:
        """The set as the picture shows it, or as our own last status left it."""
        namespace, name = meta.split_key(key)
        seen, stated = self._sets.get(name, namespace), self._stated.get(key)
        if seen is None or stated is None or meta.uid(seen) != meta.uid(stated):
            return seen
        return max(seen, stated, key=meta.revision)

    async def _carry(self, key: str, owner: Obj, plan: Plan) -> ApiError | None:
        """Status and intents; the server's refusal of the status, which holds no member up (R-38).

        As upstream the status comes behind a single step: the event of that brings us back, and there is more to say then.
        """
        single = len(plan.intents) == 1 and isinstance(plan.intents[0], plans.CreateMember | plans.DeleteMember)
        later = single and (owner.get("status") or {}).get("observedGeneration") == plan.status["observedGeneration"]
        refused: ApiError | None = None
        fresh = owner
        if not later:
            try:
                fresh = await self._write_status(key, owner, plan.status)
            except ApiError as error:
                if error.reason not in ("Invalid", "Forbidden"):
                    raise
                refused = error
        if plan.recreating:
            self._recorder.event(owner, "Normal", "RecreateStarted", "Deleting all pods for Recreate update")
        try:
            if plan.alone:
                await self._confirm_alone(owner, plan.status["updateRevision"])
            await self._act(key, fresh, plan)
        except Exception:
            if later:
                await self._write_status(key, owner, plan.status)
            raise
        return refused

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
                self._writes.wrote(key, answer)
            case plans.RollBack():
                await self._roll_back(owner, intent)
            case plans.OwnClaim(claim, owners):
                patch = {"metadata": {"resourceVersion": claim["metadata"]["resourceVersion"], "ownerReferences": owners}}
                await self._client.patch(PERSISTENTVOLUMECLAIMS, meta.name(claim), meta.namespace(claim), patch)

    async def _confirm(self, owner: Obj, member: Obj | None) -> None:
        """The member a step rests on is well by a live read too: the picture may be late, and order is a promise (SCEN-18)."""
        if member is None:
            return
        live = await self._client.get(PODS, meta.name(member), meta.namespace(member))
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
            self._writes.wrote(key, await self._client.create(PODS, pod, meta.namespace(owner)))
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
        texts = {"done": f"{what} successful", "failed": f"{what} failed error"}
        await self._deletions.delete(key, owner, pod, **texts, revision=revision)

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

    async def _write_status(self, key: str, owner: Obj, status: Obj) -> Obj:
        """The set as it is afterwards."""
        held = owner.get("status") or {}
        if held == status:
            return owner
        fresh = await self._client.update(STATEFULSETS, {**owner, "status": status}, subresource="status")
        self._stated[key] = fresh
        if _gist(held) != _gist(status):
            self.reconciler.queue.add(key)
        before, now = (meta.condition(obj, "Stalled") or {} for obj in (owner, {"status": status}))
        if now.get("reason") == conditions.EXCEEDED != before.get("reason"):
            self._recorder.event(owner, "Warning", conditions.EXCEEDED, now["message"])
        return fresh

    # Adoption and history

    async def _claimed_pods(self, owner: Obj) -> Roster:
        """Members that are ours; orphans that fit are adopted, ours that no longer fit are let go."""
        kept = self._rosters.of(owner)
        if not meta.is_terminating(owner):
            for pod in [*kept.strangers.values()]:
                await self._members.release(pod, owner)
            for pod in self._rosters.orphans(owner):
                kept.put(await self._members.adopt(pod, owner))
        return kept.roster

    async def _history(self, owner: Obj) -> dict[str, Obj]:
        wanted = selectors.from_object(owner["spec"].get("selector"))
        found = {}
        for revision in concerning(self._revisions, owner):
            reference = meta.controller_of(revision)
            if reference is None and wanted.matches(meta.labels_of(revision)):
                # A set that goes leaves its revisions to its heir: they count, but are nobody's.
                adopted = not meta.is_terminating(owner)
                found[meta.name(revision)] = await self._records.adopt(revision, owner) if adopted else revision
            elif reference is not None and reference["uid"] == meta.uid(owner):
                found[meta.name(revision)] = revision
        # A creation whose outcome stayed unknown may have left two of one number, and then a third came.
        for revision, number in revisions.raised([*found.values()]) if not meta.is_terminating(owner) else ():
            patch = {"metadata": {"resourceVersion": revision["metadata"]["resourceVersion"]}, "revision": number}
            answer = await self._client.patch(CONTROLLERREVISIONS, meta.name(revision), meta.namespace(owner), patch)
            found[meta.name(revision)] = self._kept(owner, answer)
        return found

    def _kept(self, owner: Obj, revision: Obj) -> Obj:
        """Before the picture shows it, the next template would get the same number."""
        self._numbered.wrote(meta.key(owner), revision)
        return revision

    async def _update_revision(self, owner: Obj, history: dict[str, Obj]) -> tuple[Obj, int]:
        """The revision of the present template: found, renumbered (a rollback), or created."""
        collisions = int((owner.get("status") or {}).get("collisionCount") or 0)
        ordered = revisions.in_order([*history.values()])
        newest = ordered[-1]["revision"] if ordered else 0
        if ordered and ordered[-1]["data"] == revisions.data_of(owner):
            return ordered[-1], collisions  # nearly always, and without a hash
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
            if revisions.equal(taken, wanted) and meta.controller_of(taken) is None:  # an orphan that the picture does not show yet
                return await self._records.adopt(taken, owner), collisions
            collisions += 1


def _gist(status: Obj) -> Obj:
    """What of a status the next look at the set rests on; the rest says only what this look has found."""
    kept = {name: status.get(name) for name in ("observedGeneration", "currentRevision", "updateRevision", "collisionCount")}
    return kept | {c["type"]: (c.get("status"), c.get("reason")) for c in status.get("conditions") or ()}


def _batches(owner: Obj, intents: Sequence[plans.Intent]) -> Iterator[Sequence[plans.Intent]]:
    """What is carried out side by side: under Parallel, and to clear the way for Recreate, the same for ever more members, so
    that what fails for all fails for few.
    """
    spec = owner["spec"]
    if spec.get("podManagementPolicy") != "Parallel" and (spec.get("updateStrategy") or {}).get("type") != "Recreate":
        yield from ([intent] for intent in intents)
        return
    for _, same in itertools.groupby(intents, type):
        yield from growing([*same])
