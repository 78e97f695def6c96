"""What is written in a world at rest: nothing but signs of life, whatever the controllers in it keep true."""

from __future__ import annotations

import asyncio
from collections import Counter

from holdfast.lab.world import World
from holdfast.store.api import Change, Record

SECONDS = 1200
SIGNS_OF_LIFE = {"leases", "nodes"}
"""What a node writes to say that it lives."""


async def writes_at_rest(world: World) -> Counter[str]:
    """By kind and object, once everything is as it should be."""
    await asyncio.sleep(60)  # events are told with some delay
    written: Counter[str] = Counter()
    judged = world.store.told

    def told(change: Change, previous: Record | None) -> None:
        written[change.record.key.removeprefix("/registry/")] += 1
        judged(change, previous)

    world.store.told = told
    await asyncio.sleep(SECONDS)
    assert not world.failures
    return written


def assert_only_signs_of_life(written: Counter[str]) -> None:
    assert {key: count for key, count in written.items() if key.partition("/")[0] not in SIGNS_OF_LIFE} == {}
    assert {key.partition("/")[0] for key in written} == SIGNS_OF_LIFE
