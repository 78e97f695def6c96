"""Schedules: what is one, and why something is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.machinery import cron


def why_not(schedule: str) -> str | None:
    try:
        cron.check(schedule)
    except ValueError as fault:
        return str(fault)
    return None


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "*/5 0-23/2 1,15 JAN-dec sun",
        "? ? ? ? ?",
        "59 23 31 12 6",
        "3/7 * * * *",
        "@daily",
        "@every 1h30m",
        "CRON_TZ=UTC 0 0 1 1 *",
        "  0   0  1 1  * ",
    ],
)
def test_schedules(schedule: str) -> None:
    assert why_not(schedule) is None


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("", "empty spec string"),
        ("61 * * * *", "end of range (61) above maximum (59): 61"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
    ],
)
def test_faults(schedule: str, why: str) -> None:
    assert why_not(schedule) == why


@given(st.text(alphabet="0123456789*/-,?@ abcJAN=TZ", max_size=40))
def test_any_text_is_a_schedule_or_has_a_fault(text: str) -> None:
    assert why_not(text) != ""
