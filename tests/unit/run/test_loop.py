"""The loop's promises: stored before it is acted on, repeated and never lost, the same end after any crash."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from codexteam.core.effects import AskPerson, Awaited, Result, Work, WritePlan
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    Continued,
    Event,
    PauseRequested,
    RunStarted,
    StopRequested,
)
from codexteam.core.facts import story
from codexteam.core.ids import GateName, JSONObject, RunId, TaskId
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event
from codexteam.errors import InvalidTransitionError, ModelAccessError, StoreError
from codexteam.ports.reporter import RunEvent
from codexteam.run.loop import Driver, load_state
from tests.fakes.fake_clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.unit.core.run_world import World, accepted_by, tasks

RUN = RunId("20261121-0231-7f3a")
RULES = Rules(gates=(GateName.CI, GateName.REVIEW), max_threads=3, batch_size=2)
PLAN = tasks("T1", "T2:T1", "T3:T1", "T4@a.py", "T5@a.py", "T6:T2,T3,T4")


@dataclass
class ScriptedHandler:
    """Answers effects as a World does; counts what it was asked."""

    world: World
    before: Callable[[Awaited], None] = lambda effect: None
    hang_on: frozenset[str] = frozenset()
    performed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        self.before(effect)
        self.performed.append(effect.key)
        if effect.key in self.hang_on:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return self.world.answer(effect)

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        self.asked.append(effect.key)


async def drive_session(
    store: MemoryStore, handler: ScriptedHandler, *, first: Event | None = None
) -> tuple[Driver, Result]:
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    driver = Driver(RUN, store=store, handler=handler, clock=FakeClock(), state=state)
    begin = first or (Continued() if await store.events(RUN) else RunStarted())
    finish = await driver.drive(begin)
    return driver, finish.result


async def test_a_run_is_driven_to_green_and_every_event_is_stored() -> None:
    store = MemoryStore()
    handler = ScriptedHandler(World(PLAN, RULES))

    driver, result = await drive_session(store, handler)

    assert result is Result.GREEN
    assert await load_state(store, RUN, goal="goal", rules=RULES) == driver.state
    assert len(handler.performed) == len(set(handler.performed)), "nothing is done twice"
    assert "write-plan" in handler.asked


async def test_plan_md_is_not_written_at_each_change_and_shows_the_end() -> None:
    shown: list[RunState] = []

    class Notes(ScriptedHandler):
        async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
            shown.append(state)

    store = MemoryStore()
    await drive_session(store, Notes(World(PLAN, RULES)))

    state = changed = RunState(RUN, "goal", RULES)
    changes = 0
    for stored in await store.events(RUN):
        state, effects = step(state, decode_event(stored.kind, stored.payload))
        changes += sum(isinstance(effect, WritePlan) for effect in effects)
        if any(isinstance(effect, WritePlan) for effect in effects):
            changed = state
    assert len(shown) < changes
    assert (shown[-1].tasks, shown[-1].round) == (changed.tasks, changed.round)


async def test_what_is_told_of_an_event_is_written_with_it() -> None:
    store = MemoryStore()
    await drive_session(store, ScriptedHandler(World(PLAN, RULES)))

    state, wanted = RunState(RUN, "goal", RULES), []
    for stored in await store.events(RUN):
        event = decode_event(stored.kind, stored.payload)
        after, effects = step(state, event)
        wanted += [(stored.sequence, kind) for kind, _ in story(event, state, after, effects)]
        state = after
    assert [(fact.fields["event"], fact.kind) for fact in await store.facts(RUN)] == wanted


async def test_what_is_reported_before_the_end_precedes_the_end() -> None:
    store = MemoryStore()
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    late = RunEvent("checkout.changed", 0.0, {"text": "1 file changed: README.md"})

    async def report(ended: RunState) -> None:
        assert ended.result is Result.GREEN
        store.record_facts(RUN, [late])

    driver = Driver(
        RUN,
        store=store,
        handler=ScriptedHandler(World(PLAN, RULES)),
        clock=FakeClock(),
        state=state,
        before_end=report,
    )
    assert (await driver.drive(RunStarted())).result is Result.GREEN
    told = [fact.kind for fact in await store.facts(RUN)]
    assert told.count("checkout.changed") == told.count("run.finished") == 1
    assert told.index("branch.landing") < told.index("checkout.changed") < told.index("run.finished")
    assert told[-1] == "run.finished"


@dataclass
class ReportingNotes(ScriptedHandler):
    """Reports something once plan.md is written, which takes longer than everything else."""

    store: MemoryStore = field(default_factory=MemoryStore)

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        if not self.asked:
            self.asked.append(effect.key)
            for _ in range(1000):
                await asyncio.sleep(0)
            self.store.record_facts(RUN, [RunEvent("forecast.made", 0.0, {})])


async def test_what_notes_report_is_told_before_the_end() -> None:
    store = MemoryStore()
    await drive_session(store, ReportingNotes(World(PLAN, RULES), store=store))

    told = [fact.kind for fact in await store.facts(RUN)]
    assert "forecast.made" in told
    assert told[-1] == "run.finished"


class ContinuingPerformer(ScriptedHandler):
    """Has the run told to continue at the beginning of each effect, and again when it is just done."""

    driver: Driver

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        self.driver.post(Continued())
        event = await super().perform(effect, state)
        self.driver.post(Continued())
        return event


async def test_resuming_at_any_moment_hands_out_nothing_twice() -> None:
    store = MemoryStore()
    handler = ContinuingPerformer(World(PLAN, RULES))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    handler.driver = Driver(RUN, store=store, handler=handler, clock=FakeClock(), state=state)

    assert (await handler.driver.drive(RunStarted())).result is Result.GREEN
    assert len(handler.performed) == len(set(handler.performed)), "nothing is done twice"


class DyingStore(MemoryStore):
    """Dies at its n-th append: before it is durable, or just after."""

    def __init__(self, dies_at: int, *, after: bool) -> None:
        super().__init__()
        self.left = dies_at
        self.after = after

    async def append(
        self,
        run_id: RunId,
        events: Sequence[tuple[float, str, JSONObject]],
        facts: Sequence[Sequence[RunEvent]] = (),
        values: Sequence[tuple[str, str, JSONObject]] = (),
    ) -> int:
        if not events:
            return await super().append(run_id, events, facts, values)
        self.left -= 1
        if self.left == 0 and not self.after:
            raise KeyboardInterrupt
        sequence = await super().append(run_id, events, facts, values)
        if self.left == 0:
            raise KeyboardInterrupt
        return sequence


async def appends_of_a_run() -> int:
    store = DyingStore(10**9, after=False)
    await drive_session(store, ScriptedHandler(World(PLAN, RULES)))
    return 10**9 - store.left


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
def test_a_crash_at_every_commit_then_resume_gives_the_same_end(after: bool) -> None:
    async def crash_and_resume(at: int) -> dict[str, str]:
        store = DyingStore(at, after=after)
        state = await load_state(store, RUN, goal="goal", rules=RULES)
        handler = ScriptedHandler(World(PLAN, RULES))
        driver = Driver(RUN, store=store, handler=handler, clock=FakeClock(), state=state)
        with pytest.raises(KeyboardInterrupt):
            await driver.drive(RunStarted())
        again, result = await drive_session(store, ScriptedHandler(World(PLAN, RULES)))
        assert result is Result.GREEN
        return {task_id: known.phase.value for task_id, known in again.state.tasks.items()}

    count = asyncio.run(appends_of_a_run())
    assert count > 10
    for at in range(1, count + 1):
        assert set(asyncio.run(crash_and_resume(at)).values()) == {"merged"}


class RefusingStore(DyingStore):
    """Refuses its n-th append, as when the disk is full, and takes the next; or fails when it has taken it."""

    async def append(
        self,
        run_id: RunId,
        events: Sequence[tuple[float, str, JSONObject]],
        facts: Sequence[Sequence[RunEvent]] = (),
        values: Sequence[tuple[str, str, JSONObject]] = (),
    ) -> int:
        try:
            return await super().append(run_id, events, facts, values)
        except KeyboardInterrupt:
            raise StoreError("database or disk is full") from None


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
async def test_a_checkpoint_has_what_the_store_took_and_nothing_else(after: bool) -> None:
    for at in range(1, await appends_of_a_run() + 1):
        store = RefusingStore(at, after=after)
        with pytest.raises(StoreError, match="full"):
            await drive_session(store, ScriptedHandler(World(PLAN, RULES)))
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

    await drive_session(store, ScriptedHandler(World(PLAN, RULES), before=is_stored))


async def test_a_halt_cancels_what_is_in_flight_and_resume_hands_it_out_again() -> None:
    store = MemoryStore()
    handler = ScriptedHandler(World(PLAN, RULES), hang_on=frozenset({"work.T1.1", "work.T4.1"}))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    driver = Driver(RUN, store=store, handler=handler, clock=FakeClock(), state=state)
    session = asyncio.create_task(driver.drive(RunStarted()))
    while not handler.hang_on <= set(handler.performed):
        await asyncio.sleep(0)

    driver.halt(StopRequested("SIGTERM", 143))
    finish = await session

    assert (finish.result, finish.exit_code) == (Result.INTERRUPTED, 143)
    again = ScriptedHandler(World(PLAN, RULES))
    _, result = await drive_session(store, again)
    assert result is Result.GREEN
    assert "work.T1.1" in again.performed


async def test_plan_md_shows_the_last_state_however_the_session_ends() -> None:
    shown: list[RunState] = []

    class SlowDisk(ScriptedHandler):
        is_slow = True

        async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
            if self.is_slow:
                await asyncio.Event().wait()
            shown.append(state)

    for is_halted in (True, False):
        shown.clear()
        store = MemoryStore()
        handler = SlowDisk(World(PLAN, RULES), hang_on=frozenset({"work.T1.1", "work.T4.1"}))
        driver = Driver(
            RUN,
            store=store,
            handler=handler,
            clock=FakeClock(),
            state=await load_state(store, RUN, goal="goal", rules=RULES),
        )
        session = asyncio.create_task(driver.drive(RunStarted()))
        while not handler.hang_on <= set(handler.performed):
            await asyncio.sleep(0)
        handler.is_slow = False
        if is_halted:
            driver.halt(StopRequested("SIGTERM", 143))
            await session
        else:
            session.cancel()  # as where the process is torn down around it
            with pytest.raises(asyncio.CancelledError):
                await session
        assert shown[-1].tasks == driver.state.tasks


class StoppedAfter(ScriptedHandler):
    """Has the session stopped in the moment in which an effect of a kind is done."""

    driver: Driver
    kind = ""

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        event = await super().perform(effect, state)
        if type(effect).__name__ == self.kind:
            self.driver.halt(StopRequested("SIGTERM", 143))
        return event


@pytest.mark.parametrize(("kind", "result"), [("Land", Result.GREEN), ("AdvanceBranch", Result.INTERRUPTED)])
async def test_a_halt_with_the_last_event_leaves_the_run_ended_as_it_did(kind: str, result: Result) -> None:
    store = MemoryStore()
    handler = StoppedAfter(World(PLAN, RULES))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    handler.driver = Driver(RUN, store=store, handler=handler, clock=FakeClock(), state=state)
    handler.kind = kind
    assert (await handler.driver.drive(RunStarted())).result is result
    again = await load_state(store, RUN, goal="goal", rules=RULES)
    assert (again.result is Result.GREEN) == (result is Result.GREEN)


@dataclass
class FirstFails(ScriptedHandler):
    """T1's commands fail once those of T2, stacked on it, have begun; `late` lets both answer in the same moment."""

    late: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: list[str] = field(default_factory=list)

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        if effect.key == "check.T2.1.1":
            self.begun.set()
            try:
                await (self.failed if self.late else asyncio.Event()).wait()
            except asyncio.CancelledError:
                self.cancelled.append(effect.key)
                raise
        if effect.key == "check.T1.1.1":
            await self.begun.wait()
            self.failed.set()
            return AcceptanceFailed(TaskId("T1"), 1, "1 failed", 1)
        return await super().perform(effect, state)


