"""Stories: what a user does to StatefulSets, step by step. After each step the cluster may have come to rest, or not yet.

``Stage.rest`` waits until everything is as it was asked for, in the store and on the machines; the last rest of a
story comes when nothing goes wrong any more, and ends in quiet.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.controllers.statefulset import objects
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import DEPLOYMENTS, NODES, PERSISTENTVOLUMECLAIMS, PODS, SERVICES, STATEFULSETS
from holdfast.lab import jobs, replicas, volumes
from holdfast.lab.judge import CLAIM, POD, REVISION, SET
from holdfast.lab.world import MISSING, World
from holdfast.lib import dnswire
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError

NAMESPACE = "default"
PATIENCE = 3000.0
QUIET = 45.0
MOST_WRITES = 6000
"""A world has some hundreds: one that has so many goes round in circles."""
OFTEN, SELDOM = 0.25, 5.0
"""Seconds between two looks, in the first minute and then."""
RECORD_LIFE = 10.0
"""Seconds that a name may lag behind its member."""
MOST_MEMBERS = 4


def template(*, image: str = "one", claims: bool = True) -> Obj:
    mounts = [{"name": "www", "mountPath": "/data"}] if claims else []
    container = {"name": "main", "image": image, "volumeMounts": mounts}
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 1}
    spec: Obj = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [{**container, "readinessProbe": probe}],
    }
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def a_set(replicas: int = 3, *, claims: bool = True, **spec: Any) -> Obj:
    found: Obj = {
        "replicas": replicas,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(claims=claims),
        **spec,
    }
    if claims:
        wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        found["volumeClaimTemplates"] = [{"metadata": {"name": "www"}, "spec": wanted}]
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": found}


SERVICE: Obj = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]},
}


class Stage:
    """The user of one world. ``hasty``: he does not wait for rest between his steps."""

    def __init__(self, world: World, *, hasty: bool = False) -> None:
        self.world = world
        self.hasty = hasty
        self.judge = world.judge
        self._untrue: dict[int, float] = {}
        self.clocks_apart = 0.0
        """Seconds by which the API's times may be wrong: minReadySeconds count from them, as upstream."""

    async def do(self, work: Callable[[], Awaitable[Any]]) -> None:
        """A step of the user, repeated until the server has taken it."""
        for _ in range(100):
            await self.world.up()
            try:
                await work()
            except ApiError as error:
                if error.reason in ("AlreadyExists", "NotFound"):
                    return
                if error.code not in (409, 500, 503):
                    raise
                await asyncio.sleep(0.05)
            else:
                return
        raise AssertionError("the server never takes what the user wants")

    async def begin(self, owner: Obj) -> None:
        await self.do(lambda: self.world.user.create(SERVICES, SERVICE, NAMESPACE))
        await self.do(lambda: self.world.user.create(STATEFULSETS, copy.deepcopy(owner), NAMESPACE))
        await self.rest()

    async def change(self, **spec: Any) -> None:
        await self.do(lambda: self.world.user.patch(STATEFULSETS, "web", NAMESPACE, {"spec": spec}))
        await self.rest()

    async def update(self, image: str, *, claims: bool = True) -> None:
        await self.change(template=template(image=image, claims=claims))

    async def delete(self, *, propagation: str = "Background") -> None:
        await self.do(lambda: self.world.user.delete(STATEFULSETS, "web", NAMESPACE, propagation=propagation))
        await self.until(lambda: "the set is still there" if self.judge.object(f"{SET}{NAMESPACE}/web") else "")
        await self.rest()

    async def deploy(self, owner: Obj) -> None:
        await self.do(lambda: self.world.user.create(DEPLOYMENTS, copy.deepcopy(owner), NAMESPACE))
        await self.rest()

    async def alter(self, **spec: Any) -> None:
        await self.do(lambda: self.world.user.patch(DEPLOYMENTS, "shop", NAMESPACE, {"spec": spec}))
        await self.rest()

    async def delete_pod(self, number: int, *, force: bool = False) -> None:
        await self.remove(f"web-{number}", force=force)
        await self.rest()

    async def remove(self, name: str, *, force: bool = False) -> None:
        """The user deletes a pod. By force: he vouches that nothing of it runs, whether that is true or not."""
        pod = self.judge.object(f"{POD}{NAMESPACE}/{name}")
        if pod is not None and force:
            self.judge.vouched.add(meta.uid(pod))
        uid = meta.uid(pod) if pod is not None else ""
        await self.do(lambda: self.world.user.delete(PODS, name, NAMESPACE, uid=uid, grace_period=0 if force else None))

    async def mark(self, name: str, status: Obj) -> None:
        """Somebody other than the node's own worker reports about a pod."""
        pod = self.judge.object(f"{POD}{NAMESPACE}/{name}")
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": status} if pod is not None else {}
        if pod is not None:
            await self.do(lambda: self.world.user.patch(PODS, name, NAMESPACE, patch, subresource="status"))

    async def delete_claim(self, number: int) -> None:
        await self.do(lambda: self.world.user.delete(PERSISTENTVOLUMECLAIMS, f"www-web-{number}", NAMESPACE))

    async def lose_node(self, name: str) -> None:
        """Its power is gone for good, and the user says so."""
        await self.world.processes[name].halt()
        self.world.cut(name)
        self.world.machines[name].power_off()
        self.world.ledger.away.add(name)
        self.judge.vouched |= {meta.uid(p) for p in self.judge.objects(POD) if p["spec"].get("nodeName") == name}
        await self.do(lambda: self.world.user.delete(NODES, name))
        await self.rest()

    def images(self) -> set[str]:
        return {container["image"] for pod in self.judge.objects(POD) for container in pod["spec"]["containers"]}

    async def unsettled(self, step: Callable[[], Awaitable[None]]) -> None:
        """A step after which nothing comes to rest."""
        hasty, self.hasty = self.hasty, True
        await step()
        self.hasty = hasty

    # Rest

    async def rest(self) -> None:
        if self.hasty:
            await asyncio.sleep(self.world.loop.random.uniform(0, 8))
            return
        await self._until_right()

    async def _until_right(self) -> None:
        await self.until(lambda: unlike(self.world))

    async def until(self, what_is_wrong: Callable[[], str]) -> None:
        begun = self.world.loop.time()
        while why := what_is_wrong():
            if self.judge.strict:
                self.look()
            if self.world.loop.time() > begun + PATIENCE + self.clocks_apart or self.judge.writes > MOST_WRITES:
                if self.world.faults.calm or self.judge.strict:  # faults without end may hold anything up without end
                    self.judge.says("P-14", f"after {PATIENCE:.0f} s or {MOST_WRITES} writes: {why}")
                return
            await asyncio.sleep(OFTEN if self.world.loop.time() - begun < 60 else SELDOM)

    def look(self) -> None:
        """P-18: a name leads to nobody who is not Ready, or gone, for longer than a record may live."""
        now = self.world.loop.time()
        for number in range(MOST_MEMBERS):
            pod = self.judge.object(f"{POD}{NAMESPACE}/web-{number}")
            for address in addresses(self.world, f"web-{number}"):
                theirs = pod is not None and (pod.get("status") or {}).get("podIP") == address
                if pod is not None and theirs and self.judge.is_ready(pod):
                    self._untrue.pop(number, None)
                elif now - self._untrue.setdefault(number, now) > RECORD_LIFE:
                    text = f"web-{number} is found at {address} for more than {RECORD_LIFE:.0f} s, and is not Ready there"
                    self.judge.says("P-18", text)
                    self._untrue[number] = float("inf")

    async def end(self) -> None:
        """Nothing goes wrong any more: all becomes as it should be, then quiet."""
        await self.world.heal()
        await self._until_right()
        if self.judge.violations:
            return
        for _ in range(20):  # what was put off for long may still come
            before = self.judge.writes
            await asyncio.sleep(QUIET)
            if self.judge.writes == before:
                break
        else:
            self.judge.says("P-14", "it does not become quiet")
        if why := unlike(self.world):
            self.judge.says("P-14", f"at the end: {why}")
        if why := self.world.ledger.unlike():
            self.judge.says("P-14", f"at the end: {why}")
        for failure in self.world.failures:
            self.judge.says("P-14", failure)


