"""Schedules of five fields (minute, hour, day, month, weekday), or a word such as ``@daily``: what one may be.

The texts of refusals are those of the parser that CronJobs are known with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: at for at, name in enumerate(_NAMES, 1)}
_DAYS = {name: at for at, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_DURATION = re.compile(r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")


@dataclass(frozen=True)
class _Bounds:
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)


_FIELDS = (_Bounds(0, 59), _Bounds(0, 23), _Bounds(1, 31), _Bounds(1, 12, _MONTHS), _Bounds(0, 6, _DAYS))


def check(schedule: str) -> None:
    """Raises ValueError with what is wrong."""
    if not schedule:
        raise ValueError("empty spec string")
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        _zone, _space, schedule = schedule.partition(" ")
        schedule = schedule.strip()
    if schedule.startswith("@"):
        _check_word(schedule)
        return
    parts = schedule.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]")
    for part, bounds in zip(parts, _FIELDS, strict=True):
        for expression in filter(None, part.split(",")):
            _check_range(expression, bounds)


def _check_word(schedule: str) -> None:
    if schedule.startswith("@every "):
        duration = schedule.removeprefix("@every ")
        if duration != "0" and not _DURATION.fullmatch(duration):
            raise ValueError(f'failed to parse duration {schedule}: time: invalid duration "{duration}"')
    elif schedule not in _WORDS:
        raise ValueError(f"unrecognized descriptor: {schedule}")


def _check_range(expression: str, bounds: _Bounds) -> None:
    """``number | number-number | *``, with a step behind a slash."""
    steps = expression.split("/")
    ends = steps[0].split("-")
    if ends[0] in ("*", "?"):
        low, high = bounds.low, bounds.high
    else:
        low = _number(ends[0], bounds.names)
        if len(ends) > 2:
            raise ValueError(f"too many hyphens: {expression}")
        high = _number(ends[1], bounds.names) if len(ends) == 2 else low
    if len(steps) > 2:
        raise ValueError(f"too many slashes: {expression}")
    step = _number(steps[1], {}) if len(steps) == 2 else 1
    if len(steps) == 2 and len(ends) == 1:
        high = bounds.high
    if low < bounds.low:
        raise ValueError(f"beginning of range ({low}) below minimum ({bounds.low}): {expression}")
    if high > bounds.high:
        raise ValueError(f"end of range ({high}) above maximum ({bounds.high}): {expression}")
    if low > high:
        raise ValueError(f"beginning of range ({low}) beyond end of range ({high}): {expression}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {expression}")


def _number(text: str, names: Mapping[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