@pytest.mark.parametrize("late", [False, True])
async def test_what_no_decision_waits_for_any_more_is_ended(late: bool) -> None:
    plan = accepted_by("test -f {}.txt", "T1", "T2")
    handler = FirstFails(World(plan, RULES), late=late)
    store = MemoryStore()

    driver, result = await drive_session(store, handler)

    assert result is Result.GREEN
    assert handler.cancelled == ([] if late else ["check.T2.1.1"])
    assert driver.state.tasks[TaskId("T1")].attempt == 2
    assert driver.state.tasks[TaskId("T2")].attempt == 1
    assert await load_state(store, RUN, goal="goal", rules=RULES) == driver.state


async def test_an_effects_error_ends_the_session_and_leaves_a_resumable_run() -> None:
    def refuse(effect: Awaited) -> None:
        if effect.key == "work.T2.1":
            raise ModelAccessError("401", hint="set OPENAI_API_KEY")

    store = MemoryStore()
    with pytest.raises(ModelAccessError, match="401"):
        await drive_session(store, ScriptedHandler(World(PLAN, RULES), before=refuse))

    _, result = await drive_session(store, ScriptedHandler(World(PLAN, RULES)))

    assert result is Result.GREEN


@contextlib.asynccontextmanager
async def at_work(store: MemoryStore) -> AsyncIterator[Driver]:
    """Have a session in which an agent is at work and does not end; it is halted at the end of the block."""
    handler = ScriptedHandler(World(PLAN, RULES), hang_on=frozenset({"work.T1.1"}))
    state = await load_state(store, RUN, goal="goal", rules=RULES)
    driver = Driver(RUN, store=store, handler=handler, clock=FakeClock(), state=state)
    session = asyncio.create_task(driver.drive(RunStarted()))
    while "work.T1.1" not in handler.performed:
        await asyncio.sleep(0)
    yield driver
    driver.halt(StopRequested("end"))
    await session