def unlike(world: World) -> str:
    """What is not as it was asked for; "" when all is."""
    judge = world.judge
    pods = {meta.name(pod): pod for pod in judge.objects(POD) if not jobs.is_of_job(pod)}
    wanted: set[str] = set()
    if why := jobs.unlike(judge):
        return why
    for owner in judge.objects(SET):
        if meta.is_terminating(owner):
            return f"set {meta.name(owner)} is being deleted"
        if why := _unlike_set(owner, pods):
            return why
        first = objects.first_ordinal(owner)
        wanted |= {objects.pod_name(owner, n) for n in range(first, first + objects.replicas(owner))}
    if why := replicas.unlike(judge):
        return why
    if surplus := set(pods) - wanted - replicas.kept(judge):
        return f"pods {sorted(surplus)} are too many"
    living = {(config.namespace, config.pod_name, config.pod_uid) for machine in world.machines.values() for config in machine.living()}
    known = {(meta.namespace(pod), meta.name(pod), meta.uid(pod)) for pod in pods.values()}
    if living != known:
        return f"processes {sorted(living - known)} without a pod, pods {sorted(known - living)} without a process"
    if any(meta.is_terminating(claim) for claim in judge.objects(CLAIM)):
        return "a claim is being deleted"
    for owner in judge.objects(SET):
        if why := _unlike_claims(world, owner) or _unlike_history(world, owner):
            return why
    return _unlike_names(world, {name: pod for name, pod in pods.items() if name in wanted})


