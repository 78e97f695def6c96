"""Every verb in any order, against a model of objects and revisions, on both stores; and a short run over HTTPS.

The rules stand in ``machine``; here are the two servers they are played on. Hypothesis shrinks what it finds.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.kinds.builtin import builtin_table
from holdfast.kinds.kind import Kind, Obj
from holdfast.kinds.resources import NAMESPACES
from holdfast.registry.cache import WatchCache
from holdfast.registry.commit import Committer
from holdfast.registry.local import LocalClient
from holdfast.registry.registry import Registry
from holdfast.registry.request import Stored
from holdfast.registry.verbs import update as updating
from holdfast.store import open_store
from tests.conformance.api.entrance import USER, Direct, Entrance, Https
from tests.conformance.api.machine import ApiMachine
from tests.conformance.api.objectmodel import SECRET
from tests.serving import STORES, Api, api_server

SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None


class DirectMachine(ApiMachine):
    store = ""

    async def enter(self) -> Entrance:
        scratch = tempfile.mkdtemp(prefix="holdfast-machine-", dir=SCRATCH)
        self.stack.callback(shutil.rmtree, scratch)
        store = open_store("memory://" if self.store == "memory" else f"sqlite://{scratch}/s.db")
        await store.start()
        self.stack.push_async_callback(store.close)
        registry = Registry(store, builtin_table())
        await registry.start()
        self.stack.push_async_callback(registry.close)
        await LocalClient(registry, USER, "test").create(NAMESPACES, {"metadata": {"name": "machine"}})
        return Direct(registry, "machine")

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()


@pytest.mark.parametrize("store", STORES)
def test_any_sequence_of_requests_agrees_with_the_model(store: str) -> None:
    machine = type("Machine", (DirectMachine,), {"store": store})
    budget = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=budget)


async def _shows_the_object_without_finalizers(self: Committer, kind: Kind, obj: Obj, current: Stored, *, dry_run: bool) -> Stored:
    bare = {name: value for name, value in obj["metadata"].items() if name != "finalizers"}
    return await DELETE(self, kind, obj | {"metadata": bare}, current, dry_run=dry_run)


DELETE = Committer.delete
DAMAGES = {
    "a watcher's last sight of an object": (Committer, "delete", _shows_the_object_without_finalizers),
    "an update with a stale version": (updating, "_given", lambda body: 0),
    "an object said to be left": (WatchCache, "count_after", lambda self, prefix, after: 1),
    "a write that changes nothing": (updating, "_same", lambda new, old: False),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_server_broken_on_purpose_is_found(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*DAMAGES[damage])
    machine = type("Machine", (DirectMachine,), {"store": "memory"})
    budget = settings(
        max_examples=2000,
        stateful_step_count=40,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=budget)


@pytest.mark.parametrize("store", STORES)
def test_any_sequence_of_requests_agrees_with_the_model_over_https(tmp_path: Path, store: str) -> None:
    loop = asyncio.new_event_loop()
    serving = api_server(tmp_path / "d", store)
    api: Api = loop.run_until_complete(serving.__aenter__())
    count = iter(range(10**6))

    class HttpsMachine(ApiMachine):
        """Secrets, which no controller writes; the namespace is the example's own."""

        shapes = (SECRET,)
        alone = False

        def new_loop(self) -> asyncio.AbstractEventLoop:
            return loop

        async def enter(self) -> Entrance:
            name = f"machine-{next(count)}"
            await api.post("/api/v1/namespaces", {"metadata": {"name": name}})
            return Https(api, name)

    try:
        budget = settings(max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
        run_state_machine_as_test(HttpsMachine, settings=budget)
    finally:
        loop.run_until_complete(serving.__aexit__(None, None, None))
        loop.close()
