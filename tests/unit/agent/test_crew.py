"""The crew of a run, among fakes: what an agent's end leaves of its sandbox."""

import asyncio
import gc
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from codexteam.adapters.run_files import DiskRunFiles
from codexteam.agent.assignment import Assignment, Handed, NoAnswer, Report
from codexteam.agent.budget_gate import BudgetGate
from codexteam.agent.crew import SandboxCrew
from codexteam.agent.instructions import RunInstructions, Sources
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.ids import AgentKey, Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.errors import SandboxUnavailable
from codexteam.ports.model import CallFailed, FailureKind, ModelRequest
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.memory_store import MemoryStore
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


async def crew_of(
    folder: Path, engine: FakeEngine, play: Callable[[ModelRequest], Play] = looks_around
) -> tuple[SandboxCrew, Assignment]:
    nothing = MemoryFiles({})
    repo = FakeRepo(folder, {"a.txt": b"a\n"})
    await repo.fetch_base(RUN, repo.head)
    crew = SandboxCrew(
        settings=settings_in(folder),
        model=ScriptedModel(play),
        engine=engine,
        repo=repo,
        store=MemoryStore(),
        clock=FakeClock(),
        files=DiskRunFiles(folder, RUN, plan_root=folder, redact=str),
        gate=BudgetGate(Ledger(BudgetLimits()), {}),
        instructions=RunInstructions("", (), Sources(nothing, nothing, nothing), ("",), ()),
        redactor=Redactor(),
        tell=lambda _name, _fields: None,
    )
    return crew, Assignment(SCOUT, repo.head, "Look around.")


async def stopped_anywhere(
    folder: Path,
    engine: Callable[[], SlowEngine],
    play: Callable[[ModelRequest], Play] = looks_around,
    *,
    twice: bool = False,
) -> object:
    """Stop an agent at each step, see that it stops and leaves no sandbox; give how it ends when nobody stops it."""
    used: list[SlowEngine] = []

    async def work() -> Report:
        used.append(engine())
        crew, assignment = await crew_of(folder, used[-1], play)
        return await crew.assign(assignment)

    async def nothing_left(where: str) -> None:
        for made in used:
            assert made.under_way == 0, where
            assert [sandbox.closed for sandbox in made.started] == [True] * len(made.started), where

    return await stop_at_each_step(work, nothing_left, twice=twice)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_an_agent_that_is_stopped_at_any_step_stops_and_leaves_no_sandbox(tmp_path: Path, twice: bool) -> None:
    assert isinstance(await stopped_anywhere(tmp_path, SlowEngine, twice=twice), Handed)


async def test_one_that_is_stopped_while_it_lets_go_of_a_start_that_nobody_waits_for_stops(tmp_path: Path) -> None:
    # the model is quicker than the sandbox, and is of no use
    end = await stopped_anywhere(tmp_path, SlowEngine, lambda _: CallFailed(FailureKind.REJECTED, "no"))
    assert isinstance(end, NoAnswer)


async def test_one_that_is_stopped_while_it_lets_go_of_a_lost_sandbox_does_not_go_on_in_a_new_one(
    tmp_path: Path,
) -> None:
    end = await stopped_anywhere(tmp_path, lambda: SlowEngine(loses=True))
    assert isinstance(end, NoAnswer)
    assert "went away 3 times" in end.reason


async def test_a_sandbox_that_does_not_start_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crew, assignment = await crew_of(tmp_path, SlowEngine(SandboxUnavailable("no engine")))
    with caplog.at_level(logging.WARNING), pytest.raises(SandboxUnavailable, match="no engine"):
        await crew.assign(assignment)
    gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
    assert caplog.text == ""
