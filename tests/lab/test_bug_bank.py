"""Each historic bug, put back into the product, is noticed by an ordinary world: the judge sees what it is there to see.

The case on file is told first, then some of those most like it: the product goes on, and worlds move with it.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import bank

JOBS = int(os.environ.get("LAB_JOBS", "2"))
WANTED = {*(f"SCEN-{n}" for n in range(1, 21)), *(f"R-{n}" for n in range(36, 50))} - {"R-45"}
"""R-45 is SCEN-18."""


@pytest.mark.timeout(1800)
def test_every_bug_of_the_bank_is_noticed() -> None:
    known = bank.bugs()
    assert {bug.name for bug in known} >= {*WANTED, "CONTROL-1"}
    with ThreadPoolExecutor(JOBS) as pool:
        found = dict(zip((bug.name for bug in known), pool.map(bank.notice, known), strict=True))
    for bug in known:
        noticed = found[bug.name]
        moved = "" if noticed is None or noticed.case == bug.case else f" (it was {bug.case or 'nowhere'})"
        print(f"{bug.name:10} {noticed.case if noticed else 'NOT NOTICED'}{moved}: {noticed.says if noticed else bug.what}")
    missed = [name for name, noticed in found.items() if noticed is None]
    assert not missed, f"no world notices {missed}; search on: python -m tests.lab.bank --worlds 300 {' '.join(missed)}"


def test_a_patch_that_no_longer_fits_says_so() -> None:
    bug = bank.Bug("X-1", "a line that nobody wrote", "", bank.bugs()[0].patch.replace("\n-", "\n-no such line "))
    with pytest.raises(bank.StaleBugError, match="make it anew"), bank.planted(bug):
        pass


def test_a_bug_that_breaks_the_lab_is_not_noticed_but_an_error() -> None:
    first = bank.bugs()[0]
    with bank.planted(bank.Bug("X-2", "", "", first.patch)) as tree:
        (tree / "holdfast" / "lab" / "judge.py").write_text("raise RuntimeError('broken')")
        with pytest.raises(RuntimeError, match="broken"):
            bank.explore(tree, "--story", "create", "--seed", "1")


def test_every_bug_has_a_line_in_the_table() -> None:
    table = (bank.BUGS / "README.md").read_text()
    rows = set(re.findall(r"^\| ([A-Z]+-\d+)", table, re.MULTILINE))
    assert {bug.name for bug in bank.bugs()} <= rows
    assert rows >= WANTED
