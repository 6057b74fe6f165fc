"""What other commands ask of a run: taken or refused while it is driven, left alone once it has ended."""

import asyncio
import gc

import pytest

from codexteam.app import requests
from codexteam.app.requests import RequestListener
from codexteam.core.effects import AskPerson, Awaited, WritePlan
from codexteam.core.events import Event, PauseRequested, RunStarted, StopRequested
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.state import Rules, RunState
from codexteam.core.steering_events import MessageLeft
from codexteam.errors import StoreError, UsageError
from codexteam.run.loop import Driver
from tests.fakes.fake_clock import FakeClock
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")


class Busy:
    """A performer whose effects take for ever, also to stop: a few steps in which requests still come."""

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
        raise AssertionError("unreachable")

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None: ...


async def test_a_request_that_comes_as_the_run_ends_is_left_for_who_asked() -> None:
    store = MemoryStore()
    driver = Driver(RUN, store=store, handler=Busy(), clock=FakeClock(), state=RunState(RUN, "goal", Rules()))

    async def take(asked: requests.Asked, taken: requests.StoredValue) -> None:
        assert isinstance(asked, PauseRequested)
        await driver.send(asked, [taken])

    desk = RequestListener(store, RUN, 0, take=take, report=lambda _kind, _fields: None)
    driving = asyncio.ensure_future(driver.drive(RunStarted()))
    for _ in range(10):
        await asyncio.sleep(0)
    driver.halt(StopRequested("told to", 143))
    for _ in range(5):
        await asyncio.sleep(0)
    before = await requests.leave(store, RUN, PauseRequested(), at_seconds=0.0)
    desk.look()
    await driving
    after = await requests.leave(store, RUN, PauseRequested(), at_seconds=0.0)
    desk.look()
    async with asyncio.timeout(60):
        await desk.close()
    assert [await requests.result_of(store, RUN, key) for key in (before, after)] == [None, None]


class SlowStore(MemoryStore):
    """Takes a few steps to write."""

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await super().put(space, key, value)


async def test_what_was_taken_is_said_to_be_before_the_desk_is_closed() -> None:
    store = SlowStore()
    key = await requests.leave(store, RUN, PauseRequested(), at_seconds=0.0)
    taken = asyncio.Event()

    async def take(asked: requests.Asked, _taken: requests.StoredValue) -> None:
        taken.set()

    desk = RequestListener(store, RUN, 0, take=take, report=lambda _kind, _fields: None)
    desk.look()
    await taken.wait()
    await desk.close()
    assert await requests.result_of(store, RUN, key) == "taken"


class FullStore(MemoryStore):
    """Cannot be written."""

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        if "result" in value:
            raise StoreError("the disk is full")
        await super().put(space, key, value)


async def test_requests_that_the_store_does_not_take_are_a_notice(caplog: pytest.LogCaptureFixture) -> None:
    store = FullStore()
    await requests.leave(store, RUN, PauseRequested(), at_seconds=0.0)
    told: list[JSONObject] = []

    async def take(asked: requests.Asked, _taken: requests.StoredValue) -> None:
        """Do as told."""

    desk = RequestListener(store, RUN, 0, take=take, report=lambda _kind, fields: told.append(fields))
    desk.look()
    await desk.close()
    await asyncio.sleep(0)
    gc.collect()
    assert "the disk is full" in str(told)
    assert caplog.text == ""


async def test_a_request_is_settled_with_its_event_and_so_taken_once() -> None:
    store = MemoryStore()
    driver = Driver(RUN, store=store, handler=Busy(), clock=FakeClock(), state=RunState(RUN, "goal", Rules()))
    key = await requests.leave(store, RUN, MessageLeft("planner", "small steps"), at_seconds=0.0)
    [(_, asked)] = await requests.pending(store, RUN)
    assert isinstance(asked, MessageLeft)

    driving = asyncio.ensure_future(driver.drive(RunStarted()))
    await asyncio.sleep(0)
    await driver.send(asked, [await requests.settled(store, RUN, key)])
    # killed here, before anybody else could say that it was taken
    assert await requests.pending(store, RUN) == []
    assert [kind for _, kind, _ in store.rows(RUN)] == ["RunStarted", "MessageLeft"]

    refused = driver.send(MessageLeft("T9", "nobody"), [await requests.settled(store, RUN, "000009.1")])
    with pytest.raises(UsageError, match="no task T9"):
        await refused
    assert await requests.result_of(store, RUN, "000009.1") is None, "what is refused settles nothing by itself"
    driver.halt(StopRequested("told to", 143))
    await driving
