"""The gate's lanes: seats, shares, turns, and what happens to those who give up."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.machinery.errors import ApiError
from holdfast.registry.request import User
from holdfast.server.deadlines import Deadlines
from holdfast.server.gate import Gate, Lane, Limits


async def test_a_lane_gives_seats_in_turns_and_nobody_more_than_half() -> None:
    lane = Lane(4, Limits())
    order: list[str] = []

    async def request(user: str) -> None:
        if not lane.take(user):
            await lane.turn(user)
        order.append(user)

    flood = [asyncio.create_task(request("flood")) for _ in range(50)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(request(user)) for user in ("a", "b", "c", "c")]
    await asyncio.sleep(0)
    assert order == ["flood", "flood", "a", "b"]  # half for one user; the last two seats were free for others
    for leaving in ("a", "b"):
        lane.leave(leaving)
        await asyncio.sleep(0)
    assert order[4:] == ["c", "c"]
    for _ in range(48):
        lane.leave("flood")
        await asyncio.sleep(0)
    await asyncio.gather(*flood, *others)
    assert lane.statistics() == {"held": 4, "queued": 0}


async def test_those_who_stop_waiting_leave_no_hole() -> None:
    lane = Lane(2, Limits())
    assert lane.take("a")
    waiting = [asyncio.create_task(lane.turn("a")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    lane.leave("a")  # its ticket is cancelled already, its task has not run yet
    await asyncio.sleep(0)
    assert waiting[1].done() or await asyncio.wait_for(waiting[1], 1) is None
    waiting[2].cancel()
    await asyncio.wait(waiting)
    lane.leave("a")
    assert lane.statistics() == {"held": 0, "queued": 0}


async def test_a_seat_given_to_one_who_is_being_cancelled_goes_on() -> None:
    lane = Lane(2, Limits())
    assert lane.take("a")
    first, second = (asyncio.create_task(lane.turn("a")) for _ in range(2))
    await asyncio.sleep(0)
    lane.leave("a")
    first.cancel()  # it has its seat, but has not woken up yet
    await asyncio.wait({first})
    await asyncio.wait_for(second, 1)
    assert lane.statistics() == {"held": 1, "queued": 0}


async def test_waiting_is_bounded_in_number_and_time() -> None:
    lane = Lane(2, Limits(queued=1, wait_seconds=0.01))
    assert lane.take("a")
    waiting = asyncio.create_task(lane.turn("a"))
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="Too many requests"):
        await lane.turn("a")
    with pytest.raises(ApiError) as refused:
        await waiting
    assert refused.value.code == 429
    assert lane.statistics() == {"held": 1, "queued": 0}


def test_sec_43_watches_of_one_user_are_counted() -> None:
    gate = Gate(Limits(streams=2))
    tenant, admin = User("tenant"), User("admin", ("system:masters",))
    with gate.streaming(tenant), gate.streaming(tenant):
        with pytest.raises(ApiError) as refused, gate.streaming(tenant):
            raise AssertionError
        assert refused.value.code == 429
        with gate.streaming(User("other")), gate.streaming(admin), gate.streaming(admin), gate.streaming(admin):
            assert gate.statistics()["streams"] == 6
    with gate.streaming(tenant):
        assert gate.statistics()["streams"] == 1


async def test_deadlines_expire_in_order_and_tick_only_while_something_runs() -> None:
    expired: list[str] = []
    both = asyncio.Event()

    def expire(name: str) -> None:
        expired.append(name)
        if len(expired) == 2:
            both.set()

    deadlines = Deadlines(0.02, expire)
    for name in "abc":
        deadlines.begin(name)
    assert deadlines.end("b")
    await asyncio.wait_for(both.wait(), 5)
    assert expired == ["a", "c"]
    assert not deadlines.end("a")
    assert deadlines._timer is None
