"""The plan is what then happens: in whole clusters in virtual time, for random sets and random changes to them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from holdfast.controllers.statefulset import picture, plan
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from holdfast.lab.world import World, run_world
from holdfast.machinery import meta

SPACE = "default"
TEMPLATE: Obj = {"metadata": {"labels": {"app": "web"}}}
CHANGES = 4


def random_spec(chance: random.Random, policy: str, scaled: str) -> Obj:
    rolling: Obj = {"type": "RollingUpdate", "rollingUpdate": {"partition": chance.choice([0, 0, 0, 1, 2])}}
    return {
        "replicas": chance.randint(0, 4),
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "podManagementPolicy": policy,
        "minReadySeconds": chance.choice([0, 0, 5]),
        "updateStrategy": chance.choice([rolling, rolling, {"type": "Recreate"}]),
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": "Retain"},
        "template": {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": chance.choice("xyz")}]}},
        "volumeClaimTemplates": [
            {"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
        ],
    }


class Scribe:
    """What is done to pods, and which claims go, from watches."""

    def __init__(self, world: World) -> None:
        self.client = world.user
        self.done: list[tuple[str, str]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def follow(self, tasks: asyncio.TaskGroup) -> None:
        for resource in (PODS, PERSISTENTVOLUMECLAIMS):
            begin = (await self.client.list(resource, SPACE))["metadata"]["resourceVersion"]
            self.tasks.append(tasks.create_task(self._follow(resource, begin)))

    async def _follow(self, resource: Any, begin: str) -> None:
        going: set[str] = set()
        async for event in self.client.watch(resource, SPACE, resource_version=begin):
            name, uid = meta.name(event.object), meta.uid(event.object)
            if resource is PODS and event.type == "ADDED":
                self.done.append((plan.CREATE, f"pod/{name}"))
            if resource is PODS and meta.is_terminating(event.object) and uid not in going:
                going.add(uid)
                self.done.append((plan.DELETE, f"pod/{name}"))
            if resource is PERSISTENTVOLUMECLAIMS and event.type == "DELETED":
                self.done.append((plan.LOSE, f"pvc/{name}"))


async def story(world: World, seed: int) -> None:
    chance = random.Random(seed)
    policy, scaled = chance.choice(["OrderedReady", "Parallel"]), chance.choice(["Retain", "Delete"])
    client = world.user
    async with asyncio.TaskGroup() as tasks:
        scribe = Scribe(world)
        await scribe.follow(tasks)
        for number in range(CHANGES):
            there = [(await client.list(r, SPACE))["items"] for r in (PODS, PERSISTENTVOLUMECLAIMS, CONTROLLERREVISIONS)]
            spec = random_spec(chance, policy, scaled)
            if number:
                live = await client.get(STATEFULSETS, "web", SPACE)
                owner = await client.update(STATEFULSETS, {**live, "spec": spec})
            else:
                made = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": spec}
                owner = await client.create(STATEFULSETS, made, SPACE)
            # What the server made of it, and what was there before: what the command has from a dry run.
            steps = plan.steps(picture.take(owner, *there), world.loop.time())
            wanted = [(s.action, s.subject) for s in steps if s.action in (plan.CREATE, plan.DELETE, plan.LOSE)]
            await asyncio.sleep(240)
            check(wanted, scribe.done, in_order=policy == "OrderedReady")
            scribe.done.clear()
        for task in scribe.tasks:
            task.cancel()


def check(wanted: list[tuple[str, str]], done: list[tuple[str, str]], *, in_order: bool) -> None:
    assert sorted(done) == sorted(wanted)
    for subject in {subject for _, subject in wanted}:
        assert [a for a, s in done if s == subject] == [a for a, s in wanted if s == subject]
    if in_order:
        assert [d for d in done if d[0] != plan.LOSE] == [w for w in wanted if w[0] != plan.LOSE]


@pytest.mark.parametrize("seed", range(8))
def test_the_plan_is_what_a_cluster_then_does(seed: int) -> None:
    run_world(seed, lambda world: story(world, seed))
