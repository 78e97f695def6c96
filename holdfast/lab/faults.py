"""What goes wrong, and where: one chosen fault at one request (a plan), or a storm drawn from a seed.

Every fault is counted when it *fires*, with its site: a run in which nothing happened proves nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from holdfast.client.api import WatchEvent
from holdfast.machinery import meta
from holdfast.machinery.errors import ApiError


class Fault(Enum):
    CRASH_BEFORE = "crash before"
    CRASH_NO_REPLY = "crash after commit, no reply"
    CRASH_AFTER = "crash after"
    CRASH_SLOW = "crash after, then slow to list what was written"
    SERVER_CRASH_BEFORE = "server crash before"
    SERVER_CRASH_AFTER = "server crash after commit, no reply"
    CONFLICT = "409"
    BUSY = "429"
    BROKEN = "500"
    AWAY = "503"
    LOST = "request lost"
    NO_REPLY = "reply lost"
    LATE = "late"
    HIDDEN = "event hidden until a relist"
    DELAYED = "events delayed"
    REPEATED = "event repeated"
    CONFLATED = "events conflated"
    HELD = "controllers hear nothing of a resource for a while"
    BROKEN_STREAM = "stream cut"
    OLDER = "stream resumed at an older revision"
    LAGGING = "any state asked for, an old one told"
    PARTITION = "network parted"
    POWER = "power lost"
    NODE_RESTART = "node process restarted"
    PROCESS_DIES = "a member's program ended"
    SICK = "a member fell sick"
    UNKILLABLE = "signals without effect"
    CLOCK = "a clock jumped"
    USER_DELETES = "the user deleted a member"
    USER_FORCES = "the user deleted a member by force"
    POWER_THERE = "power lost there, and back"
    AWAY_THERE = "machine lost there, said to be out of service, repaired"
    LOST_THERE = "machine lost there for good, its Node deleted"


CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_NO_REPLY, Fault.CRASH_AFTER)
SKEWS = (Fault.CRASH_SLOW, Fault.HELD)
"""Plans only: of one resource a process knows less than of others."""
REFUSALS = (Fault.CONFLICT, Fault.BUSY, Fault.BROKEN, Fault.AWAY, Fault.LOST, Fault.NO_REPLY, Fault.LATE)
SERVER = (Fault.SERVER_CRASH_BEFORE, Fault.SERVER_CRASH_AFTER)
LOSSES = (Fault.POWER_THERE, Fault.AWAY_THERE, Fault.LOST_THERE)
"""Of the machine, with all that ran on it: at a node's act or request its own, at others' requests one by turns."""
TRAVELS = (Fault.OLDER,)
"""Back in time: all streams of a process break off and go on from before."""
FURTHEST = 20
"""Revisions."""
CONTROLLERS = "controllers"
"""The process of all of them: nodes go on while it knows nothing of it."""
HOLD = 15.0
"""Seconds: longer than a controller waits until it looks again (UNTOLD), at least."""
PACE = 2.0
"""Seconds: a server that is behind takes time over each event that others have seen long ago."""
WATCHES = (Fault.HIDDEN, Fault.DELAYED, Fault.REPEATED, Fault.CONFLATED, Fault.BROKEN_STREAM, Fault.OLDER)
_CHORES = ("leases", "nodes", "nodes/status", "events")
"""What every process writes all the time, which no promise rests on."""


def is_chore(site: str) -> bool:
    return site.rpartition(" ")[2] in _CHORES


@dataclass
class Faults:
    """No fault at all; but sites are counted. ``fired`` says what happened where."""

    fired: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    writes: list[tuple[str, str]] = field(default_factory=list)
    """(process, site) of every write, in order: what plans are made of."""
    acts: list[tuple[str, str]] = field(default_factory=list)
    """Likewise of every act of a node on its machine."""
    calm: bool = False
    """From now on nothing goes wrong any more."""

    def at(self, process: str, site: str, *, write: bool) -> Fault | None:
        """What happens to this request."""
        if write and not is_chore(site):
            self.writes.append((process, site))
        found = None if self.calm or is_chore(site) else self._choose(process, site, write=write)
        if found is not None:
            self.fired[f"{process}: {site}", found] += 1
        return found

    def act(self, process: str, site: str) -> Fault | None:
        """What happens at this act of a node on its machine."""
        self.acts.append((process, site))
        found = None if self.calm else self._choose_act()
        if found is not None:
            self.fired[f"{process}: {site}", found] += 1
        return found

    def _choose(self, process: str, site: str, *, write: bool) -> Fault | None:
        return None

    def _choose_act(self) -> Fault | None:
        return None

    def resume(self, process: str, plural: str, revision: str) -> str:
        """From which revision a watch really goes on."""
        return revision

    def lags(self, process: str, plural: str) -> int:
        """How many revisions old a state is told to who asks for any."""
        return 0

    async def tell(self, process: str, plural: str, event: WatchEvent, later: deque[WatchEvent]) -> Sequence[WatchEvent]:
        """What a watcher is told when ``event`` arrives; ``later`` is what stands in line behind it."""
        return (event,)


@dataclass
class OneFault(Faults):
    """``fault`` at the ``number``-th write of all (from 0), or at the ``number``-th act."""

    number: int = 0
    fault: Fault = Fault.CRASH_BEFORE
    at_act: bool = False

    victim: str = ""
    written: str = ""
    """The resource that was written there."""
    behind: dict[str, int] = field(default_factory=dict)
    """Whose streams have gone back in time, and up to where they had been."""
    until: float = 0.0

    def _choose(self, process: str, site: str, *, write: bool) -> Fault | None:
        if write and not self.at_act and not self.victim and len(self.writes) == self.number + 1:
            self.victim, self.written = process, site.rpartition(" ")[2].partition("/")[0]
            self.until = asyncio.get_running_loop().time() + HOLD
            return self.fault
        if self.fault is Fault.CRASH_SLOW and self.until and process == self.victim and site.endswith(f" list {self.written}"):
            self.until = 0.0
            return Fault.LATE
        return None

    def _choose_act(self) -> Fault | None:
        return self.fault if self.at_act and len(self.acts) == self.number + 1 else None

    def resume(self, process: str, plural: str, revision: str) -> str:
        if self.fault not in TRAVELS or process != self.victim or plural in self.behind or not revision:
            return revision
        self.behind[plural] = int(revision)
        return str(max(int(revision) - 3 * FURTHEST, 1))

    async def tell(self, process: str, plural: str, event: WatchEvent, later: deque[WatchEvent]) -> Sequence[WatchEvent]:
        if event.type == "BOOKMARK" or self.calm:
            return (event,)
        if self.fault is Fault.HELD and process == CONTROLLERS and plural == self.written:
            await asyncio.sleep(self.until - asyncio.get_running_loop().time())
            return (_conflated(event, later),)
        if process == self.victim and meta.revision(event.object) <= self.behind.get(plural, 0):
            await asyncio.sleep(PACE)
        return (event,)

    def lags(self, process: str, plural: str) -> int:
        if process != self.victim:
            return 0
        self.fired[f"{process}: list {plural}", Fault.LAGGING] += 1
        return FURTHEST


@dataclass
class Storm(Faults):
    """Any request and any event may suffer, as likely as the seed says; each seed knows only some kinds of fault."""

    chance: random.Random = field(default_factory=random.Random)
    often: dict[Fault, float] = field(default_factory=dict)
    acting: random.Random = field(default_factory=random.Random)
    """Acts have a chance of their own: what befalls requests does not depend on them."""
    breaks: float = 0.0
    """How likely an act is to suffer."""

    @classmethod
    def of(cls, seed: int) -> Storm:
        chance = random.Random(f"storm {seed}")
        kinds = [f for f in Fault if f not in (*SKEWS, *LOSSES) and chance.random() < 0.5] or [Fault.CRASH_NO_REPLY]
        often = {}
        for fault in kinds:
            rare = fault in CRASHES or fault in SERVER
            often[fault] = chance.uniform(0.002, 0.02) if rare else chance.uniform(0.005, 0.06)
        acting = random.Random(f"acts {seed}")
        return cls(chance=chance, often=often, acting=acting, breaks=acting.choice((0.0, 0.0, 0.0, 0.002, 0.01, 0.03)))

    def _choose_act(self) -> Fault | None:
        if not self.breaks or self.acting.random() > self.breaks:
            return None
        return self.acting.choice((*CRASHES, Fault.POWER_THERE))

    def _draw(self, among: tuple[Fault, ...]) -> Fault | None:
        for fault in among:
            if fault in self.often and self.chance.random() < self.often[fault]:
                return fault
        return None

    def _choose(self, process: str, site: str, *, write: bool) -> Fault | None:
        found = self._draw((*CRASHES, *SERVER, *REFUSALS) if write else REFUSALS)
        return None if found is Fault.CONFLICT and site.split()[1] not in ("update", "patch", "delete") else found

    def resume(self, process: str, plural: str, revision: str) -> str:
        if self.calm or not revision or Fault.OLDER not in self.often or self.chance.random() > 0.5:
            return revision
        self._fire(process, plural, Fault.OLDER)
        return str(max(int(revision) - self.chance.randint(1, FURTHEST), 1))

    def lags(self, process: str, plural: str) -> int:
        if self.calm or Fault.LAGGING not in self.often or self.chance.random() > 0.5:
            return 0
        self._fire(process, plural, Fault.LAGGING)
        return self.chance.randint(1, 3 * FURTHEST)

    def _fire(self, process: str, plural: str, fault: Fault) -> None:
        self.fired[f"{process}: watch {plural}", fault] += 1

    async def tell(self, process: str, plural: str, event: WatchEvent, later: deque[WatchEvent]) -> Sequence[WatchEvent]:
        """The same stream, with gaps that a relist closes, echoes, and hold-ups after which only the last state is told."""
        fault = None if self.calm or event.type == "BOOKMARK" else self._draw(WATCHES[:-1])
        if fault is None:
            return (event,)
        self._fire(process, plural, fault)
        match fault:
            case Fault.BROKEN_STREAM:
                raise ConnectionResetError("lab: the stream was cut")
            case Fault.HIDDEN:
                await asyncio.sleep(self.chance.uniform(0.1, 10))
                raise ApiError(410, "Expired", "lab: too old resource version")
            case Fault.REPEATED:
                return (event, event)
            case _:
                await asyncio.sleep(self.chance.uniform(0.05, 10))
        return (_conflated(event, later),) if fault is Fault.CONFLATED else (event,)


def _conflated(event: WatchEvent, later: deque[WatchEvent]) -> WatchEvent:
    """Only the last of what is known about this object; one in another's place is one update (SCEN-16)."""
    key, found = meta.key(event.object), event
    while later and later[0].type != "BOOKMARK" and meta.key(later[0].object) == key:
        following = later.popleft()
        replaced = found.type == "DELETED" and following.type == "ADDED"
        kept = found.type == "ADDED" and following.type == "MODIFIED"
        found = WatchEvent("MODIFIED" if replaced else "ADDED" if kept else following.type, following.object)
    return found
