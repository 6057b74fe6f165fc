"""Hundreds of agents at one ledger."""

import asyncio
import random
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from codexteam.agent.outcome import AgentOutcome, OutOfBudget, Submitted
from codexteam.agent.reservations import Patience, Reservations, restored_ledger
from codexteam.core.budget import BudgetLimits, Exhausted, Ledger, Reservation
from codexteam.core.budget_amounts import Amount, Price, Unit, Usage
from codexteam.core.budget_queue import Standing, work_rank
from codexteam.core.ids import AgentKey, CallKey, Purpose
from codexteam.core.plan_windows import PlanWindows, UsageWindow
from codexteam.ports.model import ModelAnswer, ModelEvent, ModelRequest, Sending, StreamRestarted
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import OpenCall, StoredAnswer
from tests.fakes.fake_sandbox import FakeEngine, ended
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_model import USAGE, Play, ScriptedModel
from tests.support_cancelling import stop_at_each_step
from tests.support_ledger import held_tokens, spent
from tests.unit.agent.agent_world import REPORT, RUN, AgentWorld, playing, run_line, said

PRICE = Price(input_usd=1.0, output_usd=10.0)


def call(agent: int, turn: int) -> CallKey:
    role = ("implementer", "reviewer")[agent % 2]
    return CallKey(AgentKey(RUN, role, Purpose.IMPLEMENT, f"T{agent % 20}", agent), turn, Purpose.IMPLEMENT)


def held(decision: Reservation | Exhausted) -> Reservation:
    assert isinstance(decision, Reservation), decision
    return decision


@pytest.mark.parametrize("seed", range(5))
async def test_two_hundred_agents_at_once_never_pass_a_limit(seed: int) -> None:
    chance = random.Random(seed)
    limits = BudgetLimits(run_tokens=3_000_000, run_usd=12.0, task_tokens=400_000, role_tokens={"reviewer": 1_000_000})
    gate = Reservations(Ledger(limits), {"gpt-5.4": PRICE})
    refused = 0

    async def agent(number: int) -> None:
        nonlocal refused
        for turn in range(1, 9):
            input_tokens = chance.randint(100, 40_000)
            decision = await gate.reserve(
                call(number, turn), "gpt-5.4", input_tokens=input_tokens, output_tokens=chance.randint(1_000, 8_000)
            )
            if isinstance(decision, Exhausted):
                refused += 1
                return
            for _ in range(chance.randint(0, 5)):
                await asyncio.sleep(0)
            check()
            share = chance.random()
            used = Usage(int(input_tokens * share), 0, int(decision.output_tokens * share), 0)
            match chance.randint(0, 9):
                case 0:
                    gate.release(decision)
                case 1:
                    gate.settle(decision, None)
                case 2:
                    gate.lose(decision)
                case _:
                    gate.settle(decision, used)

    def check() -> None:
        ledger = gate.ledger
        assert spent(ledger) + held_tokens(ledger) <= 3_000_000
        assert spent(ledger, Unit.USD) <= 12.0 + 1e-9
        tasks = [name for kind, name in ledger.accounts if kind == "task"]
        assert all(spent(ledger, kind="task", name=name) <= 400_000 for name in tasks)
        assert spent(ledger, kind="role", name="reviewer") <= 1_000_000

    await asyncio.gather(*(agent(number) for number in range(200)))
    check()
    assert refused > 0
    assert held_tokens(gate.ledger) == 0


async def test_two_hundred_agents_at_work_never_pass_the_runs_limit(tmp_path: Path) -> None:
    limits = BudgetLimits(run_tokens=2_100_000)
    store = MemoryStore()
    ledger = Ledger(limits)

    def play(request: ModelRequest) -> Play:
        usage = Usage(2_000, 0, 1_000, 0)
        if request.key.turn == 4:
            return ModelAnswer((said(REPORT),), usage)
        return ModelAnswer((run_line(f"step {request.key.turn}"),), usage)

    model = ScriptedModel(play)
    worlds = []
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = AgentWorld(folder, model, FakeEngine(otherwise=ended()), store=store)
        world.key = call(number, 1).agent
        worlds.append(world)
    gate = Reservations(ledger, {})
    for world in worlds:
        world.gate = gate
    outcomes = await asyncio.gather(*(world.work() for world in worlds))
    assert spent(ledger) <= 2_100_000
    kinds = {type(outcome) for outcome in outcomes}
    assert kinds == {Submitted, OutOfBudget}
    assert len(await store.answers(RUN)) == len(model.requests)
    again = await restored_ledger(store, RUN, limits, {})
    assert spent(again) == spent(ledger)


