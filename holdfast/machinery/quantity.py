"""Quantities: ``500m``, ``1Gi``, ``2e3``. Exact (Fraction), as apimachinery's resource.Quantity."""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction

_FORM = re.compile(r"([+-]?)(\d{0,40})(?:\.(\d{0,40}))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
MESSAGE = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@functools.lru_cache(4096)
def parse(text: str | int | float) -> Fraction:
    """The exact number. Raises ValueError with upstream's text."""
    if isinstance(text, int | float):
        return Fraction(text)
    match = _FORM.fullmatch(text)
    if not match or not (match[2] or match[3]):
        raise ValueError(MESSAGE)
    sign, whole, fraction, suffix, exponent = match.groups()
    value = Fraction(int((whole or "") + (fraction or "") or "0"), 10 ** len(fraction or ""))
    if suffix in _BINARY:
        value *= 2 ** _BINARY[suffix]
    else:
        value *= Fraction(10) ** (int(exponent) if exponent else _DECIMAL[suffix or ""])
    return -value if sign == "-" else value


def to_int(text: str | int | float) -> int:
    """Rounded up, as the scheduler and volumes count bytes."""
    return math.ceil(parse(text))


def to_millis(text: str | int | float) -> int:
    return math.ceil(parse(text) * 1000)


def format_bytes(count: int) -> str:
    """Canonical text of a byte count: the largest binary suffix that divides it (``1Gi``, ``300Mi``, ``1234``)."""
    for suffix, bits in reversed(_BINARY.items()):
        if count and count % (1 << bits) == 0:
            return f"{count >> bits}{suffix}"
    return str(count)
