"""The agents of a run, over fakes: what an agent's end leaves of its sandbox."""

import asyncio
import gc
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from codexteam.agent.desk import AgentDesk
from codexteam.agent.instructions import InstructionSources, RunInstructions
from codexteam.agent.outcome import AgentOutcome, AgentStats, Submitted
from codexteam.agent.reservations import Reservations
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import NetworkPolicy, SandboxLimits, Settings
from codexteam.core.answers import ScoutReport
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.ids import AgentKey, JSONObject, Purpose
from codexteam.errors import HostLost, SandboxUnavailable
from codexteam.ports.environments import SetupOrder
from codexteam.ports.model import CallFailed, CallFailureKind, ModelRequest
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from codexteam.run.agents import SandboxAgentRunner
from codexteam.run.assignment import AgentAnswer, AgentFailure, Assignment, Report
from codexteam.run.host import AgentOrder, Host
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.run_context import fake_context
from tests.fakes.scripted_model import Play, ScriptedModel
from tests.support_cancelling import stop_at_each_step
from tests.unit.agent.agent_world import RUN, run_line, said

SCOUT = AgentKey(RUN, "explorer", Purpose.SCOUT, "", 1)
ANSWER: JSONObject = {"summary": "A package.", "files": [], "ci": [], "next_probes": []}


class SlowSandbox(FakeSandbox):
    """One that takes a few steps to close."""

    async def close(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await super().close()


class SlowEngine(FakeEngine):
    """One whose starts take a few steps of the loop, also to let go of, and may end in an error."""

    def __init__(self, error: Exception | None = None, *, loses: bool = False) -> None:
        super().__init__()
        self.error = error
        self.loses = loses
        self.under_way = 0

    async def start(self, spec: SandboxSpec) -> Sandbox:
        self.under_way += 1
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
        except asyncio.CancelledError:
            for _ in range(5):
                await asyncio.sleep(0)
            self.under_way -= 1
            raise
        self.under_way -= 1
        sandbox = SlowSandbox(self, spec)
        sandbox.lost = self.loses
        self.started.append(sandbox)
        return sandbox


@cache
def settings_in(folder: Path) -> Settings:
    environment = {"CODEX_HOME": str(folder), "HOME": str(folder)}
    return load_settings(LoadRequest(folder, environment, system_folder=folder / "none"))


def looks_around(request: ModelRequest) -> Play:
    return [run_line("ls") if request.key.turn == 1 else said(ANSWER)]


async def agents_of(
    folder: Path,
    engine: FakeEngine,
    play: Callable[[ModelRequest], Play] = looks_around,
    *,
    workers: Host | None = None,
) -> tuple[SandboxAgentRunner, Assignment[ScoutReport]]:
    nothing = MemoryFiles({})
    repo = FakeRepo(folder, {"a.txt": b"a\n"})
    await repo.fetch_base(RUN, repo.head)
    context = fake_context(RUN, settings_in(folder), repo, folder, engine=engine)
    agents = SandboxAgentRunner(
        context,
        ScriptedModel(play),
        gate=Reservations(Ledger(BudgetLimits()), {}),
        instructions=RunInstructions("", (), InstructionSources(nothing, nothing, nothing), ("",), ()),
        workers=workers,
    )
    return agents, Assignment(SCOUT, repo.head, "Look around.", ScoutReport)


async def stopped_anywhere(
    folder: Path,
    engine: Callable[[], SlowEngine],
    play: Callable[[ModelRequest], Play] = looks_around,
    *,
    twice: bool = False,
) -> object:
    """Stop an agent at each step, see that it stops and leaves no sandbox; give how it ends when nobody stops it."""
    used: list[SlowEngine] = []

    async def work() -> Report[ScoutReport]:
        used.append(engine())
        agents, assignment = await agents_of(folder, used[-1], play)
        return await agents.run(assignment)

    async def nothing_left(where: str) -> None:
        for made in used:
            assert made.under_way == 0, where
            assert [sandbox.closed for sandbox in made.started] == [True] * len(made.started), where

    return await stop_at_each_step(work, nothing_left, twice=twice)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_an_agent_that_is_stopped_at_any_step_stops_and_leaves_no_sandbox(tmp_path: Path, twice: bool) -> None:
    assert isinstance(await stopped_anywhere(tmp_path, SlowEngine, twice=twice), AgentAnswer)


async def test_an_agent_stopped_while_abandoning_a_start_stops(tmp_path: Path) -> None:
    # the model is quicker than the sandbox, and is of no use
    end = await stopped_anywhere(tmp_path, SlowEngine, lambda _: CallFailed(CallFailureKind.REJECTED, "no"))
    assert isinstance(end, AgentFailure)


async def test_an_agent_stopped_while_leaving_a_lost_sandbox_enters_no_new_one(
    tmp_path: Path,
) -> None:
    end = await stopped_anywhere(tmp_path, lambda: SlowEngine(loses=True))
    assert isinstance(end, AgentFailure)
    assert "went away 3 times" in end.reason


class DyingHosts(FakeEngine):
    """One whose first sandboxes are on hosts that die."""

    def __init__(self, dying: int) -> None:
        super().__init__(otherwise=ended())
        self.dying = dying

    async def start(self, spec: SandboxSpec) -> Sandbox:
        sandbox = FakeSandbox(self, spec)
        sandbox.lost, sandbox.loss = len(self.started) < self.dying, HostLost
        self.started.append(sandbox)
        return sandbox


async def test_hosts_that_die_fail_no_attempt_and_nothing_is_asked_again(tmp_path: Path) -> None:
    engine, asked = DyingHosts(5), []

    def play(request: ModelRequest) -> Play:
        asked.append(request.key.turn)
        return looks_around(request)

    agents, assignment = await agents_of(tmp_path, engine, play)
    assert isinstance(await agents.run(assignment), AgentAnswer)
    assert len(engine.started) == 6
    assert asked == [1, 2]


async def test_hosts_that_never_stop_dying_end_the_run_and_no_attempt(tmp_path: Path) -> None:
    agents, assignment = await agents_of(tmp_path, DyingHosts(100))
    with pytest.raises(HostLost):
        await agents.run(assignment)


async def test_a_sandbox_that_does_not_start_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agents, assignment = await agents_of(tmp_path, SlowEngine(SandboxUnavailable("no engine")))
    with caplog.at_level(logging.WARNING), pytest.raises(SandboxUnavailable, match="no engine"):
        await agents.run(assignment)
    gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
    assert caplog.text == ""


async def test_an_agent_that_a_person_stops_fails_and_leaves_no_sandbox(tmp_path: Path) -> None:
    engine = FakeEngine()
    agents, assignment = await agents_of(tmp_path, engine)
    assert not agents.reachable.stop(str(SCOUT))
    work = asyncio.ensure_future(agents.run(assignment))
    while not agents.reachable.stop(str(SCOUT)):
        await asyncio.sleep(0)

    report = await work

    assert report == AgentFailure("a person stopped its agent")
    assert not agents.reachable.stop(str(SCOUT))
    assert all(sandbox.closed for sandbox in engine.started)


async def test_what_an_agent_did_not_read_before_it_ended_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, JSONObject]] = []
    engine = FakeEngine()
    agents, assignment = await agents_of(tmp_path, engine)
    agents.context.report = lambda kind, fields: told.append((kind, fields))
    work_on_t1 = replace(assignment, key=AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1))
    agents.reachable.say("T1.1", "leave the name")
    work = asyncio.ensure_future(agents.run(work_on_t1))
    while not agents.reachable.stop(str(work_on_t1.key)):
        await asyncio.sleep(0)
    await work

    assert ("person.unread", {"to": "T1", "attempt": 1, "messages": ["leave the name"]}) in told
    assert not agents.reachable.say("T1.1", "too late")


