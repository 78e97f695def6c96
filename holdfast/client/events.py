"""The event recorder: what happened, for people. Never in the way of the work, never twice the same object.

The same thing said again raises the count of the event that is there. An object that is talked about
too much is cut off for a while, so that a loop in one place cannot fill the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.client.api import Client
from holdfast.kinds.kind import Obj
from holdfast.kinds.resources import EVENTS
from holdfast.lib.clock import rfc3339
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError, UnknownOutcomeError

log = logging.getLogger("holdfast.client")

KEPT = 4096
PENDING = 1000
BURST, REFILL_SECONDS = 25, 300.0
PAUSE_SECONDS = 0.2


@dataclass
class _Known:
    name: str
    count: int


class EventRecorder:
    def __init__(self, client: Client, component: str, host: str = "", *, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._now = now
        self._pending: deque[tuple[Obj, str, str, str, str]] = deque(maxlen=PENDING)
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._budget: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._wake = asyncio.Event()

    def event(self, obj: Obj, type: str, reason: str, message: str, *, field: str = "", component: str = "") -> None:
        """Returns at once. ``field`` names a part, e.g. ``spec.containers{nginx}``; ``component``: who says so, if another."""
        if not self._allowed(meta.uid(obj)):
            return
        metadata = obj["metadata"]
        involved = {
            "kind": obj.get("kind", ""),
            "apiVersion": obj.get("apiVersion", ""),
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
            "fieldPath": field,
        }
        self._pending.append(({k: v for k, v in involved.items() if v}, type, reason, message, component))
        self._wake.set()

    def _allowed(self, uid: str) -> bool:
        now = self._now()
        left, seen = self._budget.pop(uid, (float(BURST), now))
        left = min(float(BURST), left + (now - seen) / REFILL_SECONDS)
        self._budget[uid] = (max(left - 1, 0.0), now)
        if len(self._budget) > KEPT:
            self._budget.popitem(last=False)
        return left >= 1

    async def run(self) -> None:
        """Writes what was recorded, until cancelled. An event that cannot be written is dropped."""
        while True:
            await self._wake.wait()
            # What is told about must not wait for the telling: a starting pod has better use for this moment.
            await asyncio.sleep(PAUSE_SECONDS)
            self._wake.clear()
            while self._pending:
                entry = self._pending.popleft()
                try:
                    await self._write(*entry)
                except (ApiError, UnknownOutcomeError, OSError) as error:
                    log.debug("event %s: %s", entry[2], error)

    async def _write(self, involved: Obj, type: str, reason: str, message: str, component: str) -> None:
        component = component or self._component
        key = (involved.get("uid", ""), involved["name"], involved.get("fieldPath", ""), type, reason, message, component)
        namespace = involved.get("namespace") or "default"
        stamp = rfc3339(self._now())
        known = self._known.pop(key, None)
        if known is not None:
            try:
                await self._client.patch(EVENTS, known.name, namespace, {"count": known.count + 1, "lastTimestamp": stamp})
                self._known[key] = _Known(known.name, known.count + 1)
                return
            except ApiError as error:
                if error.code != 404:
                    raise
        name = f"{involved['name']}.{int(self._now() * 1e9):x}"
        source = {"component": component} | ({"host": self._host} if self._host else {})
        event = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "type": type,
            "source": source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "reportingComponent": component,
            "reportingInstance": self._host,
        }
        await self._client.create(EVENTS, event, namespace)
        self._known[key] = _Known(name, 1)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
