"""What counts against a deadline: time in which this process ran, and nothing moved."""

import asyncio

import pytest

from codexteam.adapters.responses.call import DeadlineError, StreamDeadline
from tests.fakes.fake_clock import FakeClock

_HOUR_SECONDS = 3600.0


class _ClockOfAStoppedProcess(FakeClock):
    """Its first sleep ends an hour late."""

    async def sleep(self, seconds: float) -> None:
        if not self.slept:
            self.advance(_HOUR_SECONDS)
        await super().sleep(seconds)


async def test_an_answer_that_came_while_the_process_was_stopped_is_taken() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with StreamDeadline(_ClockOfAStoppedProcess(), idle_seconds=300, total_seconds=1800) as deadline:
        asyncio.get_running_loop().call_soon(answer.set_result, "the answer")
        assert await deadline.wait(answer) == "the answer"
        assert deadline.spent_seconds < _HOUR_SECONDS


async def test_silence_after_the_stop_counts_as_before() -> None:
    clock = _ClockOfAStoppedProcess()
    async with StreamDeadline(clock, idle_seconds=300, total_seconds=1800) as deadline:
        with pytest.raises(DeadlineError, match="nothing came for 300 s"):
            await deadline.wait(asyncio.Event().wait())
    assert sum(clock.slept) == 300
    assert deadline.spent_seconds == 300


async def test_a_call_that_goes_on_for_ever_ends() -> None:
    clock = FakeClock()
    async with StreamDeadline(clock, idle_seconds=300, total_seconds=1800) as deadline:

        async def drip() -> None:
            while True:
                deadline.moved()
                await asyncio.sleep(0)

        with pytest.raises(DeadlineError, match="did not end within 1800 s"):
            await deadline.wait(drip())
