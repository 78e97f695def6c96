"""Deployments in the lab: at rest they write nothing; and without waiting for its own writes a controller would make too many pods."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

import pytest

from holdfast.client.api import WatchEvent
from holdfast.controllers.writes import OwnWrites
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import DEPLOYMENTS, PODS
from holdfast.lab.faults import Faults
from holdfast.lab.judge import POD
from holdfast.lab.rest import unlike
from holdfast.lab.stage import Stage
from holdfast.lab.stories import STORIES
from holdfast.lab.world import World, run_world
from tests.lab.quiet import assert_only_signs_of_life, writes_at_rest

COUNT, REPLICAS = 20, 3


def _deployment(number: int) -> Obj:
    labels = {"app": f"d{number}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "one:1"}]}}
    spec = {
        "replicas": REPLICAS,
        "minReadySeconds": number % 3,
        "progressDeadlineSeconds": (None, 30, 600)[number % 3],
        "paused": number % 5 == 4,
        "strategy": {"type": ("RollingUpdate", "Recreate")[number % 2]},
        "selector": {"matchLabels": labels},
        "template": template,
    }
    return {"metadata": {"name": f"d{number}"}, "spec": spec}


async def _at_rest(world: World) -> Counter[str]:
    """What is written after everything is as it should be, by kind and object."""
    for number in range(COUNT):
        await world.user.create(DEPLOYMENTS, _deployment(number), "default")
    paused = sum(_deployment(number)["spec"]["paused"] for number in range(COUNT))
    for _ in range(600):
        there = [one.get("status") or {} for one in (await world.user.list(DEPLOYMENTS, "default"))["items"]]
        if sum(status.get("availableReplicas") == REPLICAS for status in there) == COUNT - paused:
            break
        await asyncio.sleep(1)
    else:
        raise AssertionError(there)
    written = await writes_at_rest(world)
    assert len((await world.user.list(PODS, "default"))["items"]) == (COUNT - paused) * REPLICAS
    return written


def test_quiet_deployments_write_nothing() -> None:
    written = run_world(2, _at_rest)
    assert_only_signs_of_life(written)


class _Behind(Faults):
    """Controllers hear of pods half a second late."""

    async def tell(self, process: str, plural: str, event: WatchEvent, later: deque[WatchEvent]) -> Sequence[WatchEvent]:
        if (process, plural) == ("controllers", "pods"):
            await asyncio.sleep(0.5)
        return (event,)


def _made(world: World) -> int:
    return sum(count for key, count in world.judge.created.items() if key.startswith(POD))


async def _deployment_told(world: World) -> int:
    """How many pods were made."""
    stage = Stage(world, unlike)
    await STORIES["deployment"](stage)
    await stage.end()
    assert not world.judge.violations
    return _made(world)


async def _before_any_is_seen(world: World) -> int:
    """How many pods were made while none was seen yet."""
    await world.user.create(DEPLOYMENTS, _deployment(0), "default")
    await asyncio.sleep(0.4)
    return _made(world)


def test_who_waits_for_his_own_writes_makes_no_pod_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCEN-17, with a positive control: without the wait there would be more."""
    wanted = 3 + 3 + 2  # three, then three of the new template, then two of the old one
    assert run_world(2, _deployment_told) == wanted
    assert run_world(2, _deployment_told, _Behind()) == wanted
    assert run_world(2, _before_any_is_seen, _Behind()) == REPLICAS
    monkeypatch.setattr(OwnWrites, "shown", lambda _self, _key: True)
    assert run_world(2, _before_any_is_seen, _Behind()) > REPLICAS
