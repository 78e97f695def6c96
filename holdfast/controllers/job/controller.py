"""The outside of the job controller: events to keys, plans to API writes, the status first.

A count rests on live reads: a pod is named as ended while it still carries the finalizer, and counted when it carries it no
more, by what the server says and not by what the picture lacks. So no crash, late picture or lost answer counts one twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from holdfast.client.api import STRATEGIC_PATCH, Client
from holdfast.client.events import EventRecorder
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers import pods as state
from holdfast.controllers.job import decide as plans
from holdfast.controllers.job import objects
from holdfast.controllers.job.backoff import Backoff
from holdfast.controllers.job.decide import Plan, Seen, decide
from holdfast.controllers.ownership import OWNER, Claims, concerned, controller_index
from holdfast.controllers.writes import LATE_SECONDS, Creations, Deletions, OwnWrites, growing
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import JOBS, PODS
from holdfast.lib.clock import Clock
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError, UnknownOutcomeError, is_namespace_terminating


class JobController:
    def __init__(self, client: Client, informers: InformerSet, recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._jobs, self._pods = informers[JOBS], informers[PODS]
        self.reconciler = Reconciler("job", (self._jobs, self._pods), self._sync)
        self._writes, self._creations = OwnWrites(self._pods), Creations(client, self._pods)
        self._deletions = Deletions(client, recorder, self._writes)
        self._members = Claims(client, JOBS, self._pods, objects.FINALIZER)
        self._known: dict[str, str] = {}
        """Uid of the job that what is kept of a key is about."""
        self._reported: dict[str, int] = {}
        """Revision of the last status written, by key."""
        self._backoffs: dict[str, Backoff] = {}
        self._failed_at: dict[str, dict[str, float]] = {}
        self._untracked: dict[str, set[str]] = {}
        """Uids of pods whose finalizer we saw go."""
        self._pods.add_index(OWNER, controller_index)
        self._jobs.on_change(self._job_changed)
        self._pods.on_change(self._pod_changed)

    def _job_changed(self, old: Obj | None, new: Obj | None) -> None:
        job = new or old
        if job is not None:
            self.reconciler.queue.add(meta.key(job))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        for job in concerned(self._jobs, old, new, objects.selector):
            self.reconciler.queue.add(meta.key(job))

    def _forget(self, key: str) -> None:
        self._writes.forget(key)
        self._creations.forget(key)
        tables: tuple[dict[str, Any], ...] = (self._known, self._reported, self._backoffs, self._failed_at, self._untracked)
        for table in tables:
            table.pop(key, None)

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        job = self._jobs.get(name, namespace)
        if job is None or objects.is_finished(job) or not objects.is_ours(job):
            self._forget(key)
            return
        if self._known.get(key) != meta.uid(job):
            self._forget(key)
            self._known[key] = meta.uid(job)
        if not await self._shown(key, job):
            self.reconciler.queue.add_after(key, LATE_SECONDS)
            return
        pods = await self._members.take(job, objects.selector(job))
        await self._confirm_gone(key, job, pods)
        seen = Seen(job, pods, self._pods.space(namespace), self._backoffs.get(key, Backoff()), self._failures(key, pods))
        plan = decide(seen, self._clock.now(), self._clock.monotonic())
        await asyncio.gather(*(self._confirm_tracked(pod) for pod in plan.counted))
        fresh = await self._write_status(key, job, plan.status)
        self._backoffs[key] = plan.backoff
        for event in plan.events:
            self._recorder.event(fresh, *event)
        await self._act(key, fresh, plan)
        if plan.again_after:
            self.reconciler.queue.add_after(key, plan.again_after)

    async def _shown(self, key: str, job: Obj) -> bool:
        """Whether the picture shows what we wrote of this job."""
        if meta.revision(job) < self._reported.get(key, 0):
            return False
        return self._writes.shown(key) and await self._creations.shown(key)

    def _failures(self, key: str, pods: Iterable[Obj]) -> dict[str, float]:
        """When each pod that failed, or goes, was first seen to."""
        known, moment = self._failed_at.get(key, {}), self._clock.monotonic()
        failed = [pod for pod in pods if state.phase(pod) == "Failed" or objects.is_leaving(pod)]
        self._failed_at[key] = {meta.uid(pod): known.get(meta.uid(pod), moment) for pod in failed}
        return self._failed_at[key]

    async def _write_status(self, key: str, job: Obj, status: Obj) -> Obj:
        """The job as it is afterwards."""
        if (job.get("status") or {}) == status:
            return job
        fresh = await self._client.update(JOBS, {**job, "status": status}, subresource="status")
        self._reported[key] = meta.revision(fresh)
        uncounted = status.get("uncountedTerminatedPods") or {}
        self._untracked.get(key, set()).intersection_update({uid for uids in uncounted.values() for uid in uids})
        return fresh

    # What a count rests on

    async def _confirm_tracked(self, pod: Obj) -> None:
        live = await self._client.get(PODS, meta.name(pod), meta.namespace(pod))
        if meta.uid(live) != meta.uid(pod) or not objects.is_tracked(live):
            raise ApiError(409, "Conflict", f"{meta.name(pod)} is not what it was: it is not counted before that is seen")

    async def _confirm_gone(self, key: str, job: Obj, pods: Iterable[Obj]) -> None:
        """A pod that is named as ended and not in the picture may still be there, tracked: the server is asked."""
        uncounted = (job.get("status") or {}).get("uncountedTerminatedPods") or {}
        missing = {uid for uids in uncounted.values() for uid in uids} - {meta.uid(pod) for pod in pods}
        missing -= self._untracked.get(key, set())
        if not missing:
            return
        live = await self._client.list(PODS, meta.namespace(job))
        for pod in live["items"]:
            if meta.uid(pod) in missing and objects.is_tracked(pod):
                raise ApiError(409, "Conflict", f"{meta.name(pod)} is not seen yet: nothing is counted before that")

    # Acts

    async def _act(self, key: str, job: Obj, plan: Plan) -> None:
        creates = [intent for intent in plan.intents if isinstance(intent, plans.CreatePod)]
        await _all(self._carry_out(key, job, intent) for intent in plan.intents if not isinstance(intent, plans.CreatePod))
        for batch in growing(creates):
            await _all(self._create(key, job, intent.pod) for intent in batch)

    async def _carry_out(self, key: str, job: Obj, intent: plans.Intent) -> None:
        match intent:
            case plans.Untrack(pod):
                await self._untrack(key, pod)
            case plans.LetGo(pod):
                # Only as it was seen: one that has ended meanwhile is to be counted.
                if not objects.is_tracked(pod) or await self._untrack(key, pod, pod["metadata"]["resourceVersion"]):
                    await self._deletions.delete(key, job, pod)
            case plans.DeletePod(pod):
                await self._deletions.delete(key, job, pod)

    async def _untrack(self, key: str, pod: Obj, revision: str = "") -> bool:
        """Whether the pod is still there. ``revision``: only if it still is of that."""
        metadata: Obj = {"uid": meta.uid(pod), **objects.WITHOUT_FINALIZER}
        if revision:
            metadata["resourceVersion"] = revision
        there = True
        try:
            answer = await self._client.patch(
                PODS, meta.name(pod), meta.namespace(pod), {"metadata": metadata}, content_type=STRATEGIC_PATCH
            )
            self._writes.wrote(key, answer)
        except ApiError as error:
            if error.code != 404:
                raise
            there = False
        self._untracked.setdefault(key, set()).add(meta.uid(pod))
        return there

    async def _create(self, key: str, job: Obj, pod: Obj) -> None:
        name = meta.name(pod)
        try:
            made = await self._client.create(PODS, pod, meta.namespace(job))
        except UnknownOutcomeError:
            self._creations.made(key, name)
            raise
        except ApiError as error:
            if error.reason == "AlreadyExists":
                # Perhaps by ourselves, and the answer was lost; whoever's it is, its name is taken when it is seen.
                self._creations.made(key, name)
            elif not is_namespace_terminating(error):
                self._recorder.event(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
            raise
        self._writes.wrote(key, made)
        self._creations.made(key, name, meta.uid(made))
        self._recorder.event(job, "Normal", "SuccessfulCreate", f"Created pod: {name}")


async def _all(work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Side by side; raises the first failure when all have ended."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
