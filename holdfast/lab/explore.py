"""Running many worlds: every crash point of every story (plans), then seeds; what was found, and the command that repeats it.

``python -m holdfast.lab.explore --help``. A result is plain data, so that worlds may run in several processes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import contextvars
import functools
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from holdfast.lab import jobs
from holdfast.lab.faults import CRASHES, LOSSES, REFUSALS, SERVER, SKEWS, TRAVELS, Fault, Faults, OneFault, Storm
from holdfast.lab.judge import CLAIM, POD, REVISION, VOLUME
from holdfast.lab.regressions import REGRESSIONS
from holdfast.lab.rest import unlike
from holdfast.lab.stage import Stage
from holdfast.lab.stories import STORIES as USUAL
from holdfast.lab.stories import Story
from holdfast.lab.trouble import Trouble, bury
from holdfast.lab.world import World, run_world

PLANNED = (*CRASHES, *TRAVELS, *SKEWS, *SERVER, *REFUSALS)
SLICE = "/registry/endpointslices/"
STORIES: dict[str, Story] = {**USUAL, **REGRESSIONS}
UNCOUNTED = {"given-up"}
"""Stories in which it depends on the moment what is made at all."""
UNEVEN = {"node-loss", "deployment", "deployment-anew", "job", *(story for story in USUAL if story.startswith("retention-"))}
"""Stories in which who goes back in time may make something more or less, and no harm: which members a node takes with it depends on
where they were placed; of pods without identity one too many is removed again; what is made for a job or set that is gone is too."""
TIED = {"volumes", "grows", "given-up", "node-loss"}
"""Stories that lose what they tell of with a machine: claims that nobody makes again, or the last node."""


@dataclass(frozen=True)
class Case:
    """One world: a story, told with one fault at the ``number``-th write or act, or (``fault`` None) in a storm of ``seed``."""

    story: str
    seed: int = 0
    fault: Fault | None = None
    number: int = -1
    at_act: bool = False

    def __str__(self) -> str:
        if self.fault is None:
            return f"{self.story} --seed {self.seed}"
        return f"{self.story} --fault {self.fault.name} --{'act' if self.at_act else 'write'} {self.number}"


@dataclass
class Result:
    case: Case
    violations: list[str] = field(default_factory=list)
    fired: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    writes: list[tuple[str, str]] = field(default_factory=list)
    acts: list[tuple[str, str]] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    virtual: float = 0.0
    seconds: float = 0.0


def run(case: Case) -> Result:
    """Tells the story. A crash of the lab itself is a violation too."""
    faults: Faults
    if case.fault is not None:
        faults = OneFault(number=case.number, fault=case.fault, at_act=case.at_act)
    else:
        faults = Storm.of(case.seed) if case.seed else Faults()
    begun = time.perf_counter()
    result = Result(case)
    with _listening(result):
        try:
            run_world(case.seed, functools.partial(_tell, case, result), faults)
        except Exception as error:
            result.violations.append(f"the lab failed: {error!r}")
    result.fired, result.writes, result.acts = faults.fired, faults.writes, faults.acts
    if is_counted(case) and not result.violations and (odd := unlike_calm(result)):
        result.violations.append(odd)
    result.seconds = time.perf_counter() - begun
    return result


class _Ear(logging.Handler):
    """What the product logs as an error it did not expect: no fault is a reason for that."""

    def __init__(self, result: Result) -> None:
        super().__init__(logging.ERROR)
        self._result = result

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(record.exc_info[1])[-3:]) if record.exc_info else ""
        self._result.violations.append(f"logged: {record.getMessage()} {trace}")


@contextlib.contextmanager
def _listening(result: Result) -> Iterator[None]:
    logger, ear = logging.getLogger("holdfast"), _Ear(result)
    before = logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = before


async def _tell(case: Case, result: Result, world: World) -> None:
    stormy = case.fault is None and case.seed > 0
    stage = Stage(world, unlike, hasty=stormy)
    world.judge.strict = is_exact(case)
    lost: list[asyncio.Task[None]] = []

    def on_loss(name: str, fault: Fault) -> None:
        # in a context of its own: what the user asks is not what the lost process was asking
        lost.append(asyncio.create_task(bury(stage, name, fault), context=contextvars.Context()))

    world.on_loss = on_loss
    trouble = asyncio.create_task(Trouble(stage, case.seed).run()) if stormy else None
    try:
        await STORIES[case.story](stage)
        await asyncio.gather(*lost)
        if stormy:
            await asyncio.sleep(world.loop.random.choice((0, 0, 0, 20, 20, 60, 60, 400)))
    finally:
        if trouble is not None:
            trouble.cancel()
            await asyncio.gather(trouble, return_exceptions=True)
    await stage.end()
    result.violations += world.judge.violations
    result.created, result.deleted = world.judge.created, world.judge.deleted
    result.virtual = world.loop.time()
    if is_exact(case) or case.fault is Fault.HELD:  # who has not heard waits; only who forgets in a crash may ask again
        result.violations += [f"P-14 asked {count} times in vain: {what}" for what, count in world.judge.in_vain.items()]


def is_exact(case: Case) -> bool:
    """Whether in this world nobody sees or is heard late."""
    return case.fault in CRASHES or (case.fault is None and not case.seed)


def is_counted(case: Case) -> bool:
    """Whether what is made and removed must be as in the undisturbed story. A pod of a Job does not survive its machine."""
    replaces = case.fault in (Fault.AWAY_THERE, Fault.LOST_THERE) or (case.fault in LOSSES and case.story == "job")
    return case.fault is not None and not replaces and case.story not in UNCOUNTED


@functools.cache
def calm(story: str) -> Result:
    """The story told without any fault."""
    return run(Case(story))


def plans(stories: Iterable[str], kinds: Iterable[Fault] = PLANNED, *, acts: bool = False) -> Iterator[Case]:
    """Each write (or act) of each undisturbed story, with each kind of fault; every site once, in whichever story, before any twice."""
    kinds = tuple(kinds)
    turns: dict[int, list[Case]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for story in stories:
        for number, site in enumerate(calm(story).acts if acts else calm(story).writes):
            turns.setdefault(seen[site], []).extend(Case(story, fault=kind, number=number, at_act=acts) for kind in kinds)
            seen[site] += 1
    for turn in sorted(turns):
        yield from turns[turn]


def act_plans(stories: Iterable[str], kinds: Iterable[Fault] = (*CRASHES, *LOSSES)) -> Iterator[Case]:
    """Each act of a node with each crash, each act and each write with each loss of a machine; for good only where sets live on."""
    stories, kinds = [*stories], [*kinds]
    losses = [kind for kind in kinds if kind in LOSSES]
    for case in (*plans(stories, kinds, acts=True), *plans(stories, losses)):
        if case.fault is not Fault.LOST_THERE or case.story not in TIED:
            yield case


def _counts(counted: Counter[str]) -> dict[str, int]:
    """Members and claims by name; what may have another name each time, together."""
    found: Counter[str] = Counter()
    for key, count in counted.items():
        if key.startswith((POD, CLAIM)):
            found[jobs.stem(key)] += count
        elif key.startswith((VOLUME, SLICE, REVISION)):
            found[key[: key.rindex("/")]] += count
    return dict(found)


def unlike_calm(result: Result) -> str:
    """What was made or removed more often, or less often, than when nothing goes wrong (Sieve's differential oracle)."""
    usual = calm(result.case.story)
    if result.case.story in UNEVEN and result.case.fault in TRAVELS:
        return ""
    for what, made, once in (("created", result.created, usual.created), ("deleted", result.deleted, usual.deleted)):
        here, there = _counts(made), _counts(once)
        if result.case.fault in TRAVELS:  # a set that is gone may get its history again: found out, and collected
            here, there = ({k: n for k, n in c.items() if not k.startswith(REVISION)} for c in (here, there))
        if odd := sorted(k for k in here | there if here.get(k, 0) != there.get(k, 0)):
            return f"P-14 {what}: " + ", ".join(f"{k} {here.get(k, 0)} times, not {there.get(k, 0)}" for k in odd)
    return ""


@dataclass
class Summary:
    cases: int = 0
    fired: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    virtual: float = 0.0
    seconds: float = 0.0
    failed: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.cases += 1
        self.fired.update(result.fired)
        self.virtual += result.virtual
        self.seconds += result.seconds
        if result.violations:
            self.failed.append(result)

    def text(self) -> str:
        fired = sum(self.fired.values())
        each = max(self.cases, 1)
        head = f"{self.cases} worlds, {fired} faults fired ({fired / each:.1f} a world), {self.virtual / 3600:.1f} virtual hours"
        return f"{head}, {1000 * self.seconds / each:.0f} ms a world, {len(self.failed)} with violations"


def explore(cases: Iterable[Case], jobs: int = 1) -> Iterator[Result]:
    if jobs == 1:
        yield from map(run, cases)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run, cases, chunksize=8)


