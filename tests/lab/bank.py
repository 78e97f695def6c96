"""The bug bank: each file in ``bugs/`` puts a historic bug back into the product; an ordinary world of the lab must notice.

A bug's file opens with what it is, the case that noticed it last (as ``holdfast.lab.explore`` takes it) and what the judge
said; then comes the patch. ``python -m tests.lab.bank`` searches for all bugs, with names for those, and writes the cases down.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUGS = Path(__file__).parent / "bugs"
WORLDS = 300
"""As many plans, and as many seeds, at most."""
NEAR = 120
"""Worlds most like the one on file, where that has moved."""
_FOUND = re.compile(r"again: .*holdfast\.lab\.explore --story (?P<case>.+)\n  (?P<says>P-\d+ .*)")

_BROKEN = re.compile(r"\b(?:Attribute|Name|Type|Import|Syntax)Error\b")
"""A patch that says nothing sensible is not a bug of history."""


class StaleBugError(Exception):
    """A patch that no longer fits the code."""


@dataclass(frozen=True)
class Found:
    case: str
    says: str


@dataclass(frozen=True)
class Bug:
    name: str
    what: str
    case: str
    """"" where none was found yet."""
    patch: str

    @classmethod
    def read(cls, path: Path) -> Bug:
        head, _, patch = path.read_text().partition("\n\n")
        what, case, *_ = [*head.splitlines(), ""]
        return cls(path.stem, what, case.removeprefix("case:").strip(), patch)

    @property
    def path(self) -> Path:
        return BUGS / f"{self.name}.patch"

    def write(self, found: Found) -> None:
        said = re.sub(r" at [\d.]+ s", "", found.says)
        self.path.write_text(f"{self.what}\ncase: {found.case}\nsays: {said}\n\n{self.patch}")


def bugs() -> list[Bug]:
    return [Bug.read(path) for path in sorted(BUGS.glob("*.patch"))]


@contextmanager
def planted(bug: Bug) -> Iterator[Path]:
    """A copy of the package with the bug in it. Raises StaleBugError."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bug-") as scratch:
        shutil.copytree(ROOT / "holdfast", Path(scratch) / "holdfast", ignore=shutil.ignore_patterns("__pycache__"))
        command = ["git", "apply", "--whitespace=nowarn", "-"]
        alone = {**os.environ, "GIT_CEILING_DIRECTORIES": scratch}
        outcome = subprocess.run(command, cwd=scratch, input=bug.patch, text=True, capture_output=True, env=alone)
        if outcome.returncode:
            raise StaleBugError(f"{bug.path.name} does not fit the code any more, make it anew: {outcome.stderr.strip()}")
        yield Path(scratch)


def explore(tree: Path, *arguments: str) -> Found | None:
    """What the judge said first in these worlds. Raises RuntimeError when the lab itself broke."""
    outcome = subprocess.run(
        [sys.executable, "-m", "holdfast.lab.explore", "--jobs", "1", "--stop", *arguments],
        cwd=tree,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"},
    )
    found = _FOUND.search(outcome.stdout)
    if found is not None and not _BROKEN.search(outcome.stdout):
        return Found(found["case"], found["says"])
    if outcome.returncode not in (0, 1) or outcome.stderr or _BROKEN.search(outcome.stdout):
        raise RuntimeError(f"{' '.join(arguments)}: {outcome.stdout[-2000:]}\n{outcome.stderr[-2000:]}")
    return None


def notice(bug: Bug, worlds: int = NEAR) -> Found | None:
    """By the case on file, or by those most like it: what is a write or a seed today is another one tomorrow."""
    with planted(bug) as tree:
        return explore(tree, "--near", str(worlds), "--story", *bug.case.split()) if bug.case else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these bugs")
    parser.add_argument("--story", help="where the case on file and those like it say nothing, search in this story only")
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    chosen = [bug for bug in bugs() if not given.names or bug.name in given.names]

    def search(bug: Bug) -> tuple[Bug, Found | None]:
        if (found := notice(bug)) is not None:
            return bug, found
        with planted(bug) as tree:
            return bug, explore(tree, "--hunt", str(given.worlds), *(["--story", given.story] if given.story else []))

    missed = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for done in as_completed({pool.submit(search, bug): bug for bug in chosen}):
            bug, found = done.result()
            missed += found is None
            print(f"{bug.name:10} {found.case if found else 'NOT NOTICED'}: {found.says if found else bug.what}", flush=True)
            if found is not None:
                bug.write(found)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
