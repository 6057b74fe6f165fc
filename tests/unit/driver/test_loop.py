"""The loop's promises: stored before it is acted on, repeated and never lost, the same end after any crash."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from codexteam.core.codec import decode_event
from codexteam.core.effects import AskPerson, Awaited, Result, Work, WritePlan
from codexteam.core.events import Answered, Continued, Event, RunStarted, StopRequested
from codexteam.core.findings import GateName
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.driver.loop import Driver, Seen, load_state
from codexteam.errors import InvalidTransitionError, ModelAccessError, StoreError
from tests.fakes.fake_clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.run_world import World, tasks

RUN = RunId("20261121-0231-7f3a")
RULES = Rules(gates=(GateName.CI, GateName.REVIEW), max_threads=3, batch_size=2)
PLAN = tasks("T1", "T2:T1", "T3:T1", "T4@a.py", "T5@a.py", "T6:T2,T3,T4")


@dataclass
class ScriptedPerformer:
    """Answers effects as a World does; counts what it was asked."""

    world: World
    before: Callable[[Awaited], None] = lambda effect: None
    hang_on: frozenset[str] = frozenset()
    performed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        self.before(effect)
        self.performed.append(effect.key)
        if effect.key in self.hang_on:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return self.world.answer(effect)

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        self.asked.append(effect.key)

    def saw(self, seen: Seen) -> None:
        self.shown.append(type(seen.event).__name__)


async def sit(store: MemoryStore, performer: ScriptedPerformer, *, first: Event | None = None) -> tuple[Driver, Result]:
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    driver = Driver(RUN, store=store, performer=performer, clock=FakeClock(), state=state)
    begin = first or (Continued() if await store.events(RUN) else RunStarted())
    finish = await driver.drive(begin)
    return driver, finish.result


async def test_a_run_is_driven_to_green_and_every_event_is_stored() -> None:
    store = MemoryStore()
    performer = ScriptedPerformer(World(PLAN, RULES))

    driver, result = await sit(store, performer)

    assert result is Result.GREEN
    assert await load_state(store, RUN, goal="goal", rules=RULES) == driver.state
    assert [event.kind for event in await store.events(RUN)] == performer.shown
    assert len(performer.performed) == len(set(performer.performed)), "nothing is done twice"
    assert "write-plan" in performer.asked


class ContinuingPerformer(ScriptedPerformer):
    """Has the run told to go on at the beginning of each effect, and again when it is just done."""

    driver: Driver

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        self.driver.post(Continued())
        event = await super().perform(effect, state)
        self.driver.post(Continued())
        return event


async def test_going_on_at_any_moment_hands_nothing_out_that_runs_or_has_just_ended() -> None:
    store = MemoryStore()
    performer = ContinuingPerformer(World(PLAN, RULES))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    performer.driver = Driver(RUN, store=store, performer=performer, clock=FakeClock(), state=state)

    assert (await performer.driver.drive(RunStarted())).result is Result.GREEN
    assert len(performer.performed) == len(set(performer.performed)), "nothing is done twice"


class DyingStore(MemoryStore):
    """Dies at its n-th append: before it is durable, or just after."""

    def __init__(self, dies_at: int, *, after: bool) -> None:
        super().__init__()
        self.left = dies_at
        self.after = after

    async def append(self, run_id: RunId, events: Sequence[tuple[float, str, JSONObject]]) -> int:
        if not events:
            return await super().append(run_id, events)
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        sequence = await super().append(run_id, events)
        if self.left == 0:
            raise KeyboardInterrupt
        return sequence


async def appends_of_a_run() -> int:
    store = DyingStore(10**9, after=False)
    await sit(store, ScriptedPerformer(World(PLAN, RULES)))
    return 10**9 - store.left


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
def test_a_crash_at_every_commit_then_resume_gives_the_same_end(after: bool) -> None:
    async def crash_and_resume(at: int) -> dict[str, str]:
        store = DyingStore(at, after=after)
        state = await load_state(store, RUN, goal="goal", rules=RULES)
        performer = ScriptedPerformer(World(PLAN, RULES))
        driver = Driver(RUN, store=store, performer=performer, clock=FakeClock(), state=state)
        with pytest.raises(KeyboardInterrupt):
            await driver.drive(RunStarted())
        again, result = await sit(store, ScriptedPerformer(World(PLAN, RULES)))
        assert result is Result.GREEN
        return {task_id: known.phase.value for task_id, known in again.state.tasks.items()}

    count = asyncio.run(appends_of_a_run())
    assert count > 10
    for at in range(1, count + 1):
        assert set(asyncio.run(crash_and_resume(at)).values()) == {"merged"}


class RefusingStore(DyingStore):
    """Refuses its n-th append, as when the disk is full, and takes the next; or fails when it has taken it."""

    async def append(self, run_id: RunId, events: Sequence[tuple[float, str, JSONObject]]) -> int:
        try:
            return await super().append(run_id, events)
        except KeyboardInterrupt:
            raise StoreError("database or disk is full") from None


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
async def test_a_checkpoint_has_what_the_store_took_and_nothing_else(after: bool) -> None:
    for at in range(1, await appends_of_a_run() + 1):
        store = RefusingStore(at, after=after)
        with pytest.raises(StoreError, match="full"):
            await sit(store, ScriptedPerformer(World(PLAN, RULES)))
        kept = await load_state(store, RUN, goal="goal", rules=RULES)
        replayed = RunState(RUN, "goal", RULES)
        for event in await store.events(RUN):
            replayed, _ = step(replayed, decode_event(event.kind, event.payload))
        assert kept == replayed, at


async def test_effects_are_handed_out_only_after_their_event_is_stored() -> None:
    store = MemoryStore()

    def is_stored(effect: Awaited) -> None:
        kinds = [kind for _, kind, _ in store.rows(RUN)]
        if isinstance(effect, Work):
            assert "Planned" in kinds

    await sit(store, ScriptedPerformer(World(PLAN, RULES), before=is_stored))


async def test_a_halt_cancels_what_is_in_flight_and_resume_hands_it_out_again() -> None:
    store = MemoryStore()
    performer = ScriptedPerformer(World(PLAN, RULES), hang_on=frozenset({"work.T1.1", "work.T4.1"}))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    driver = Driver(RUN, store=store, performer=performer, clock=FakeClock(), state=state)
    sitting = asyncio.create_task(driver.drive(RunStarted()))
    while not performer.hang_on <= set(performer.performed):
        await asyncio.sleep(0)

    driver.halt(StopRequested("SIGTERM", 143))
    finish = await sitting

    assert (finish.result, finish.exit_code) == (Result.INTERRUPTED, 143)
    again = ScriptedPerformer(World(PLAN, RULES))
    _, result = await sit(store, again)
    assert result is Result.GREEN
    assert "work.T1.1" in again.performed


async def test_what_an_effect_raises_ends_the_sitting_and_leaves_a_run_that_goes_on() -> None:
    def refuse(effect: Awaited) -> None:
        if effect.key == "work.T2.1":
            raise ModelAccessError("401", hint="set OPENAI_API_KEY")

    store = MemoryStore()
    with pytest.raises(ModelAccessError, match="401"):
        await sit(store, ScriptedPerformer(World(PLAN, RULES), before=refuse))

    _, result = await sit(store, ScriptedPerformer(World(PLAN, RULES)))

    assert result is Result.GREEN


async def test_a_person_s_event_that_does_not_fit_is_refused_to_that_person_alone() -> None:
    store = MemoryStore()
    performer = ScriptedPerformer(World(PLAN, RULES), hang_on=frozenset({"work.T1.1"}))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    driver = Driver(RUN, store=store, performer=performer, clock=FakeClock(), state=state)
    sitting = asyncio.create_task(driver.drive(RunStarted()))
    while "work.T1.1" not in performer.performed:
        await asyncio.sleep(0)

    with pytest.raises(InvalidTransitionError, match="an answer to question.T9.1"):
        await driver.send(Answered("question.T9.1", "blue"))

    driver.halt(StopRequested("end"))
    await sitting
    assert "Answered" not in performer.shown


class SlowNotes(ScriptedPerformer):
    """Takes many steps to write plan.md."""

    noting = 0

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        self.noting += 1
        try:
            for _ in range(20):
                await asyncio.sleep(0)
        finally:
            self.noting -= 1


async def test_a_sitting_that_is_stopped_at_any_step_leaves_nothing_at_work() -> None:
    for steps in range(200):
        performer = SlowNotes(World(PLAN, RULES))
        state = await load_state(MemoryStore(), RUN, goal="goal", rules=RULES)
        driver = Driver(RUN, store=MemoryStore(), performer=performer, clock=FakeClock(), state=state)
        driving = asyncio.ensure_future(driver.drive(RunStarted()))
        for _ in range(steps):
            await asyncio.sleep(0)
        driver.halt(StopRequested("told to", 143))
        await driving
        assert performer.noting == 0, steps
