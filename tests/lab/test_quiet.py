"""At rest nothing happens: StatefulSets that are what they should be cause no writes, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

from holdfast.kinds.resources import SERVICES, STATEFULSETS
from holdfast.lab.world import World, run_world
from tests.lab.quiet import assert_only_signs_of_life, writes_at_rest

SETS, MEMBERS = 30, 3


def _set(number: int) -> dict[str, object]:
    labels = {"app": f"s{number}"}
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    container = {"name": "c", "image": "one:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return {
        "metadata": {"name": f"s{number}"},
        "spec": {
            "replicas": MEMBERS,
            "serviceName": f"s{number}",
            "podManagementPolicy": ("OrderedReady", "Parallel")[number % 2],
            "minReadySeconds": number % 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [claim],
        },
    }


async def _all_available(world: World) -> None:
    for _ in range(600):
        statuses = [one.get("status") or {} for one in (await world.user.list(STATEFULSETS, "default"))["items"]]
        if all(status.get("availableReplicas") == MEMBERS for status in statuses):
            return
        await asyncio.sleep(1)
    raise AssertionError(statuses)


async def _at_rest(world: World) -> Counter[str]:
    """What is written after everything is Ready, by kind and object."""
    for number in range(SETS):
        service = {
            "metadata": {"name": f"s{number}"},
            "spec": {"clusterIP": "None", "selector": {"app": f"s{number}"}, "ports": [{"port": 80}]},
        }
        await world.user.create(SERVICES, service, "default")
        await world.user.create(STATEFULSETS, _set(number), "default")
    await _all_available(world)
    return await writes_at_rest(world)


def test_quiet_sets_write_nothing() -> None:
    written = run_world(1, _at_rest)
    assert_only_signs_of_life(written)
