"""The user of a world: what he makes, changes and removes, and how he waits until all is as he asked for.

``Stage.rest`` waits until everything is so, in the store and on the machines (``rest.unlike``); the last rest of a story
comes when nothing goes wrong any more, and ends in quiet.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import DEPLOYMENTS, NODES, PERSISTENTVOLUMECLAIMS, PODS, SERVICES, STATEFULSETS
from holdfast.lab.judge import POD, SET
from holdfast.lab.world import World
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
    """The user of one world. ``unlike``: what is not as it was asked for there; ``hasty``: he does not wait for rest."""

    def __init__(self, world: World, unlike: Callable[[World], str], *, hasty: bool = False) -> None:
        self.world = world
        self.unlike = unlike
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
        await self.make(owner)
        await self.rest()

    async def make(self, owner: Obj) -> None:
        await self.do(lambda: self.world.user.create(SERVICES, SERVICE, NAMESPACE))
        await self.do(lambda: self.world.user.create(STATEFULSETS, copy.deepcopy(owner), NAMESPACE))

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
        await self.until(lambda: self.unlike(self.world))

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
        if why := self.unlike(self.world):
            self.judge.says("P-14", f"at the end: {why}")
        if why := self.world.ledger.unlike():
            self.judge.says("P-14", f"at the end: {why}")
        for failure in self.world.failures:
            self.judge.says("P-14", failure)


def addresses(world: World, name: str) -> list[str]:
    """Where a member is found under its name."""
    answer = world.zone.lookup(f"{name}.web.{NAMESPACE}.svc.cluster.local", dnswire.A)
    return [str(record.data) for record in answer.answers] if answer else []
