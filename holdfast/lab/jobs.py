"""Jobs in the lab: a story, what rest is for them, and a ledger of every pod that any status ever counted.

The ledger sees each commit. A pod may be named as ended once, and what ended may lose its finalizer only when it is named.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import orjson

from holdfast.controllers import pods as state
from holdfast.controllers.job import objects
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import JOBS
from holdfast.lab.judge import POD, Judge
from holdfast.lab.stage import Stage
from holdfast.lab.world import World
from holdfast.machinery import meta
from holdfast.machinery.names import ALPHABET
from holdfast.store.api import Change

JOB = "/registry/jobs/"
NAMESPACE = "default"
_GENERATED = re.compile(rf"-[{ALPHABET}]{{5}}$")


def is_of_job(pod: Obj) -> bool:
    return (meta.controller_of(pod) or {}).get("kind") == "Job"


def stem(key: str) -> str:
    """The key of a pod without the generated end of its name."""
    return _GENERATED.sub("-", key)


def a_job(name: str, *command: str, **spec: Any) -> Obj:
    container = {"name": "main", "image": "one", "command": [*command]}
    template = {"automountServiceAccountToken": False, "restartPolicy": "Never", "terminationGracePeriodSeconds": 5}
    full = {"backoffLimit": 100, "template": {"spec": {**template, "containers": [container]}}, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": full}


class Ledger:
    """Of the jobs without indexes, whose ends are counted by uid."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._named: dict[str, set[str]] = {}
        self._awaited: dict[str, str] = {}
        """Uid of each pod that has ended and is tracked: its job's."""

    def told(self, change: Change) -> None:
        if not change.record.key.startswith((JOB, POD)):
            return
        obj = orjson.loads(change.record.value)
        if change.record.key.startswith(POD):
            self._pod(obj)
        elif change.type != "delete" and not objects.is_indexed(obj):
            self._job(obj)

    def _job(self, job: Obj) -> None:
        status, named = job.get("status") or {}, self._named.setdefault(meta.uid(job), set())
        now = [uid for uids in (status.get("uncountedTerminatedPods") or {}).values() for uid in uids]
        named |= set(now)
        counted = status.get("succeeded", 0) + status.get("failed", 0)
        if counted + len(now) != len(named):
            self._judge.says("P-17", f"job {meta.name(job)} counts {counted} pods and names {len(now)}; {len(named)} were named in all")

    def _pod(self, pod: Obj) -> None:
        uid = meta.uid(pod)
        if state.has_ended(pod) and objects.is_tracked(pod) and is_of_job(pod):
            self._awaited[uid] = (meta.controller_of(pod) or {})["uid"]
        elif uid in self._awaited and not objects.is_tracked(pod):
            named = self._named.get(self._awaited.pop(uid))
            mine = [job for job in self._judge.objects(JOB) if meta.is_controlled_by(pod, job) and not meta.is_terminating(job)]
            if mine and named is not None and uid not in named:
                self._judge.says("P-17", f"pod {meta.name(pod)} has ended and is never counted")


def unlike(judge: Judge) -> str:
    """What is not yet as it should be; "" when all is."""
    jobs = {meta.uid(job): job for job in judge.objects(JOB)}
    pods = [pod for pod in judge.objects(POD) if is_of_job(pod)]
    for pod in pods:
        if (meta.controller_of(pod) or {})["uid"] not in jobs:
            return f"pod {meta.name(pod)} is left of a job"
    for job in jobs.values():
        mine = [pod for pod in pods if meta.is_controlled_by(pod, job)]
        if why := _unlike_job(job, mine):
            return f"job {meta.name(job)} {why}"
    return ""


def _unlike_job(job: Obj, pods: list[Obj]) -> str:
    status = job.get("status") or {}
    if meta.is_terminating(job):
        return "is being deleted"
    if any(not state.has_ended(pod) for pod in pods):
        return "has pods that run"
    if objects.is_suspended(job):
        return "" if meta.condition_true(job, "Suspended") and not status.get("active") else "does not rest"
    if not objects.is_finished(job):
        return "has not ended"
    if any(objects.is_tracked(pod) for pod in pods) or status.get("uncountedTerminatedPods"):
        return "has pods that are not counted"
    if meta.condition_true(job, "Complete") and status.get("succeeded", 0) < job["spec"]["completions"]:
        return "is complete too early"
    return ""


async def job(stage: Stage) -> None:
    """Jobs that succeed, fail, are indexed, rest and go on, and are deleted while they run."""
    ledger, told = Ledger(stage.judge), stage.world.store.told

    def also(*change: Any) -> None:
        told(*change)
        ledger.told(change[0])

    stage.world.store.told = also
    world = stage.world  # its user is another one after each crash of the server
    made = [
        a_job("work", "sleep", "2", parallelism=2, completions=3),
        a_job("index", "sleep", "1", parallelism=2, completions=3, completionMode="Indexed"),
        a_job("bad", "false", backoffLimit=1),
    ]
    for each in made:
        await stage.do(partial(_create, world, each))
    await stage.rest()
    await stage.do(partial(_create, world, a_job("slow", "sleep", "60", parallelism=2, completions=2)))
    if not stage.hasty:
        await stage.until(lambda: "" if _active(stage.judge, "slow") == 2 else "the slow job does not begin")
    await stage.do(lambda: world.user.patch(JOBS, "slow", NAMESPACE, {"spec": {"suspend": True}}))
    await stage.rest()
    await stage.do(lambda: world.user.patch(JOBS, "slow", NAMESPACE, {"spec": {"suspend": False}}))
    await stage.rest()
    await stage.do(lambda: world.user.delete(JOBS, "work", NAMESPACE, propagation="Background"))
    await stage.do(lambda: world.user.delete(JOBS, "index", NAMESPACE, propagation="Foreground"))
    await stage.rest()


async def _create(world: World, job: Obj) -> None:
    await world.user.create(JOBS, job, NAMESPACE)


def _active(judge: Judge, name: str) -> int:
    found = judge.object(f"{JOB}{NAMESPACE}/{name}")
    return int(((found or {}).get("status") or {}).get("active") or 0)
