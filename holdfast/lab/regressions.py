"""Stories of what went wrong elsewhere: each takes a set to where a bug of Kubernetes' history (or of an operator's) once bit.

They are told like all others, with every fault; which bug each is for stands in tests/lab/bugs.
"""

from __future__ import annotations

import asyncio

from holdfast.controllers.statefulset import options
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONTROLLERREVISIONS
from holdfast.lab.judge import MOMENT, POD, REVISION, SET
from holdfast.lab.stage import NAMESPACE, Stage, a_set, template
from holdfast.lab.stories import Story
from holdfast.lab.world import MISSING
from holdfast.machinery import meta
from holdfast.node.runtimes.api import InstanceConfig


async def again(stage: Stage) -> None:
    """Deleted, and made again under its name before its pods have gone."""
    await stage.begin(a_set(2))
    await stage.unsettled(lambda: stage.delete(propagation="Background"))
    await stage.begin(a_set(2))


async def sick_and_surplus(stage: Stage) -> None:
    """The last member never becomes Ready, and is then one too many (R-40)."""
    await stage.begin(a_set(2, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}))
    await stage.until(lambda: "" if _has_begun(stage) else "the set has no revision yet")
    await stage.unsettled(lambda: stage.update(MISSING))
    if not stage.hasty:
        await stage.until(lambda: "" if MISSING in stage.images() else "nobody has the broken image yet")
    await stage.change(replicas=1)


def _has_begun(stage: Stage) -> bool:
    """A user who is faster than the first status has his second template taken for the first one."""
    return any((owner.get("status") or {}).get("currentRevision") for owner in stage.judge.objects(SET))


async def unstick(stage: Stage) -> None:
    """Opted in, a set under OrderedReady gets out of a bad revision by itself after a revert (R-39)."""
    owner = a_set(2, claims=False)
    owner["metadata"]["annotations"] = {options.UNSTICK: "true"}
    await stage.begin(owner)
    await stage.until(lambda: "" if _has_begun(stage) else "the set has no revision yet")
    await stage.unsettled(lambda: stage.update(MISSING, claims=False))
    if not stage.hasty:
        await stage.until(lambda: "" if MISSING in stage.images() else "nobody has the broken image yet")
    await stage.update("one", claims=False)


async def ended(stage: Stage) -> None:
    """A machine that shuts down in good order marks its members as ended: Succeeded or Failed, they are replaced (R-46, R-47)."""
    await stage.begin(a_set(2))
    for number, phase in ((1, "Succeeded"), (0, "Failed")):
        await stage.mark(f"web-{number}", {"phase": phase})
        await stage.rest()
    for machine in stage.world.machines.values():
        machine.heeds = lambda _config, _signal: False
    await stage.remove("web-1")  # it fails while it is going, and takes its time
    await stage.mark("web-1", {"phase": "Failed"})
    await asyncio.sleep(3)
    for machine in stage.world.machines.values():
        machine.heeds = lambda _config, _signal: True
    await stage.rest()


async def sick(stage: Stage) -> None:
    """A member is not Ready for a while: nobody is led to it (R-49)."""
    await stage.begin(a_set(2, claims=False))
    for machine in stage.world.machines.values():
        machine.is_well = _all_but_the_last
    pod = f"{POD}{NAMESPACE}/web-1"
    for _ in range(120):
        await stage.until(lambda: "" if not stage.judge.strict or _is_sick(stage, pod) else "it is not sick yet")
        await asyncio.sleep(0.25)
        stage.look()
    for machine in stage.world.machines.values():
        machine.is_well = lambda _config: True
    await stage.rest()


async def sick_and_more(stage: Stage) -> None:
    """A member is not Ready when its set is to grow: the next one waits for it (SCEN-18)."""
    await stage.begin(a_set(2, claims=False))
    for machine in stage.world.machines.values():
        machine.is_well = _all_but_the_last
    pod = f"{POD}{NAMESPACE}/web-1"
    await stage.until(lambda: "" if stage.hasty or _is_sick(stage, pod) else "it is not sick yet")
    await asyncio.sleep(MOMENT)
    await stage.unsettled(lambda: stage.change(replicas=3))
    await asyncio.sleep(5)
    for machine in stage.world.machines.values():
        machine.is_well = lambda _config: True
    await stage.rest()


def _all_but_the_last(config: InstanceConfig) -> bool:
    return config.pod_name != "web-1"


def _is_sick(stage: Stage, key: str) -> bool:
    pod = stage.judge.object(key)
    return pod is not None and not stage.judge.is_ready(pod)


async def short_lived(stage: Stage) -> None:
    """A member is deleted as soon as it is Ready: who hears late hears only that it is gone (SCEN-14)."""
    await stage.make(a_set(2, claims=False))
    pod = f"{POD}{NAMESPACE}/web-1"
    await stage.until(lambda: "" if stage.hasty or _is_ready(stage, pod) else "it is not Ready yet")
    await stage.delete_pod(1)


def _is_ready(stage: Stage, key: str) -> bool:
    pod = stage.judge.object(key)
    return pod is not None and stage.judge.is_ready(pod)


async def upgrade(stage: Stage) -> None:
    """The history that an older release wrote, with nulls where nothing stands now, is the same history (R-48)."""
    await stage.begin(a_set(2))
    before = {meta.uid(pod) for pod in stage.judge.objects(POD)}
    await stage.unsettled(lambda: stage.delete(propagation="Orphan"))
    for revision in stage.judge.objects(REVISION):
        await stage.do(lambda r=revision: stage.world.user.delete(CONTROLLERREVISIONS, meta.name(r), NAMESPACE))  # type: ignore[misc]
        await stage.do(lambda r=revision: stage.world.user.create(CONTROLLERREVISIONS, _as_once_written(r), NAMESPACE))  # type: ignore[misc]
    await stage.begin(a_set(2))
    if not stage.hasty and not stage.world.lost and before != {meta.uid(pod) for pod in stage.judge.objects(POD)}:
        stage.judge.says("P-8", "members are replaced by a set whose template has not changed")


def _as_once_written(revision: Obj) -> Obj:
    metadata = {"name": meta.name(revision), "namespace": NAMESPACE, "labels": revision["metadata"]["labels"]}
    template = revision["data"]["spec"]["template"]
    data = {"spec": {"template": {**template, "metadata": {"creationTimestamp": None, **template["metadata"]}}}}
    return {**{k: revision[k] for k in ("apiVersion", "kind", "revision")}, "metadata": metadata, "data": data}


async def slowly(stage: Stage) -> None:
    """Members count only after a while (R-44)."""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    await stage.begin(a_set(3, podManagementPolicy="Parallel", minReadySeconds=10, updateStrategy=strategy, claims=False))
    await stage.change(template=template(image="two", claims=False))
    await stage.change(replicas=2)


REGRESSIONS: dict[str, Story] = {
    "again": again,
    "sick-and-surplus": sick_and_surplus,
    "unstick": unstick,
    "ended": ended,
    "sick": sick,
    "sick-and-more": sick_and_more,
    "short-lived": short_lived,
    "upgrade": upgrade,
    "slowly": slowly,
}
