"""Every row runs on both runtimes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.statefulset.rows import Rows, running
from tests.system import System


@pytest.fixture(scope="session", params=["simulated", "oci"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, str]]:
    for system in running(tmp_path_factory.mktemp("rows"), request.param):
        yield system, request.param


@pytest.fixture
def rows(both: tuple[System, str]) -> Iterator[Rows]:
    found = Rows(*both)
    yield found
    found.close()