async def test_an_agent_without_a_sandbox_for_it_waits_and_says_why(tmp_path: Path) -> None:
    told: list[tuple[str, JSONObject]] = []
    engine = FakeEngine()
    engine.places = 2
    agents, assignment = await agents_of(tmp_path, engine)
    agents.context.report = lambda kind, fields: told.append((kind, fields))
    second = replace(assignment, key=replace(assignment.key, attempt=2))
    works = [asyncio.ensure_future(agents.run(each)) for each in (assignment, second)]
    while not agents.reachable.stop(str(assignment.key)):
        await asyncio.sleep(0)
    await works[0]
    while not agents.reachable.stop(str(second.key)):
        await asyncio.sleep(0)
    await works[1]

    waited = [fields["reason"] for kind, fields in told if kind == "agent.waiting" and fields["attempt"] == 2]
    assert waited == ["waits for a sandbox: the hosts that are up have 2 slots, one of them for checks", ""]
    ended = [(kind, fields["attempt"]) for kind, fields in told].index(("agent.finished", 1))
    assert told[ended + 1][1]["reason"] == "", "as soon as the first has ended"


class FarHost:
    """A cluster that answers for its agents."""

    places: int | None = 3

    def __init__(self) -> None:
        self.orders: list[AgentOrder] = []

    async def work(self, order: AgentOrder, desk: AgentDesk) -> AgentOutcome:
        self.orders.append(order)
        desk.begins(order.spec.prompt, frozenset(order.tools))
        return Submitted(ANSWER, "", AgentStats(turns=1))


async def test_agents_work_on_the_cluster_where_there_is_one(tmp_path: Path) -> None:
    engine, far = FakeEngine(), FarHost()
    agents, assignment = await agents_of(tmp_path, engine, workers=far)
    assert isinstance(await agents.run(assignment), AgentAnswer)
    assert [order.spec.key for order in far.orders] == [SCOUT]
    assert engine.started == []
    assert agents.places.sandboxes() == 4, "its slots, and one more since checks take none of them"


async def test_who_answers_another_agent_or_sets_up_stays_here(tmp_path: Path) -> None:
    engine, far = FakeEngine(otherwise=ended(0, b"a.txt\n")), FarHost()
    agents, assignment = await agents_of(tmp_path, engine, workers=far)
    asked = replace(assignment, key=replace(SCOUT, purpose=Purpose.LOOKUP, task_id="T1"))
    assert isinstance(await agents.run(asked), AgentAnswer)
    base = await agents.context.repo.base_source(RUN, agents.context.base)
    order = SetupOrder("k1", SCOUT, base, NetworkPolicy(), SandboxLimits())
    assert isinstance(await agents.run(replace(assignment, setup=order)), AgentAnswer)
    assert far.orders == []
    assert len(engine.started) == 1
    assert len(engine.environments.set_ups) == 1
