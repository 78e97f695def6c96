"""The node process with ``--runtime simulated``: pods, claims and statuses as on any node, and nothing that runs.

The machine lives in this process, so its end is the machine's loss of power: pods begin anew with the next one. Volumes are
kept by name below DATA/volumes. No root, no runc, no mounts, no network of pods; nothing answers in a container, and who
asks for a log or a command is told so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from holdfast.client.http import HttpClient
from holdfast.controllers.provisioner import Provisioner
from holdfast.lib.clock import SystemClock
from holdfast.node.api import PodNetwork
from holdfast.node.simulated.machine import KeptDisk, Machine
from holdfast.node.simulated.node import SimulatedNode
from holdfast.node.simulated.parts import SimulatedNetwork
from holdfast.node.simulated.runtime import SimulatedRuntime
from holdfast.node.streams import StreamServer
from holdfast.node.streams.api import Refused, Target
from holdfast.system import lifecycle
from holdfast.system.pidfile import write_pid
from holdfast.system.settings import Settings
from holdfast.volumes.builtin import BuiltinEngine

log = logging.getLogger("holdfast.node")

PREFIX = "10.244"


class _NothingRuns:
    """Implements ``streams.api.Lookup``: nothing in a container can be reached."""

    async def wait_ready(self) -> None:
        return

    def instance(self, namespace: str, pod: str, container: str, previous: bool = False) -> Target:
        raise Refused(400, f'pod "{pod}" is on a simulated node (--runtime simulated): it has no logs, and no command can run in it')

    def network(self, namespace: str, pod: str, uid: str = "") -> PodNetwork:
        raise Refused(400, f'pod "{pod}" is on a simulated node (--runtime simulated): nothing listens in it')


async def run(settings: Settings, stop: asyncio.Event) -> None:
    if not await lifecycle.wait_for_keys(settings, stop):
        return
    machine = Machine(settings.node_name, SystemClock(), KeptDisk(settings.data / "volumes"))
    machine.boot = time.time_ns()
    client = HttpClient.from_kubeconfig(settings.node_kubeconfig, user_agent="kubelet")
    streams = StreamServer(
        SimulatedRuntime(machine),
        _NothingRuns(),
        SimulatedNetwork(machine, PREFIX),
        tls=lifecycle.stream_tls(settings),
        host=lifecycle.ADDRESS,
        port=lifecycle.kept_port(settings),
    )
    try:
        await streams.start()
        lifecycle.keep_port(settings, streams.port)
        node = SimulatedNode(
            client,
            machine,
            settings.data,
            machine.clock,
            driver=BuiltinEngine.name,
            provisioner=Provisioner,
            prefix=PREFIX,
            stream_port=lambda: streams.port,
        )
        log.info("node %s: simulated; streams at https://%s:%d", settings.node_name, lifecycle.ADDRESS, streams.port)
        async with lifecycle.background(node.run()) as failed:
            write_pid(settings.pid_file("node"), os.getpid(), serves=True)
            await lifecycle.until(stop, failed)
            if lifecycle.is_down(settings):
                await node.stop_all()
    finally:
        await streams.close()
        await client.close()
