"""A real server killed with SIGKILL under eight HTTP clients: nothing acknowledged is lost, no revision comes twice (A17)."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from tests.lab.killed import Server, read_log, run

SEED = int(os.environ.get("HOLDFAST_SEED", "0"))
HISTORIES = 5


async def test_histories_are_linearizable_whenever_the_server_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path / "d")
    server.start()
    try:
        workloads = await run(server, range(HISTORIES), random.Random(SEED))
    finally:
        server.end(signal.SIGTERM)
    log = await read_log(server.data)
    assert server.kills == HISTORIES
    for workload in workloads:
        workload.judge(log)
    assert sum(len(workload.history.operations) for workload in workloads) > 200
