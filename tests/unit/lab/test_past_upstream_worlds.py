"""Deadline, rollback, repair and quiet, in whole clusters in virtual time: real controllers, real nodes, simulated machines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from holdfast.controllers.statefulset import options
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import CONTROLLERREVISIONS, EVENTS, PODS, STATEFULSETS
from holdfast.lab.world import MISSING, World, run_world
from holdfast.machinery import meta

SPACE = "default"


def make_set(name: str = "web", image: str = "good", annotations: Obj | None = None, **spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    full = {"replicas": 3, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "annotations": annotations or {}}, "spec": full}


class User:
    def __init__(self, world: World) -> None:
        self.world = world

    async def create(self, obj: Obj) -> None:
        await (await self.world.up()).create(STATEFULSETS, obj, SPACE)

    async def use(self, image: str) -> None:
        template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
        await (await self.world.up()).patch(STATEFULSETS, "web", SPACE, template)

    async def web(self) -> Obj:
        return await (await self.world.up()).get(STATEFULSETS, "web", SPACE)

    async def images(self) -> dict[str, str]:
        pods = (await (await self.world.up()).list(PODS, SPACE))["items"]
        return {meta.name(pod): pod["spec"]["containers"][0]["image"] for pod in pods}

    async def complete(self, image: str) -> None:
        async with asyncio.timeout(600):
            while True:
                owner, images = await self.web(), await self.images()
                done = (meta.condition(owner, "Progressing") or {}).get("reason") == "Complete"
                if done and owner["status"].get("availableReplicas") == 3 and set(images.values()) == {image}:
                    return
                await asyncio.sleep(1)

    async def told(self, reason: str) -> list[str]:
        events = (await (await self.world.up()).list(EVENTS, SPACE))["items"]
        return [event["message"] for event in events if event["reason"] == reason]


def told(story: Callable[[User], Coroutine[Any, Any, None]], seed: int = 1) -> None:
    async def whole(world: World) -> None:
        await story(User(world))
        assert world.failures == []

    run_world(seed, whole)


BAD = f"{MISSING}:1"
OPTED = {options.DEADLINE: "5m", options.ROLLBACK: "true"}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("restarts", [False, True])
def test_a_bad_revision_is_rolled_back_once_whoever_restarts(restarts: bool, seed: int) -> None:
    async def story(user: User) -> None:
        await user.create(make_set(annotations=OPTED, revisionHistoryLimit=0))
        await user.complete("good")
        good = (await user.web())["status"]["updateRevision"]
        await user.use(BAD)
        for _ in range(6):
            await asyncio.sleep(45)
            assert (await user.web())["spec"]["template"]["spec"]["containers"][0]["image"] == BAD, "it has its time"
            if restarts:
                user.world.processes["controllers"].crash_soon()
        await asyncio.sleep(60)
        owner = await user.web()
        assert owner["spec"]["template"]["spec"]["containers"][0]["image"] == "good"
        await user.complete("good")
        assert (await user.web())["status"]["updateRevision"] == good, "the very revision it was"
        if not restarts:
            (message,) = await user.told("RolledBack")
            assert good in message
            assert meta.annotations_of(owner)[options.ROLLED_BACK] in message
            assert len(await user.told("ProgressDeadlineExceeded")) == 1
        await user.use(BAD)
        await asyncio.sleep(700)
        owner = await user.web()
        assert owner["spec"]["template"]["spec"]["containers"][0]["image"] == BAD, "whoever insists has it"
        assert meta.condition_true(owner, "Stalled")

    told(story, seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("opted", [False, True])
def test_after_a_revert_the_rollout_repairs_itself(opted: bool, seed: int) -> None:
    """Without the annotation as upstream: it waits for ever, and the condition says for what."""

    async def story(user: User) -> None:
        await user.create(make_set(annotations={options.UNSTICK: "true"} if opted else {}))
        await user.complete("good")
        before = {meta.name(p): meta.uid(p) for p in (await user.world.user.list(PODS, SPACE))["items"]}
        await user.use(BAD)
        await asyncio.sleep(60)
        assert (await user.images())["web-2"] == BAD
        await user.use("good")
        if not opted:
            await asyncio.sleep(700)
            assert (await user.images())["web-2"] == BAD
            owner = await user.web()
            assert (meta.condition(owner, "Stalled") or {})["reason"] == "OutdatedMemberStuck"
            return
        await user.complete("good")
        after = {meta.name(p): meta.uid(p) for p in (await user.world.user.list(PODS, SPACE))["items"]}
        assert {name for name in before if before[name] != after[name]} == {"web-2"}, "who was well stays"

    told(story, seed)


@pytest.mark.parametrize("annotations", [{}, OPTED])
def test_quiet_sets_are_not_written_about_even_when_the_controllers_restart(annotations: Obj) -> None:
    async def story(user: User) -> None:
        for number in range(10):
            await user.create(make_set(f"s{number}", annotations=annotations, podManagementPolicy="Parallel"))
        await asyncio.sleep(120)
        client = user.world.user
        kinds = (STATEFULSETS, CONTROLLERREVISIONS, PODS, EVENTS)

        async def versions() -> list[str]:
            return [item["metadata"]["resourceVersion"] for kind in kinds for item in (await client.list(kind, SPACE))["items"]]

        before = await versions()
        assert len(before) >= 50
        await asyncio.sleep(700)
        assert await versions() == before
        user.world.processes["controllers"].crash_soon()
        await asyncio.sleep(600)
        assert await versions() == before

    told(story)
