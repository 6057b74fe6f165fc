"""What a run does at once: when one part cannot continue, the others have ended before anybody hears of it."""

import asyncio
from pathlib import Path

import pytest

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.effects import Scout
from codexteam.core.state import Rules, RunState
from codexteam.errors import ModelAccessError, SandboxUnavailable
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from codexteam.run.assignment import AgentRunner, AnswerT, Assignment, Report
from codexteam.run.context import RunContext
from codexteam.run.gates.ci import judge_commands
from codexteam.run.planning import scout
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_store import MemoryStore
from tests.unit.agent.agent_world import RUN


class OneRefuses:
    """A team whose first scout gets no answer; the others look around until they are stopped, and say when they were."""

    def __init__(self) -> None:
        self.at_work = 0

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        if assignment.key.attempt == 1:
            await asyncio.sleep(0)
            raise ModelAccessError("the key is not taken")
        self.at_work += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.at_work -= 1
        raise AssertionError("unreachable")


class NoBaseline(FakeEngine):
    """Starts nothing for the baseline, and takes for ever with anything else."""

    starting = 0

    async def start(self, spec: SandboxSpec) -> Sandbox:
        if spec.agent.task_id == "baseline":
            await asyncio.sleep(0)
            raise SandboxUnavailable("no room")
        self.starting += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.starting -= 1
        raise AssertionError("unreachable")


async def context_of(folder: Path, agents: AgentRunner, engine: FakeEngine) -> tuple[RunContext, RunState]:
    environment = {"CODEX_HOME": str(folder), "HOME": str(folder)}
    settings = load_settings(LoadRequest(folder, environment, system_folder=folder / "none"))
    repo = FakeRepo(folder, {f"{name}/{number}.py": b"\n" for name in "abcd" for number in range(20)})
    await repo.fetch_base(RUN, repo.head)
    files = DiskRunFiles(folder, RUN, plan_root=folder, redact=str)
    report = lambda _kind, _fields: None  # noqa: E731
    context = RunContext(RUN, repo.head, settings, repo, MemoryStore(), engine, FakeClock(), files, report)
    context.agents = agents
    return context, RunState(RUN, "goal", Rules(), base=repo.head)


async def test_when_a_scout_cannot_go_on_the_others_have_ended_first(tmp_path: Path) -> None:
    agents = OneRefuses()
    context, state = await context_of(tmp_path, agents, FakeEngine())
    with pytest.raises(ModelAccessError, match="not taken"):
        await scout(context, Scout(), state)
    assert agents.at_work == 0


async def test_when_the_base_cannot_be_judged_the_commit_is_not_judged_on(tmp_path: Path) -> None:
    engine = NoBaseline()
    context, state = await context_of(tmp_path, OneRefuses(), engine)
    assert state.base is not None
    with pytest.raises(SandboxUnavailable, match="no room"):
        await judge_commands(context, state.base, ["pytest"], state, name="ci.1")
    assert engine.starting == 0