def ordinary(stories: Sequence[str], seeds: int) -> Iterator[Case]:
    """The stories undisturbed, then plans and storms by turns."""
    yield from (Case(story) for story in stories)
    planned = plans(stories)
    for seed in range(1, seeds + 1):
        yield from islice(planned, 1)
        yield Case(stories[seed % len(stories)], seed=seed)


def near(case: Case, most: int) -> Iterator[Case]:
    """The case, then so many of those most like it: its fault at other places, the nearest first, by turns with storms of its story."""
    yield case
    usual = calm(case.story) if most else Result(case)
    others = [n for n in range(len(usual.acts if case.at_act else usual.writes)) if case.fault is None or n != case.number]
    planned = iter(sorted(others, key=lambda number: abs(number - case.number)))
    for turn in range(1, most // 2 + 1):
        yield from (replace(case, seed=0, fault=case.fault or Fault.CRASH_AFTER, number=number) for number in islice(planned, 1))
        yield Case(case.story, seed=case.seed + turn)


def show(result: Result) -> None:
    order = os.environ.get("PYTHONHASHSEED", "random")
    print(f"\n{len(result.violations)} violations; again: PYTHONHASHSEED={order} python -m holdfast.lab.explore --story {result.case}")
    for text in result.violations[:5]:
        print(f"  {text}")
    for (site, fault), count in list(result.fired.items())[:40]:
        print(f"    {count} x {fault.value}: {site}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--story", choices=sorted(STORIES), help="only this one")
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--fault", choices=[fault.name for fault in Fault], help="one fault, at --write")
    parser.add_argument("--write", type=int, default=0)
    parser.add_argument("--act", type=int, default=-1, help="one fault, at this act of a node instead")
    parser.add_argument("--plans", action="store_true", help="every write of every story with every fault")
    parser.add_argument("--acts", action="store_true", help="every act of a node with every crash, every act and write with every loss")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="so many plans at most")
    parser.add_argument("--hunt", type=int, default=0, help="all stories undisturbed, then so many plans and as many seeds by turns")
    parser.add_argument("--near", type=int, default=0, help="so many worlds more that are most like the one that is named")
    parser.add_argument("--stop", action="store_true", help="end with the first violation")
    parser.add_argument("--seeds", type=int, default=0, help="so many seeds")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    stories = [given.story] if given.story else sorted(STORIES)
    cases: Iterable[Case]
    if given.hunt:
        cases = ordinary(stories, given.hunt)
    elif given.near or given.fault:
        at_act = given.act >= 0
        fault = Fault[given.fault] if given.fault else None
        cases = near(Case(stories[0], given.seed or 0, fault, given.act if at_act else given.write, at_act), given.near)
    elif given.seed is not None:
        cases = [Case(story, seed=given.seed) for story in stories]
    elif given.acts:
        cases = islice(act_plans(stories), given.most)
    elif given.plans:
        cases = islice(plans(stories), given.most)
    else:
        cases = (Case(stories[n % len(stories)], seed=n) for n in range(given.first, given.first + given.seeds))
    single = not given.near and (given.fault or given.seed is not None)
    summary = Summary()
    slowest = Result(Case(stories[0]))
    for result in explore(cases, 1 if single else given.jobs):
        summary.add(result)
        slowest = max(slowest, result, key=lambda each: each.seconds)
        if result.violations or single:
            show(result)
        if result.violations and given.stop:
            break
    print(f"{summary.text()}; the slowest: {slowest.case}, {slowest.seconds:.1f} s for {slowest.virtual:.0f}")
    sys.exit(1 if summary.failed else 0)


if __name__ == "__main__":
    main()
