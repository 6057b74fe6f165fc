"""How work comes to its end: none of it is cut short, and no word to stop is lost."""

import asyncio
import gc

import pytest

from codexteam.system.cancellation import stopped, to_its_end, together
from tests.support_cancelling import stop_at_each_step


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_work_that_is_stopped_at_any_step_is_done_and_then_stopped(twice: bool) -> None:
    begun: list[str] = []
    done: list[str] = []

    async def remove() -> None:
        begun.append("one")
        for _ in range(5):
            await asyncio.sleep(0)
        done.append("one")

    async def all_done(where: str) -> None:
        assert done == begun, where

    async def work() -> None:
        await to_its_end(remove())

    await stop_at_each_step(work, all_done, twice=twice)


@pytest.mark.slow
async def test_what_goes_wrong_is_raised_to_who_waits_and_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def quiet(_where: str) -> None:
        gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
        assert caplog.text == ""

    async def work() -> None:
        await to_its_end(fail())

    with pytest.raises(ValueError, match="no"):
        await stop_at_each_step(work, quiet)
    failing = asyncio.ensure_future(fail())
    await asyncio.wait([failing])
    await stopped(failing)
    del failing
    await quiet("")


async def test_of_several_the_first_error_is_raised_when_the_others_have_ended() -> None:
    at_work = 0

    async def last() -> None:
        nonlocal at_work
        at_work += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            at_work -= 1

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await together(last(), fail(), last())
    assert at_work == 0


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_tasks_stopped_together_stop_even_if_one_fails_then(twice: bool) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def tidy() -> None:
        begun.append("one")
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append("one")

    async def all_ended(where: str) -> None:
        assert ended == begun, where

    async def work() -> None:
        await together(fail(), tidy())

    with pytest.raises(ValueError, match="no"):
        await stop_at_each_step(work, all_ended, twice=twice)


async def test_nothing_is_done_together_at_once() -> None:
    assert await together() == []
