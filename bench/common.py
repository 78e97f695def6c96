"""A running system for benches, and the median."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.system import System


@contextlib.contextmanager
def system(*arguments: str) -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        running = System(Path(directory) / "d")
        running.up("--listen", "127.0.0.1:0", *arguments)
        try:
            yield running
        finally:
            running.down()
            running.reset()
