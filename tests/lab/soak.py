"""Long runs by hand: ``python -m tests.lab.soak``. Prints what was tried and every violation with its seed; exits 1 for one."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from holdfast.lab.history import ViolationError
from tests.lab import killed, simulated
from tests.lab.workload import Workload

ROUND = 25
"""Kills of one data directory: then a fresh one."""


class Tally:
    def __init__(self, what: str) -> None:
        self.what = what
        self.counts: Counter[str] = Counter()
        self._begin = time.monotonic()

    def add(self, workload: Workload, deaths: int) -> None:
        operations = workload.history.operations
        self.counts.update(histories=1, deaths=deaths, operations=len(operations), listings=len(workload.history.snapshots))
        self.counts["unknown"] += sum(operation.outcome == "unknown" for operation in operations)
        self.counts["events"] += sum(len(stream.events) for stream in workload.streams)
        self.counts["resumptions"] += sum(len(stream.resumed) for stream in workload.streams)

    def violation(self, where: str, error: ViolationError) -> None:
        self.counts["violations"] += 1
        print(f"{self.what}: {where}: {error}", flush=True)

    def show(self) -> None:
        seconds = time.monotonic() - self._begin
        print(f"{self.what}: {dict(self.counts)}, violations: {self.counts['violations']}, {seconds:.0f} s", flush=True)


def soak_simulated(first: int, count: int) -> int:
    tally = Tally("simulated")
    for seed in range(first, first + count):
        try:
            workload, server = simulated.run(seed)
            tally.add(workload, server.died - 1)
        except ViolationError as error:
            tally.violation(f"seed {seed}", error)
        if (seed - first + 1) % 500 == 0:
            tally.show()
    tally.show()
    return tally.counts["violations"]


def soak_killed(seed: int, count: int) -> int:
    tally = Tally("killed")
    for first in range(0, count, ROUND):
        with tempfile.TemporaryDirectory(prefix="holdfast-kills-") as scratch:
            server = killed.Server(Path(scratch) / "d")
            server.start()
            try:
                workloads = asyncio.run(killed.run(server, range(first, min(first + ROUND, count)), random.Random(f"{seed} {first}")))
            except BaseExceptionGroup as group:
                violations, rest = group.split(ViolationError)
                if rest is not None:
                    raise
                for error in violations.exceptions if violations else ():
                    tally.violation(f"seed {seed} round {first}", ViolationError(str(error)))
                continue
            finally:
                server.end(signal.SIGTERM)
            log = asyncio.run(killed.read_log(server.data))
            for workload in workloads:
                tally.add(workload, 1)
                try:
                    workload.judge(log)
                except ViolationError as error:
                    tally.violation(f"seed {seed} {workload.prefix}", error)
        tally.show()
    return tally.counts["violations"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", type=int, default=10_000)
    parser.add_argument("--killed", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = soak_simulated(arguments.seed, arguments.simulated) + soak_killed(arguments.seed, arguments.killed)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
