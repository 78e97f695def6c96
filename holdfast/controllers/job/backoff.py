"""When pods that failed are replaced: 10 s after the first failure in a row, twice as long after each further one. Pure.

``moment`` is a clock that never jumps. A failure's moment is when the controller first saw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.controllers.job import objects
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

FIRST, LONGEST = 10.0, 600.0


@dataclass(frozen=True)
class Backoff:
    """``failures`` since the last success, and the moment of the last of them."""

    failures: int = 0
    last: float = 0.0

    def after(self, succeeded: Iterable[Obj], failed: Iterable[Obj], seen_at: Mapping[str, float]) -> Backoff:
        """With pods that have ended since; ``seen_at``: the moment of each failure by uid."""
        ends = [objects.finished_at(pod) for pod in succeeded]
        since = [pod for pod in failed if not ends or objects.finished_at(pod) > max(ends)]
        before = 0 if ends else self.failures
        if not since:
            return Backoff() if ends else self
        return Backoff(before + len(since), max(seen_at[meta.uid(pod)] for pod in since))


def remaining(failures: int, last: float, moment: float) -> float:
    """Seconds until the next try."""
    if failures == 0:
        return 0.0
    wait = LONGEST if failures > 7 else min(FIRST * 2 ** (failures - 1), LONGEST)
    return max(last + wait - moment, 0.0)
