"""What starts while the answer is still on its way."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from codexteam.agent.event_fields import CallRetried
from codexteam.agent.outcome import GaveUp, ModelGaveUp, OutOfBudget, Submitted
from codexteam.config.settings import SandboxMode
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject, Purpose
from codexteam.ports.model import (
    CallFailed,
    CallFailureKind,
    ItemDone,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    StreamRestarted,
)
from codexteam.ports.sandbox import Command, CommandResult
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended
from tests.fakes.scripted_model import Events
from tests.support_ledger import spent
from tests.unit.agent.agent_world import REPORT, AgentWorld, agent_key, outputs_in, playing, run_line, said

CLARIFIED: JSONObject = {"answer": "yes", "ask_user": False}
READER = agent_key(Purpose.CLARIFY, "orchestrator")


class SteppedModel:
    """Hands out one item of its first answer, then waits for a signal before it continues."""

    def __init__(self, item: JSONObject) -> None:
        self.item = item
        self.go_on = asyncio.Event()
        self.waits = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        if request.key.turn > 1:
            answer = said(CLARIFIED if request.key.purpose is Purpose.CLARIFY else REPORT)
            yield ModelAnswer((answer,), Usage(1, 0, 1, 0))
            return
        yield ItemDone(self.item)
        self.waits.set()
        await self.go_on.wait()
        yield ModelAnswer((self.item,), Usage(1, 0, 1, 0))

    async def close(self) -> None:
        return None


async def test_a_read_starts_as_soon_as_its_item_is_complete(tmp_path: Path) -> None:
    model = SteppedModel(run_line("ls"))
    started = asyncio.Event()

    def note(_: FakeSandbox, __: Command) -> CommandResult:
        started.set()
        return ended()

    world = AgentWorld(tmp_path, model, FakeEngine(otherwise=note), mode=SandboxMode.READ_ONLY, key=READER)
    task = asyncio.create_task(world.work())
    await started.wait()
    assert not model.go_on.is_set()
    model.go_on.set()
    assert isinstance(await task, Submitted)
    assert world.ran == ["ls"]


async def test_a_write_waits_for_the_whole_answer(tmp_path: Path) -> None:
    model = SteppedModel(run_line("make"))
    world = AgentWorld(tmp_path, model, FakeEngine(otherwise=ended()))
    task = asyncio.create_task(world.work())
    await model.waits.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.ran == []
    model.go_on.set()
    assert isinstance(await task, Submitted)
    assert world.ran == ["make"]


async def test_what_was_read_before_a_stream_broke_is_not_read_again(tmp_path: Path) -> None:
    again = run_line("ls", "call_of_the_second_try")
    events = Events(
        [
            ItemDone(run_line("ls")),
            ItemDone(run_line("never asked again", "call_2")),
            StreamRestarted("reset", 0.1, 1),
            ItemDone(again),
            ModelAnswer((again,), Usage(1, 0, 1, 0)),
        ]
    )
    world = AgentWorld(
        tmp_path,
        playing(events, [said(CLARIFIED)]),
        FakeEngine(otherwise=ended(0, "a\n")),
        mode=SandboxMode.READ_ONLY,
        key=READER,
    )
    assert isinstance(await world.work(), Submitted)
    assert world.ran.count("ls") == 1
    assert len(outputs_in(world.asked[1])) == 1
    assert CallRetried("reset", 0.1, 1) in world.events


async def test_nothing_of_a_broken_stream_is_done_that_writes(tmp_path: Path) -> None:
    events = Events(
        [
            ItemDone(run_line("rm -rf .")),
            StreamRestarted("reset", 0.1, 1),
            ModelAnswer((said(REPORT),), Usage(1, 0, 1, 0)),
        ]
    )
    world = AgentWorld(tmp_path, playing(events), FakeEngine(otherwise=ended()))
    assert isinstance(await world.work(), Submitted)
    assert world.ran == []


async def test_a_stream_that_broke_after_it_began_is_reserved_for_again(tmp_path: Path) -> None:
    answer = ModelAnswer((said(REPORT),), Usage(100, 0, 50, 0))
    events = Events([ItemDone(said("half")), StreamRestarted("reset", 0.1, 1), answer])
    world = AgentWorld(tmp_path, playing(events), limits=BudgetLimits(run_tokens=1_000_000))
    assert isinstance(await world.work(), Submitted)
    assert spent(world.gate.ledger) > 150 + 4_000


async def test_a_second_try_that_no_budget_holds_is_not_made(tmp_path: Path) -> None:
    answer = ModelAnswer((said(REPORT),), Usage(100, 0, 50, 0))
    events = Events([ItemDone(said("half")), StreamRestarted("reset", 0.1, 1), answer])
    probe = AgentWorld(tmp_path, playing([said(REPORT)]), limits=BudgetLimits(run_tokens=1_000_000))
    await probe.work()
    (stored,) = await probe.store.answers(probe.key.run_id)
    one_call = stored.answer.made.counted.tokens
    world = AgentWorld(
        tmp_path, playing(events, [said(REPORT)]), limits=BudgetLimits(run_tokens=one_call + 5, wind_down_share=0)
    )
    outcome = await world.work()
    assert isinstance(outcome, OutOfBudget)
    assert spent(world.gate.ledger) <= one_call + 5


async def test_a_call_that_fails_after_it_began_counts_as_spent(tmp_path: Path) -> None:
    events = Events([ItemDone(said("half")), CallFailed(CallFailureKind.UNAVAILABLE, "dropped")])
    world = AgentWorld(tmp_path, playing(events))
    outcome = await world.work()
    assert isinstance(outcome, ModelGaveUp)
    assert outcome.kind is GaveUp.UNAVAILABLE
    (unanswered,) = await world.store.open_calls(world.key.run_id)
    assert spent(world.gate.ledger) == unanswered.reserved_tokens


@pytest.mark.parametrize("mode", [SandboxMode.READ_ONLY, SandboxMode.WORKSPACE_WRITE])
async def test_cancelling_in_the_middle_of_a_command_kills_it(tmp_path: Path, mode: SandboxMode) -> None:
    running, stopped = asyncio.Event(), asyncio.Event()

    async def run_for_ever(_: FakeSandbox, __: Command) -> CommandResult:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ended()

    world = AgentWorld(tmp_path, playing([run_line("sleep")]), FakeEngine(otherwise=run_for_ever), mode=mode)
    task = asyncio.create_task(world.work())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
