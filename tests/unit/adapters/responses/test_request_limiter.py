"""All agents wait when one is told to."""

import asyncio

import pytest

from codexteam.adapters.responses.request_limiter import RequestLimiter
from tests.fakes.fake_clock import FakeClock


class _Calls:
    """Calls behind a gate that end when told to."""

    def __init__(self, gate: RequestLimiter) -> None:
        self.gate = gate
        self.inside: list[str] = []
        self.begun: dict[str, asyncio.Event] = {}
        self.done: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, cache_key: str = "") -> None:
        self.begun[name] = asyncio.Event()
        self.done[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._call(name, cache_key))

    async def _call(self, name: str, cache_key: str) -> None:
        async with self.gate.passage(cache_key) as passage:
            self.inside.append(name)
            passage.let_in(None, None)
            await self.begun[name].wait()
            passage.first_event()
            await self.done[name].wait()

    async def finish(self, *names: str) -> None:
        for name in names:
            self.begun[name].set()
            self.done[name].set()
            await asyncio.wait_for(self.tasks[name], 60)


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_than_the_width_is_let_in_and_in_order() -> None:
    calls = _Calls(RequestLimiter(FakeClock(), lambda: 0, max_width=2))
    for name in "abcd":
        calls.start(name)
    await _settle()
    assert calls.inside == ["a", "b"]
    await calls.finish("b")
    await _settle()
    assert calls.inside == ["a", "b", "c"]
    await calls.finish("a", "c", "d")
    assert calls.gate.state.in_flight == 0


async def test_a_429_of_one_call_holds_back_all_others() -> None:
    clock = FakeClock()
    gate = RequestLimiter(clock, lambda: 0, max_width=10)
    async with gate.passage("") as passage:
        assert passage.slowed_down(30) == 30
    began_at = clock.monotonic_seconds()
    async with gate.passage(""):
        assert clock.monotonic_seconds() - began_at >= 30
    assert clock.slept == [30]


async def test_a_pause_that_grows_while_calls_wait_is_waited_out() -> None:
    clock = FakeClock()
    gate = RequestLimiter(clock, lambda: 0, max_width=10)
    async with gate.passage("") as first:
        began_at = clock.monotonic_seconds()
        first.slowed_down(5)
        waiting = asyncio.create_task(_pass(gate, clock))
        first.slowed_down(50)
    assert await waiting - began_at >= 50


async def _pass(gate: RequestLimiter, clock: FakeClock) -> float:
    async with gate.passage(""):
        return clock.monotonic_seconds()


async def test_a_call_that_is_cancelled_while_it_waits_leaves_no_trace() -> None:
    calls = _Calls(RequestLimiter(FakeClock(), lambda: 0, max_width=1))
    for name in "abc":
        calls.start(name)
    await _settle()
    calls.tasks["b"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls.tasks["b"]
    await calls.finish("a", "c")
    assert calls.gate.state.in_flight == 0


async def test_a_call_that_is_cancelled_as_it_is_let_through_passes_its_place_on() -> None:
    gate = RequestLimiter(FakeClock(), lambda: 0, max_width=1)
    calls = _Calls(gate)
    async with gate.passage(""):
        calls.start("b")
        calls.start("c")
        await _settle()
    # its place was given to b just now, which does not know yet
    assert gate.state.in_flight == 1
    calls.tasks["b"].cancel()
    await calls.finish("c")
    assert calls.inside == ["c"]
    assert gate.state.in_flight == 0


async def test_the_first_of_some_siblings_goes_ahead_until_its_answer_begins() -> None:
    gate = RequestLimiter(_PatientClock(), lambda: 0, max_width=10, warm_first=True)
    calls = _Calls(gate)
    for name in "abc":
        calls.start(name, "implementer")
    calls.start("x", "reviewer")
    await _settle()
    assert calls.inside == ["a", "x"]
    calls.begun["a"].set()
    await _settle()
    assert sorted(calls.inside) == ["a", "b", "c", "x"]
    calls.start("d", "implementer")
    await _settle()
    assert "d" in calls.inside
    await calls.finish("a", "b", "c", "d", "x")


async def test_when_the_first_sibling_fails_the_next_goes_ahead() -> None:
    gate = RequestLimiter(_PatientClock(), lambda: 0, max_width=10, warm_first=True)
    calls = _Calls(gate)
    for name in "abc":
        calls.start(name, "implementer")
    await _settle()
    calls.tasks["a"].cancel()
    await _settle()
    assert calls.inside == ["a", "b"]
    calls.begun["b"].set()
    await _settle()
    await calls.finish("b", "c")


async def test_siblings_do_not_wait_for_ever_for_the_first() -> None:
    clock = FakeClock()
    calls = _Calls(RequestLimiter(clock, lambda: 0, max_width=10, warm_first=True, warm_seconds=3))
    calls.start("a", "implementer")
    calls.start("b", "implementer")
    await _settle()
    assert calls.inside == ["a", "b"]
    assert clock.slept == [3]
    await calls.finish("a", "b")


class _PatientClock(FakeClock):
    """Never moves by itself."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()