def _unlike_set(owner: Obj, pods: dict[str, Obj]) -> str:
    status = owner.get("status") or {}
    first, count = objects.first_ordinal(owner), objects.replicas(owner)
    mine = [pods.get(objects.pod_name(owner, n)) for n in range(first, first + count)]
    for number, pod in enumerate(mine):
        if pod is None or not objects.is_ready(pod) or meta.is_terminating(pod):
            return f"{objects.pod_name(owner, first + number)} is not Ready"
    if status.get("observedGeneration") != owner["metadata"]["generation"]:
        return "the status is of an older generation"
    there = [pod for pod in mine if pod is not None]
    current, update = status.get("currentRevision"), status.get("updateRevision")
    counted = {
        "replicas": count,
        "readyReplicas": count,
        "availableReplicas": count,
        "currentReplicas": sum(objects.revision_of(pod) == current for pod in there),
        "updatedReplicas": sum(objects.revision_of(pod) == update for pod in there),
    }
    for name, number in counted.items():
        if status.get(name, 0) != number:
            return f"status.{name} is {status.get(name, 0)}, there are {number}"
    strategy = owner["spec"].get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if any(objects.revision_of(pod) not in (current, update) for pod in there[:partition]):
        return "a member below the partition is of no revision that counts"
    if current != update and any(objects.revision_of(pod) != current for pod in there[:partition]):
        return "a member below the partition is updated"
    if strategy.get("type") != "OnDelete" and any(objects.revision_of(pod) != update for pod in there[partition:]):
        return "not all are updated"
    return ""


def _unlike_claims(world: World, owner: Obj) -> str:
    """Each member has its claims; those of members that are too many go only where the policy says so, and there they do go."""
    first, count = objects.first_ordinal(owner), objects.replicas(owner)
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    there = {meta.name(claim) for claim in world.judge.objects(CLAIM)}
    wanted = {meta.name(claim) for n in range(first, first + count) for claim in objects.build_claims(owner, n)}
    if missing := wanted - there:
        return f"claims {sorted(missing)} are missing"
    if policy.get("whenScaled") == "Delete" and (surplus := there - wanted):
        return f"claims {sorted(surplus)} are left of members that are no more"
    return ""


def _unlike_history(world: World, owner: Obj) -> str:
    """P-8: the revision in force is the newest, and no two have one number."""
    mine = [r for r in world.judge.objects(REVISION) if meta.is_controlled_by(r, owner)]
    numbers = sorted(r["revision"] for r in mine)
    newest = [meta.name(r) for r in mine if r["revision"] == numbers[-1]]
    update = (owner.get("status") or {}).get("updateRevision")
    right = newest == [update] and len({*numbers}) == len(numbers)
    return "" if right else f"revisions {numbers}: {newest} is newest, {update} in force"


def addresses(world: World, name: str) -> list[str]:
    """Where a member is found under its name."""
    answer = world.zone.lookup(f"{name}.web.{NAMESPACE}.svc.cluster.local", dnswire.A)
    return [str(record.data) for record in answer.answers] if answer else []


def _unlike_names(world: World, pods: dict[str, Obj]) -> str:
    """P-18: each member has its address under its name."""
    found = {name: addresses(world, name) for name in pods}
    for name, pod in pods.items():
        if found[name] != [pod["status"].get("podIP")]:
            return f"{name} is found at {found[name]}, and is at {pod['status'].get('podIP')}"
    return ""


