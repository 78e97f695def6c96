"""Pods that wait for a count which no job will make: the job is gone, has ended, or let them go. Their finalizer is removed.

That the job is gone is asked of the server; the pod must be as it was seen there, so that one which is adopted meanwhile stays tracked.
"""

from __future__ import annotations

from holdfast.client.api import STRATEGIC_PATCH, Client, find
from holdfast.client.informer import InformerSet
from holdfast.client.reconciler import Reconciler
from holdfast.controllers.job import objects
from holdfast.controllers.ownership import owned
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import JOBS, PODS
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError


class JobLeftovers:
    """After ``JobController``, whose index of pods it uses."""

    def __init__(self, client: Client, informers: InformerSet) -> None:
        self._client = client
        self._jobs, self._pods = informers[JOBS], informers[PODS]
        self.reconciler = Reconciler("job-leftovers", (self._jobs, self._pods), self._sync, workers=1)
        self._jobs.on_change(self._job_changed)
        self._pods.on_change(self._pod_changed)

    def _job_changed(self, old: Obj | None, new: Obj | None) -> None:
        job = new or old
        if job is not None and (new is None or objects.is_finished(new)):
            for pod in owned(self._pods, meta.uid(job)):
                self._pod_changed(None, pod)

    def _pod_changed(self, _old: Obj | None, new: Obj | None) -> None:
        if new is not None and objects.is_tracked(new) and not self._is_awaited(new, self._job_of(new)):
            self.reconciler.queue.add(meta.key(new))

    def _job_of(self, pod: Obj) -> Obj | None:
        owner = meta.controller_of(pod)
        return self._jobs.get(owner["name"], meta.namespace(pod)) if owner else None

    @staticmethod
    def _is_awaited(pod: Obj, job: Obj | None) -> bool:
        """Whether someone still counts it. ``job``: of its controller's name."""
        owner = meta.controller_of(pod)
        if owner is None:
            return False
        if owner["kind"] != "Job" or not owner["apiVersion"].startswith("batch/"):
            return True
        return job is not None and meta.uid(job) == owner["uid"] and not (objects.is_finished(job) and objects.is_ours(job))

    async def _sync(self, key: str) -> None:
        namespace, name = meta.split_key(key)
        if self._pods.get(name, namespace) is None:
            return
        pod = await find(self._client, PODS, name, namespace)
        if pod is None or not objects.is_tracked(pod):
            return
        owner = meta.controller_of(pod)
        job = await find(self._client, JOBS, owner["name"], namespace) if owner and owner["kind"] == "Job" else None
        if self._is_awaited(pod, job):
            return
        metadata = {key: pod["metadata"][key] for key in ("uid", "resourceVersion")}
        patch = {"metadata": {**metadata, **objects.WITHOUT_FINALIZER}}
        try:
            await self._client.patch(PODS, name, namespace, patch, content_type=STRATEGIC_PATCH)
        except ApiError as error:
            if error.code != 404:
                raise
