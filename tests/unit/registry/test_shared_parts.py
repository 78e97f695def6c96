"""A write of the status shares the rest of the object with what readers have: nothing of what they have may change."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from holdfast.client.api import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.resources import PODS, STATEFULSETS
from holdfast.registry.bootstrap import SERVER, bootstrap
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.store.memory import MemoryStore

CONTAINER = {"name": "c", "image": "one:1", "ports": [{"containerPort": 80}], "resources": {}}
SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}},
    },
}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [CONTAINER], "securityContext": {}}}
PHASE = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
PATCHES = {
    MERGE_PATCH: PHASE,
    STRATEGIC_PATCH: PHASE,
    JSON_PATCH: [{"op": "add", "path": "/status/message", "value": "m"}],
}


def told(story: Any) -> None:
    async def run() -> None:
        registry = Registry(MemoryStore(), builtin_table())
        await registry.start()
        try:
            await bootstrap(registry)
            await story(LocalClient(registry, SERVER, "test"))
        finally:
            await registry.close()

    asyncio.run(run())


@pytest.mark.parametrize("content_type", PATCHES)
def test_a_patch_of_the_status(content_type: str) -> None:
    async def story(client: LocalClient) -> None:
        held = await client.create(PODS, POD, "default")
        kept = copy.deepcopy(held)
        now = await client.patch(PODS, "p", "default", PATCHES[content_type], content_type=content_type, subresource="status")
        assert held == kept, "who has read it sees no change"
        assert now["status"] != held["status"]
        assert now["spec"] == kept["spec"]

    told(story)


def test_an_update_of_the_status_changes_nothing_else_whatever_it_says() -> None:
    async def story(client: LocalClient) -> None:
        held = await client.create(STATEFULSETS, SET, "default")
        kept = copy.deepcopy(held)
        now = await client.update(STATEFULSETS, {**held, "status": {"replicas": 1}}, subresource="status")
        assert (held, now["spec"], now["status"]["replicas"]) == (kept, kept["spec"], 1)
        other = {**now, "spec": {**now["spec"], "replicas": 7}, "status": {"replicas": 2}}
        again = await client.update(STATEFULSETS, other, subresource="status")
        assert (again["spec"], again["status"]["replicas"]) == (kept["spec"], 2)
        assert again["metadata"]["generation"] == kept["metadata"]["generation"]

    told(story)
