"""Crooked input from good samples, reproducible from a seed: what the fuzz tests share.

Without FUZZ_MINUTES each target gets a fixed number of rounds from seed 0: the same in every run. With it, as many
rounds as fit into its share of the time, from a seed that is printed.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

TARGETS = 12
"""How many tests share the time of FUZZ_MINUTES."""
SECONDS = 2.0
"""Nothing may take longer over one input."""
_SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53,
    -(2**63),
    2**63,
    2**64 - 1,
    1e308,
    0.5,
    "",
    "a",
    "x" * 300,
    "A b",
    "\x00",
    "é",
    "1",
    "1Gi",
    "-1",
    "..",
    "a/b",
    "2001-01-01T00:00:00Z",
    "$patch",
    "\ud7ff",
    "😀",
    "*",
    "100%",
    [],
    {},
    [None],
    {"": None},
    {"$patch": "delete"},
    {"$patch": "replace"},
]
_TOKENS = [
    b"",
    b"\x00",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b",",
    b":",
    b"\n",
    b"9" * 40,
    b"null",
    b"- ",
    b"&a ",
    b"*a",
    b"!!",
    b"%",
    b"=",
    b"(",
]


def rounds(count: int) -> Iterator[random.Random]:
    """One source of randomness a round."""
    minutes = float(os.environ.get("FUZZ_MINUTES") or 0)
    if not minutes:
        yield from (random.Random(seed) for seed in range(count))
        return
    seed = int(os.environ.get("FUZZ_SEED") or time.time_ns())
    print(f"FUZZ_SEED={seed}")
    end = time.monotonic() + minutes * 60 / TARGETS
    while time.monotonic() < end:
        yield random.Random(seed)
        seed += 1


def tree(rng: random.Random, names: list[str], depth: int = 4) -> Any:
    """A JSON value whose keys are often names that mean something."""
    kind = rng.randrange(6) if depth else 5
    if kind in (0, 1, 2):
        return {
            rng.choice(names) if rng.random() < 0.9 else str(rng.choice(_SCALARS)): tree(rng, names, depth - 1)
            for _ in range(rng.randrange(5))
        }
    if kind == 3:
        return [tree(rng, names, depth - 1) for _ in range(rng.randrange(4))]
    return rng.choice(_SCALARS)


def crooked(rng: random.Random, value: Any, names: list[str]) -> Any:
    """A copy of a JSON value with a few places changed."""
    if rng.random() < 0.06:
        return tree(rng, names, 2)
    if isinstance(value, dict):
        out = {name: crooked(rng, item, names) for name, item in value.items() if rng.random() > 0.03}
        if rng.random() < 0.08:
            out[rng.choice(names)] = tree(rng, names, 2)
        return out
    if isinstance(value, list):
        items = [crooked(rng, item, names) for item in value if rng.random() > 0.03]
        return items + items[:1] if rng.random() < 0.05 else items
    return value


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The same bytes with some cut, doubled, flipped or put in."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(out) + 1)
        act = rng.randrange(5)
        if act == 0:
            out[at : at + rng.randrange(1, 8)] = b""
        elif act == 1:
            out[at:at] = rng.choice(_TOKENS)
        elif act == 2:
            out[at : at + 1] = bytes([rng.randrange(256)])
        elif act == 3:
            out[at:at] = out[at : at + rng.randrange(1, 40)] * rng.choice((1, 2, 50))
        else:
            del out[at:]
    return bytes(out)
