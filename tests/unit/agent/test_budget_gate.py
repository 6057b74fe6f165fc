"""Hundreds of agents at one ledger."""

import asyncio
import random
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path

import pytest

from codexteam.agent.budget_gate import BudgetGate, limits_of, restored_ledger
from codexteam.agent.outcome import AgentOutcome, OutOfBudget, Submitted
from codexteam.config.settings import BudgetSettings
from codexteam.core.budget import BudgetLimits, Exhausted, Ledger, Reservation
from codexteam.core.budget_amounts import Amount
from codexteam.core.ids import AgentKey, CallKey, Purpose
from codexteam.core.usage import Price, Usage
from codexteam.ports.model import Answered, ModelEvent, ModelRequest, StreamRestarted
from codexteam.ports.store import OpenCall, StoredAnswer
from tests.fakes.fake_sandbox import FakeEngine, ended
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_model import USAGE, Play, ScriptedModel
from tests.support_cancelling import stop_at_each_step
from tests.unit.agent.agent_world import REPORT, RUN, AgentWorld, playing, run_line, said

PRICE = Price(input_usd=1.0, output_usd=10.0)


def call(agent: int, turn: int) -> CallKey:
    role = ("implementer", "reviewer")[agent % 2]
    return CallKey(AgentKey(RUN, role, Purpose.IMPLEMENT, f"T{agent % 20}", agent), turn, Purpose.IMPLEMENT)


@pytest.mark.parametrize("seed", range(5))
async def test_two_hundred_agents_at_once_never_pass_a_limit(seed: int) -> None:
    chance = random.Random(seed)
    limits = BudgetLimits(run_tokens=3_000_000, run_usd=12.0, task_tokens=400_000, role_tokens={"reviewer": 1_000_000})
    gate = BudgetGate(Ledger(limits), {"gpt-5.4": PRICE})
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
        run = ledger.tally("run")
        assert run.tokens + ledger.held_tokens() <= 3_000_000
        assert run.usd <= 12.0 + 1e-9
        assert all(task.tokens <= 400_000 for task in ledger.tallies("task").values())
        assert ledger.tally("role", "reviewer").tokens <= 1_000_000

    await asyncio.gather(*(agent(number) for number in range(200)))
    check()
    assert refused > 0
    assert gate.ledger.held_tokens() == 0


async def test_two_hundred_agents_at_work_never_pass_the_runs_limit(tmp_path: Path) -> None:
    limits = BudgetLimits(run_tokens=2_100_000)
    store = MemoryStore()
    ledger = Ledger(limits)

    def play(request: ModelRequest) -> Play:
        usage = Usage(2_000, 0, 1_000, 0)
        if request.key.turn == 4:
            return Answered((said(REPORT),), usage)
        return Answered((run_line(f"step {request.key.turn}"),), usage)

    model = ScriptedModel(play)
    worlds = []
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = AgentWorld(folder, model, FakeEngine(otherwise=ended()), store=store)
        world.key = call(number, 1).agent
        worlds.append(world)
    gate = BudgetGate(ledger, {})
    for world in worlds:
        world.gate = gate
    outcomes = await asyncio.gather(*(world.work() for world in worlds))
    assert ledger.tally("run").tokens <= 2_100_000
    kinds = {type(outcome) for outcome in outcomes}
    assert kinds == {Submitted, OutOfBudget}
    assert ledger.tally("run").calls == len(model.requests)
    again = await restored_ledger(store, RUN, limits, {})
    assert again.tally("run").tokens == ledger.tally("run").tokens


async def test_a_call_that_waits_goes_on_when_another_is_settled() -> None:
    gate = BudgetGate(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    first = await gate.reserve(call(0, 1), "m", input_tokens=4_000, output_tokens=4_000)
    assert isinstance(first, Reservation)
    second = asyncio.create_task(gate.reserve(call(1, 1), "m", input_tokens=4_000, output_tokens=4_000))
    await asyncio.sleep(0)
    assert not second.done()
    gate.settle(first, Usage(10, 0, 10, 0))
    assert isinstance(await second, Reservation)


async def test_a_waiting_call_may_be_cancelled() -> None:
    gate = BudgetGate(Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0)), {})
    first = await gate.reserve(call(0, 1), "m", input_tokens=4_000, output_tokens=4_000)
    assert isinstance(first, Reservation)
    second = asyncio.create_task(gate.reserve(call(1, 1), "m", input_tokens=4_000, output_tokens=4_000))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    gate.release(first)
    assert gate.ledger.held_tokens() == 0


async def test_a_granted_share_is_a_limit_for_its_agent_alone() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=100_000, wind_down_share=0))
    gate = BudgetGate(ledger, {})
    ledger.grant(call(0, 1).agent, 0.1)
    reservation = await gate.reserve(call(0, 1), "m", input_tokens=8_000, output_tokens=2_000)
    assert isinstance(reservation, Reservation)
    gate.settle(reservation, Usage(8_000, 0, 1_500, 0))
    refused = await gate.reserve(call(0, 2), "m", input_tokens=8_000, output_tokens=2_000)
    assert isinstance(refused, Exhausted)
    assert refused.kind == "agent"
    assert isinstance(await gate.reserve(call(1, 1), "m", input_tokens=8_000, output_tokens=2_000), Reservation)


async def test_a_restored_ledger_keeps_what_lost_tries_may_have_cost(tmp_path: Path) -> None:
    world = AgentWorld(tmp_path, playing([said(REPORT)]))
    key = CallKey(world.key, 1, Purpose.IMPLEMENT)
    world.gate.ledger.restore_open(key, "gpt-5.4", Amount(7_000, None, None))
    await world.work()
    ledger = await restored_ledger(world.store, RUN, BudgetLimits(), {})
    assert ledger.tally("run").tokens == 7_000 + 120


def test_settings_become_limits() -> None:
    settings = BudgetSettings(run_usd=5, run_tokens=1, task_tokens=2, role_tokens={"reviewer": 3}, wind_down_share=0.1)
    assert limits_of(settings) == BudgetLimits(
        run_usd=5, run_tokens=1, task_tokens=2, role_tokens={"reviewer": 3}, wind_down_share=0.1
    )


class SlowStore(MemoryStore):
    """Takes a few steps to write what it was asked to, also when who asked is stopped meanwhile."""

    async def open_call(self, call: OpenCall) -> None:
        await asyncio.shield(self._later(super().open_call(call)))

    async def record_answer(self, answer: StoredAnswer) -> None:
        await asyncio.shield(self._later(super().record_answer(answer)))

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
            self.owed_tokens += USAGE.total_tokens
            await asyncio.sleep(0)
            yield StreamRestarted("it broke", 0.0, 2, usage, may_be_billed=True)
        self.owed_tokens += USAGE.total_tokens
        await asyncio.sleep(0)
        yield Answered((run_line("ls") if request.key.turn == 1 else said(REPORT),), USAGE)

    async def close(self) -> None: ...


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_an_agent_that_is_stopped_at_any_step_holds_nothing_back_and_counts_all_that_may_be_billed(
    tmp_path: Path, twice: bool
) -> None:
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
            assert world.gate.ledger.held_tokens() == 0, where
            assert world.gate.ledger.tally("run").tokens >= model.owed_tokens, where
            again = await restored_ledger(world.store, RUN, BudgetLimits(), {})
            assert again.tally("run").tokens >= model.owed_tokens, where

    assert isinstance(await stop_at_each_step(work, all_is_counted, twice=twice), Submitted)
