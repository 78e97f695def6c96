"""Jobs that have ended go ``ttlSecondsAfterFinished`` later, with their pods: after a live read, and only as it was read."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.client.api import Client
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.job import objects
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import JOBS
from holdfast.lib.clock import parse_rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError


def goes_at(job: Obj) -> float | None:
    """Unix seconds; None while it has not ended, or stays, or goes already."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or meta.is_terminating(job):
        return None
    for kind in ("Complete", "Failed"):
        found = meta.condition(job, kind)
        if found is not None and found.get("status") == "True" and found.get("lastTransitionTime"):
            return parse_rfc3339(found["lastTransitionTime"]) + int(ttl)
    return None


class FinishedJobs:
    def __init__(self, client: Client, informers: InformerSet, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now
        self._jobs = informers[JOBS]
        self.reconciler = Reconciler("ttl-after-finished", (self._jobs,), self._sync, workers=1)
        self._jobs.on_change(self._changed)

    def _changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is not None and objects.is_finished(new) and goes_at(new) is not None:
            self.reconciler.queue.add(meta.key(new))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        job = self._jobs.get(name, namespace)
        if job is None or self._waits(key, job):
            return
        try:
            live = await self._client.get(JOBS, name, namespace)
            if not self._waits(key, live):
                revision = live["metadata"]["resourceVersion"]
                await self._client.delete(
                    JOBS, name, namespace, uid=meta.uid(live), resource_version=revision, propagation="Foreground"
                )
        except ApiError as error:
            if error.code != 404:
                raise

    def _waits(self, key: str, job: Obj) -> bool:
        due = goes_at(job)
        if due is None:
            return True
        left = due - self._now()
        if left > 0:
            self.reconciler.queue.add_after(key, left)
        return left > 0
