"""Work that may hang, in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.lib.threads import Busy, Locks, begin, run_apart


async def test_it_returns_or_raises_what_the_work_does() -> None:
    assert await run_apart(lambda: 7, "t") == 7
    with pytest.raises(KeyError):
        await run_apart(lambda: {}["none"], "t")


async def test_who_gives_up_leaves_the_work_to_its_end() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(30)
        ended.set()

    waiting = asyncio.create_task(run_apart(work, "t"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 30)


def test_one_at_a_time() -> None:
    locks, held, go_on = Locks(), threading.Event(), threading.Event()

    def hold() -> None:
        with locks.hold("k", 30):
            held.set()
            go_on.wait(30)

    first = begin(hold, "t")
    assert held.wait(30)
    with pytest.raises(Busy), locks.hold("k", 0):
        pass
    with locks.hold("other", 0):
        pass
    go_on.set()
    first.result(30)
    with locks.hold("k", 0):
        pass