async def test_a_call_that_waits_goes_on_when_another_is_settled() -> None:
    gate = Reservations(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    first = await gate.reserve(call(0, 1), "m", input_tokens=4_000, output_tokens=4_000)
    assert isinstance(first, Reservation)
    second = asyncio.create_task(gate.reserve(call(1, 1), "m", input_tokens=4_000, output_tokens=4_000))
    await asyncio.sleep(0)
    assert not second.done()
    gate.settle(first, Usage(10, 0, 10, 0))
    assert isinstance(await second, Reservation)


async def test_a_waiting_call_may_be_cancelled() -> None:
    gate = Reservations(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    first = await gate.reserve(call(0, 1), "m", input_tokens=4_000, output_tokens=4_000)
    assert isinstance(first, Reservation)
    second = asyncio.create_task(gate.reserve(call(1, 1), "m", input_tokens=4_000, output_tokens=4_000))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    gate.release(first)
    assert held_tokens(gate.ledger) == 0


def standing(place: int) -> Standing:
    return Standing(work_rank((0, place)))


async def test_a_later_agent_waits_for_what_an_earlier_one_may_need() -> None:
    gate = Reservations(Ledger(BudgetLimits(run_tokens=99_000, wind_down_share=0)), {})
    first, second = call(0, 1), call(2, 1)
    with gate.at_work(first.agent, standing(1)):
        reservation = await gate.reserve(first, "m", input_tokens=8_000, output_tokens=2_000)
        assert isinstance(reservation, Reservation)
        gate.settle(reservation, Usage(8_000, 0, 1_500, 0))
        with gate.at_work(second.agent, standing(2)):
            later = asyncio.create_task(gate.reserve(second, "m", input_tokens=8_000, output_tokens=2_000))
            await asyncio.sleep(0)
            assert not later.done(), "nothing is on its way, and the first has calls to make yet"
            again = await gate.reserve(call(0, 2), "m", input_tokens=60_000, output_tokens=30_000)
            assert isinstance(again, Reservation)
            gate.settle(again, Usage(10_000, 0, 1_500, 0))
            gate.queue.leave(first.agent)
            gate.release(held(await gate.reserve(call(0, 3), "m", input_tokens=1, output_tokens=1)))
            assert isinstance(await later, Reservation)


async def test_the_first_of_those_that_wait_goes_on_first() -> None:
    gate = Reservations(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    at_work = held(await gate.reserve(call(0, 1), "m", input_tokens=8_000, output_tokens=2_000))
    went_on: list[int] = []

    async def work(number: int) -> None:
        with gate.at_work(call(number, 1).agent, standing(-number)):
            reservation = held(await gate.reserve(call(number, 1), "m", input_tokens=8_000, output_tokens=2_000))
            went_on.append(number)
            await asyncio.sleep(0)
            gate.release(reservation)

    waiting = [asyncio.create_task(work(number)) for number in (2, 4, 6)]
    await asyncio.sleep(0)
    gate.release(at_work)
    await asyncio.gather(*waiting)
    assert went_on == [6, 4, 2]


async def test_once_a_task_is_refused_nobody_is_paid_for_judging() -> None:
    gate = Reservations(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    refused = await gate.reserve(call(0, 1), "m", input_tokens=20_000, output_tokens=2_000)
    assert isinstance(refused, Exhausted)
    judge = CallKey(AgentKey(RUN, "reviewer", Purpose.REVIEW, "", 1), 1, Purpose.REVIEW)
    decision = await gate.reserve(judge, "m", input_tokens=100, output_tokens=100)
    assert isinstance(decision, Exhausted)
    assert decision.message == "reviewer waits until there is budget for the tasks"


async def test_a_waiting_call_says_what_it_needs_and_stops_the_agents_clock() -> None:
    gate = Reservations(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    first = held(await gate.reserve(call(0, 1), "m", input_tokens=4_000, output_tokens=4_000))
    told: list[str] = []

    @contextmanager
    def paused() -> Iterator[None]:
        told.append("(paused)")
        yield
        told.append("(continues)")

    patience = Patience(paused, told.append)
    waiting = asyncio.create_task(
        gate.reserve(call(2, 1), "m", input_tokens=4_000, output_tokens=4_000, patience=patience)
    )
    await asyncio.sleep(0)
    gate.settle(first, Usage(10, 0, 10, 0))
    held(await waiting)
    waits = "waits for budget: one call needs up to 8k tokens, 2k tokens are free"
    assert told == [waits, "(paused)", "(continues)", ""]


async def test_a_restored_ledger_keeps_what_lost_tries_may_have_cost(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([said(REPORT)]))
    key = CallKey(world.key, 1, Purpose.IMPLEMENT)
    world.gate.ledger.restore_open(key, Amount(7_000, None, None))
    await world.work()
    ledger = await restored_ledger(world.store, RUN, BudgetLimits(), {})
    assert spent(ledger) == 7_000 + 120


class SlowStore(MemoryStore):
    """Takes a few steps to write what it was asked to, also when who asked is stopped meanwhile."""

    async def open_call(self, call: OpenCall) -> None:
        await asyncio.shield(self._later(super().open_call(call)))

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        await asyncio.shield(self._later(super().record_answer(answer, facts)))

    async def _later(self, write: Coroutine[object, object, None]) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await write


class BreakingModel:
    """Every call breaks twice, once with its bill and once without, then is answered; counts what it is owed."""

    def __init__(self) -> None:
        self.owed_tokens = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        for usage in (None, USAGE):
            yield Sending()
            self.owed_tokens += USAGE.total_tokens
            await asyncio.sleep(0)
            yield StreamRestarted("it broke", 0.0, 2, usage, may_be_billed=True)
        yield Sending()
        self.owed_tokens += USAGE.total_tokens
        await asyncio.sleep(0)
        yield ModelAnswer((run_line("ls") if request.key.turn == 1 else said(REPORT),), USAGE)

    async def close(self) -> None: ...


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_an_agent_stopped_anywhere_holds_no_budget_and_counts_its_bill(tmp_path: Path, twice: bool) -> None:
    made: list[tuple[AgentWorld, BreakingModel]] = []

    async def work() -> AgentOutcome:
        model = BreakingModel()
        world = AgentWorld(tmp_path, model, FakeEngine(otherwise=ended()), store=SlowStore())
        made.append((world, model))
        return await world.work()

    async def all_is_counted(where: str) -> None:
        for _ in range(10):  # what was asked for is written
            await asyncio.sleep(0)
        for world, model in made[-1:]:
            assert held_tokens(world.gate.ledger) == 0, where
            assert spent(world.gate.ledger) >= model.owed_tokens, where
            again = await restored_ledger(world.store, RUN, BudgetLimits(), {})
            assert spent(again) >= model.owed_tokens, where

    assert isinstance(await stop_at_each_step(work, all_is_counted, twice=twice), Submitted)


def plan_gate(limit: float = 100) -> Reservations:
    """A gate whose implementers use a plan; one percent of its weekly window is used."""
    plan = PlanWindows({"weekly": limit}, frozenset({"implementer"}))
    plan.take([UsageWindow("weekly", 1)])
    return Reservations(Ledger(BudgetLimits()), {}, windows=plan, most_at_once=2)


async def asked(gate: Reservations, agent: int, *, hand_over: bool = False) -> Reservation | Exhausted:
    return await gate.reserve(call(agent, 1), "gpt-5.4", input_tokens=100, output_tokens=2_000, hand_over=hand_over)


async def test_a_spent_share_of_a_window_refuses_those_who_use_the_plan() -> None:
    gate = plan_gate(limit=10)
    held(await asked(gate, 2))
    gate.windows.take([UsageWindow("weekly", 11)])
    refused = await asked(gate, 2)
    assert isinstance(refused, Exhausted)
    assert refused.budget_scope.window == "weekly"
    held(await asked(gate, 1))  # a reviewer, on an API key


async def test_in_a_nearly_full_window_agents_wait_for_those_before() -> None:
    gate = plan_gate()
    agents = [call(number, 1).agent for number in (2, 4, 6)]
    with gate.at_work(agents[0], Standing(work_rank((0,)))):
        gate.windows.take([UsageWindow("weekly", 95)])
        with gate.at_work(agents[1], Standing(work_rank((1,)))):
            held(await asked(gate, 2))
            waiting = asyncio.create_task(asked(gate, 4))
            await asyncio.sleep(0)
            assert not waiting.done()
            gate.windows.take([UsageWindow("weekly", 2, 1e9)])
            gate.look_again()
            held(await waiting)
