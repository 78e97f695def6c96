"""What the tests of worlds share: many are run, none may be violated, and a table says at which site what has happened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable

from holdfast.lab.explore import Case, Summary, explore, show
from holdfast.lab.faults import Fault

JOBS = int(os.environ.get("LAB_JOBS", "2"))
PLANS = int(os.environ.get("LAB_PLANS", "1320"))


def all_well(cases: Iterable[Case]) -> Summary:
    summary = Summary()
    for result in explore(cases, JOBS):
        summary.add(result)
        if result.violations:
            show(result)
    print(summary.text())
    assert not summary.failed, "\n".join(f"{r.case}: {r.violations[0]}" for r in summary.failed[:20])
    return summary


def table(summary: Summary, sites: Iterable[tuple[str, str]], kinds: Collection[Fault]) -> set[str]:
    """Printed: of each site how many kinds of fault fired there, and how often the stories come by. Returns those without some kind."""
    reached: dict[str, set[Fault]] = {}
    for site, fault in summary.fired:
        reached.setdefault(site, set()).add(fault)
    counted = Counter(f"{process}: {site}" for process, site in sites)
    for site, count in sorted(counted.items()):
        print(f"{len(reached.get(site, ()))} of {len(kinds)}  {count:5}  {site}")
    return {site for site in counted if not reached.get(site, set()) >= set(kinds)}
