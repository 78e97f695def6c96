"""One API server for a module's tests on each store, and a namespace of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.api.spaces import Space
from tests.serving import STORES, Api, api_server

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=STORES)
async def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """For modules marked ``pytest.mark.asyncio(loop_scope="module")``."""
    async with api_server(tmp_path_factory.mktemp("served"), request.param, pod_security="privileged") as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def space(served: Api) -> Space:
    name = f"space-{next(_numbers)}"
    answer = await served.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    assert answer.status == 201, answer.raw
    found = Space(served, name)
    await found.until(found.at("serviceaccounts", "default"), lambda account: account.status == 200)
    return found
