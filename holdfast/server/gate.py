"""Fairness: how many requests are worked on at once, and whose turn is next when there are more (API-71, SEC-43).

Three levels, as upstream's priority levels: administrators pass freely; nodes and the cluster's own components have seats
of their own, so that no tenant can starve them; everybody else shares the rest, nobody more than half of it. Who finds
no seat waits in a queue of his own, and the queues take turns. Long requests (watches, streams) take no seat: they are
counted by user. While seats are free, passing costs two dictionary operations and no task switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.machinery.errors import ApiError
from holdfast.registry.request import User

MASTERS, NODES = "system:masters", "system:nodes"
COMPONENTS = ("system:serviceaccount:kube-system:", "system:kube-", "system:apiserver")
READING = frozenset(("GET", "HEAD", "OPTIONS"))


@dataclass(frozen=True)
class Limits:
    """What one server takes on at once."""

    reads: int = 400
    writes: int = 200
    queued: int = 1000
    """Requests of one user that may wait."""
    wait_seconds: float = 15
    streams: int = 2000
    """Watches, logs and sessions that one user may have open."""
    request_seconds: float = 60
    """For a whole request, from its head to its answer; watches and streams are exempt."""
    head_seconds: float = 32
    """From a new connection to the head of its first request."""
    stall_seconds: float = 60
    """For a client to take some of what is sent to it: a part of a long list, a watch's events."""


def too_many() -> ApiError:
    return ApiError(429, "TooManyRequests", "Too many requests, please try again later.", {"retryAfterSeconds": 1})


class Lane:
    """Some seats. Take one (or wait for one's turn), and always leave it."""

    def __init__(self, seats: int, limits: Limits) -> None:
        self._free = seats
        self._share = max(1, seats // 2)
        self._limits = limits
        self._held: dict[str, int] = {}
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """By user, in the order of their turns; none is empty."""

    def take(self, user: str) -> bool:
        """Whether there was a seat for ``user``: then it is taken."""
        held = self._held.get(user, 0)
        if not self._free or held >= self._share or user in self._queues:
            return False
        self._free -= 1
        self._held[user] = held + 1
        return True

    async def turn(self, user: str) -> None:
        """Waits for a seat, which is taken on return. Raises ApiError 429 when too many wait already, or for too long."""
        queue = self._queues.setdefault(user, deque())
        if len(queue) >= self._limits.queued:
            raise too_many()
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(ticket)
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await ticket
        except BaseException as error:
            if ticket.done() and not ticket.cancelled():
                self.leave(user)
            else:
                self._withdraw(user, ticket)
            if isinstance(error, TimeoutError):
                raise too_many() from None
            raise

    def leave(self, user: str) -> None:
        left = self._held[user] - 1
        if left:
            self._held[user] = left
        else:
            del self._held[user]
        self._free += 1
        if self._queues:
            self._seat_next()

    def _withdraw(self, user: str, ticket: asyncio.Future[None]) -> None:
        queue = self._queues.get(user)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[user]

    def _seat_next(self) -> None:
        for user in list(self._queues):
            if not self._free:
                return
            queue = self._queues[user]
            held = self._held.get(user, 0)
            if held >= self._share:
                continue
            while queue and queue[0].cancelled():
                queue.popleft()
            ticket = queue.popleft() if queue else None
            del self._queues[user]
            if queue:
                self._queues[user] = queue  # to the end: the others come first
            if ticket is not None:
                self._free -= 1
                self._held[user] = held + 1
                ticket.set_result(None)

    def statistics(self) -> Mapping[str, int]:
        return {"held": sum(self._held.values()), "queued": sum(map(len, self._queues.values()))}


class Level:
    """One priority level and the flow that leads to it; ``headers`` name both, as clients and their logs know them."""

    def __init__(self, name: str, flow: str, limits: Limits, *, exempt: bool = False) -> None:
        self.name = name
        self.exempt = exempt
        self.reads, self.writes = Lane(limits.reads, limits), Lane(limits.writes, limits)
        self.headers = {
            "X-Kubernetes-PF-FlowSchema-UID": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{flow}.flowschemas.flowcontrol.apiserver.k8s.io")),
            "X-Kubernetes-PF-PriorityLevel-UID": str(
                uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.prioritylevelconfigurations.flowcontrol.apiserver.k8s.io")
            ),
        }

    def lane(self, method: str) -> Lane:
        return self.reads if method in READING else self.writes


class Gate:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._exempt = Level("exempt", "exempt", limits, exempt=True)
        self._system = Level("system", "system-nodes", limits)
        self._workload = Level("workload", "global-default", limits)
        self._streams: dict[str, int] = {}

    def level(self, user: User) -> Level:
        groups = user.groups
        if MASTERS in groups:
            return self._exempt
        return self._system if NODES in groups or user.name.startswith(COMPONENTS) else self._workload

    def lane(self, user: User, method: str) -> Lane | None:
        """Where a request has to find a seat; None: it needs none."""
        level = self.level(user)
        return None if level.exempt else level.lane(method)

    @contextlib.contextmanager
    def streaming(self, user: User) -> Iterator[None]:
        """For the life of a watch or stream. Raises ApiError 429 when its user has too many."""
        open_ = self._streams.get(user.name, 0)
        if open_ >= self._limits.streams and not self.level(user).exempt:
            raise too_many()
        self._streams[user.name] = open_ + 1
        try:
            yield
        finally:
            left = self._streams[user.name] - 1
            if left:
                self._streams[user.name] = left
            else:
                del self._streams[user.name]

    def statistics(self) -> dict[str, float]:
        out: dict[str, float] = {"streams": sum(self._streams.values())}
        for level in (self._system, self._workload):
            for lane in ("reads", "writes"):
                for name, value in getattr(level, lane).statistics().items():
                    out[f"{level.name}_{lane}_{name}"] = value
        return out
