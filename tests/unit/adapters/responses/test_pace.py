"""Callers go through in order and apart; one alone does not wait; a cancelled one holds nobody back."""

import asyncio

from codexteam.adapters.responses.request_limiter import Pace


async def test_one_alone_does_not_wait() -> None:
    pace = Pace(seconds=3600)
    await asyncio.wait_for(pace.turn(), 60)


async def test_callers_go_through_in_order_and_apart() -> None:
    pace = Pace(seconds=0.005)
    through: list[tuple[int, float]] = []

    async def caller(number: int) -> None:
        await pace.turn()
        through.append((number, asyncio.get_running_loop().time()))

    await asyncio.gather(*(caller(number) for number in range(20)))
    assert [number for number, _ in through] == list(range(20))
    # in all: a busy machine lets one be late and the next on time, and a timer rings as early as its clock is coarse
    assert through[-1][1] - through[0][1] > 19 * 0.004


async def test_a_cancelled_caller_gives_its_turn_to_the_next() -> None:
    pace = Pace(seconds=0.005)
    await pace.turn()
    first, second = asyncio.create_task(pace.turn()), asyncio.create_task(pace.turn())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 60)
    assert first.cancelled()


async def test_after_a_while_one_alone_does_not_wait_again() -> None:
    pace = Pace(seconds=0.001)
    await asyncio.gather(pace.turn(), pace.turn())
    while pace._pausing:
        await asyncio.sleep(0.001)
    await asyncio.wait_for(pace.turn(), 60)
