"""Fixtures every tier may use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system with the nginx image, for one test module; nothing of it stays."""
    running = System(tmp_path_factory.mktemp("data") / "d")
    running.up("--listen", "127.0.0.1:0")
    try:
        running.build_nginx()
        yield running
    finally:
        running.down()
        running.reset()