async def create(stage: Stage) -> None:
    await stage.begin(a_set())


async def scale(stage: Stage) -> None:
    await stage.begin(a_set())
    await stage.change(replicas=1)
    await stage.change(replicas=3)


async def roll(stage: Stage) -> None:
    await stage.begin(a_set())
    await stage.update("two")


async def roll_partly(stage: Stage) -> None:
    await stage.begin(a_set(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}))
    await stage.update("two")
    await stage.delete_pod(0)
    await stage.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})


async def on_delete(stage: Stage) -> None:
    await stage.begin(a_set(updateStrategy={"type": "OnDelete"}))
    await stage.update("two")
    for number in (1, 2, 0):
        await stage.delete_pod(number)


async def recreate(stage: Stage) -> None:
    await stage.begin(a_set(updateStrategy={"type": "Recreate"}))
    await stage.update("two")
    await stage.change(replicas=2, template=template(image="three"))


async def parallel(stage: Stage) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    await stage.begin(a_set(4, podManagementPolicy="Parallel", updateStrategy=strategy))
    await stage.update("two")
    await stage.change(replicas=2)


async def broken_image(stage: Stage) -> None:
    """Under Parallel a bad revision mends itself after a revert (#67250 is about OrderedReady)."""
    await stage.begin(a_set(podManagementPolicy="Parallel", claims=False))
    await stage.unsettled(lambda: stage.update(MISSING, claims=False))
    if not stage.hasty:
        await stage.until(lambda: "" if stage.images() & {MISSING} else "nobody has the broken image yet")
    await stage.update("one", claims=False)


async def replace(stage: Stage) -> None:
    """Deleted members, and one by force, come back with their names and claims."""
    await stage.begin(a_set())
    await stage.delete_pod(1)
    await stage.delete_pod(0, force=True)


async def orphans(stage: Stage) -> None:
    """A set deleted without its pods, and made again, takes them up."""
    await stage.begin(a_set(2))
    await stage.unsettled(lambda: stage.delete(propagation="Orphan"))
    await stage.begin(a_set(2))


async def node_loss(stage: Stage) -> None:
    await stage.begin(a_set(3, claims=False))
    await stage.lose_node("node-1")


async def deployment(stage: Stage) -> None:
    """Rolled out, updated, scaled, rolled back, and gone with all that is its."""
    await stage.deploy(replicas.a_deployment(template(claims=False)))
    await stage.alter(template={"spec": template(image="two", claims=False)["spec"]})
    await stage.alter(replicas=2)
    await stage.alter(template={"spec": template(claims=False)["spec"]})
    await stage.do(lambda: stage.world.user.delete(DEPLOYMENTS, "shop", NAMESPACE, propagation="Background"))
    await stage.rest()


async def deployment_anew(stage: Stage) -> None:
    """All old pods end before the first new one begins; of the history nothing is kept."""
    await stage.deploy(replicas.a_deployment(template(claims=False), 2, strategy={"type": "Recreate"}, revisionHistoryLimit=0))
    await stage.alter(template={"spec": template(image="two", claims=False)["spec"]})


def _retention(when_deleted: str, when_scaled: str) -> Callable[[Stage], Awaitable[None]]:
    async def story(stage: Stage) -> None:
        policy = {"whenDeleted": when_deleted, "whenScaled": when_scaled}
        await stage.begin(a_set(2, persistentVolumeClaimRetentionPolicy=policy))
        await stage.delete_pod(1)
        await stage.change(replicas=1)
        await stage.delete()

    return story


Story = Callable[[Stage], Awaitable[None]]
STORIES: dict[str, Story] = {
    "create": create,
    "scale": scale,
    "roll": roll,
    "roll-partly": roll_partly,
    "on-delete": on_delete,
    "recreate": recreate,
    "parallel": parallel,
    "broken-image": broken_image,
    "replace": replace,
    "orphans": orphans,
    "node-loss": node_loss,
    "deployment": deployment,
    "deployment-anew": deployment_anew,
    "job": jobs.job,
    "volumes": volumes.volumes,
    **{
        f"retention-{deleted}-{scaled}": _retention(deleted, scaled)
        for deleted in ("Retain", "Delete")
        for scaled in ("Retain", "Delete")
    },
}
