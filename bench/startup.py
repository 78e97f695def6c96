"""``up --detach`` until it returns (which is when /readyz answers): first start and later starts. Bar: 1.5 s, warm file cache."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.system import System

ROUNDS = 5


def main() -> None:
    first, later = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
            running = System(Path(directory) / "d")
            for times in (first, later):
                begun = time.perf_counter()
                running.up("--listen", "127.0.0.1:0")
                times.append(time.perf_counter() - begun)
                running.down()
            running.reset()
    print(f"first start: median {statistics.median(first):.2f} s (worst {max(first):.2f})")
    print(f"later start: median {statistics.median(later):.2f} s (worst {max(later):.2f}); bar 1.5 s")
