"""Fixtures every tier may use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.ceph import Ceph, running_ceph
from tests.system import System, running_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for each test module."""
    with running_system(tmp_path_factory.mktemp("data") / "d") as running:
        yield running


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """One for the whole session: tests use images of their own."""
    with running_ceph(tmp_path_factory.mktemp("ceph") / "c") as running:
        yield running