async def test_a_persons_event_that_does_not_fit_is_refused_to_them_alone() -> None:
    store = MemoryStore()
    async with at_work(store) as driver:
        with pytest.raises(InvalidTransitionError, match="an answer to question.T9.1"):
            await driver.send(Answered("question.T9.1", "blue"))

    assert "Answered" not in {event.kind for event in await store.events(RUN)}


async def test_what_a_person_asks_for_is_told_under_their_name() -> None:
    store = MemoryStore()
    async with at_work(store) as driver:
        await driver.send(PauseRequested(), by="ann")

    assert [(fact.kind, fact.fields["by"]) for fact in await store.facts(RUN) if "by" in fact.fields] == [
        ("run.paused", "ann")
    ]


class SlowNotes(ScriptedHandler):
    """Takes many steps to write plan.md."""

    noting = 0

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        self.noting += 1
        try:
            for _ in range(20):
                await asyncio.sleep(0)
        finally:
            self.noting -= 1


async def test_a_session_that_is_stopped_at_any_step_leaves_nothing_at_work() -> None:
    for steps in range(200):
        handler = SlowNotes(World(PLAN, RULES))
        state = await load_state(MemoryStore(), RUN, goal="goal", rules=RULES)
        driver = Driver(RUN, store=MemoryStore(), handler=handler, clock=FakeClock(), state=state)
        driving = asyncio.ensure_future(driver.drive(RunStarted()))
        for _ in range(steps):
            await asyncio.sleep(0)
        driver.halt(StopRequested("told to", 143))
        await driving
        assert handler.noting == 0, steps
