"""Ending instances: preStop, the stop signal, grace, KILL, and the wait until the death is confirmed.

One task per instance; a later order with less grace shortens the running one, never lengthens it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from holdfast.kinds.kind import Obj
from holdfast.node.pods import hooks, model
from holdfast.node.pods.probes import Target
from holdfast.node.pods.state import PodState

log = logging.getLogger("holdfast.node.pods")

AFTER_HOOK_SECONDS = 2.0
AGAIN_SECONDS = 2.0


@dataclass
class _Order:
    deadline: float
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    exited: bool = False


class Killer:
    def __init__(self, worker: PodState) -> None:
        self._worker = worker
        self._orders: dict[str, _Order] = {}

    def exited(self, id: str) -> None:
        order = self._orders.get(id)
        if order is not None:
            order.exited = True
            order.changed.set()

    def order(self, intent: model.KillInstance) -> None:
        deadline = asyncio.get_running_loop().time() + intent.grace
        order = self._orders.get(intent.id)
        if order is not None:
            if deadline < order.deadline:
                order.deadline = deadline
                order.changed.set()
            return
        self._orders[intent.id] = _Order(deadline)
        self._worker.spawn(f"kill:{intent.id}", self._kill(intent))

    async def _kill(self, intent: model.KillInstance) -> None:
        worker, order = self._worker, self._orders[intent.id]
        runtime = worker.services.runtime
        try:
            worker.event(intent.container, "Normal", "Killing", intent.message)
            container = model.find_container(worker.pod, intent.container) or {}
            if self._running(intent.id) and intent.grace > 0:
                hook = hooks.pre_stop(container)
                if hook is not None:
                    await self._pre_stop(intent, container, hook, order)
                await runtime.kill(intent.id, worker.stop_signal(intent.id, container))
                await self._wait(intent.id, order)
            while self._running(intent.id):
                await runtime.kill(intent.id, "SIGKILL")
                order.deadline = asyncio.get_running_loop().time() + AGAIN_SECONDS
                await self._wait(intent.id, order)
        finally:
            self._orders.pop(intent.id, None)
            worker.kill_orders.pop(intent.id, None)

    def _running(self, id: str) -> bool:
        instance = self._worker.services.runtime.instances().get(id)
        return instance is not None and instance.phase == "running"

    async def _wait(self, id: str, order: _Order) -> None:
        """Until the instance has exited or its time is over."""
        loop = asyncio.get_running_loop()
        while self._running(id) and (left := order.deadline - loop.time()) > 0:
            order.changed.clear()
            try:
                async with asyncio.timeout(left):
                    await order.changed.wait()
            except TimeoutError:
                return

    async def _pre_stop(self, intent: model.KillInstance, container: Obj, hook: Obj, order: _Order) -> None:
        worker, loop = self._worker, asyncio.get_running_loop()
        network = worker.network
        target = Target(intent.id, network.netns if network else "", network.ip if network else "127.0.0.1")
        work = asyncio.ensure_future(hooks.run_hook(worker.services.prober, hook, container, target))
        try:
            while not work.done() and self._running(intent.id) and (left := order.deadline - loop.time()) > 0:
                order.changed.clear()
                waiter = asyncio.ensure_future(order.changed.wait())
                try:
                    await asyncio.wait({work, waiter}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiter.cancel()
            if work.done():
                work.result()
            elif self._running(intent.id):
                raise hooks.HookError("it did not end within the grace period")
        except hooks.HookError as error:
            worker.event(container["name"], "Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")
        finally:
            work.cancel()
        # the hook must not take the whole grace from the program itself
        order.deadline = max(order.deadline, loop.time() + min(AFTER_HOOK_SECONDS, intent.grace))
