"""What a set opts into beyond upstream, by annotations ``holdfast.dev/...`` (docs/annotations.md). Pure.

A value that cannot be understood counts as absent and is told about in an event: any API server keeps annotations, so a
server's validation could not be relied on.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from holdfast.kinds.kind import Obj
from holdfast.machinery import meta

DEADLINE = "holdfast.dev/progress-deadline"
ROLLBACK = "holdfast.dev/auto-rollback"
UNSTICK = "holdfast.dev/unstick"
ROLLED_BACK = "holdfast.dev/rolled-back-from"
KNOWN = (DEADLINE, ROLLBACK, UNSTICK, ROLLED_BACK)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Options:
    deadline: float = 0.0
    """Seconds without progress until the set counts as stalled; 0 = never."""
    rollback: bool = False
    unstick: bool = False
    rolled_back_from: str = ""
    """The revision that was rolled back from last: it is not rolled back from again."""
    mistakes: tuple[str, ...] = ()


def duration(text: str) -> float:
    """Seconds of a duration like ``10m`` or ``1h30m``. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(text))


def of(owner: Obj) -> Options:
    annotations = meta.annotations_of(owner)
    if not any(key.startswith("holdfast.dev/") for key in annotations):
        return _NONE
    mistakes: list[str] = []
    for key in annotations:
        near = difflib.get_close_matches(key, KNOWN, 1, 0.8) if key.startswith("holdfast.dev/") and key not in KNOWN else ()
        mistakes += [f"{key} means nothing; {wanted} does" for wanted in near]

    def flag(key: str, default: bool) -> bool:
        value = annotations.get(key)
        if value not in (None, "true", "false"):
            mistakes.append(f'{key}: "{value}" is neither "true" nor "false"; it is ignored')
            return default
        return default if value is None else value == "true"

    deadline = 0.0
    if DEADLINE in annotations:
        try:
            deadline = duration(annotations[DEADLINE])
        except ValueError:
            pass
        if deadline <= 0:
            mistakes.append(f'{DEADLINE}: "{annotations[DEADLINE]}" is no duration like "10m" or "1h30m"; it is ignored')
    rollback = flag(ROLLBACK, default=False)
    if rollback and not deadline:
        mistakes.append(f"{ROLLBACK} needs {DEADLINE}; it is ignored")
        rollback = False
    # Under OrderedReady a rollback that may not replace the broken member would repair nothing.
    unstick = flag(UNSTICK, default=rollback)
    return Options(deadline, rollback, unstick, annotations.get(ROLLED_BACK, ""), tuple(mistakes))


_NONE = Options()
