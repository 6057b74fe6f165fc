"""The crew of a run, among fakes: what an agent's end leaves of its sandbox."""

import asyncio
import gc
import logging
from pathlib import Path

import pytest

from codexteam.adapters.run_files import DiskRunFiles
from codexteam.agent.assignment import Assignment, Handed
from codexteam.agent.budget_gate import BudgetGate
from codexteam.agent.crew import SandboxCrew
from codexteam.agent.instructions import RunInstructions, Sources
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.ids import AgentKey, Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.errors import SandboxUnavailable
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_model import ScriptedModel
from tests.unit.agent.agent_world import RUN, run_line, said

SCOUT = AgentKey(RUN, "explorer", Purpose.SCOUT, "", 1)
ANSWER: JSONObject = {"summary": "A package.", "files": [], "ci": [], "next_probes": []}


class SlowEngine(FakeEngine):
    """One whose starts take a few steps of the loop, and may end in an error."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.under_way = 0

    async def start(self, spec: SandboxSpec) -> Sandbox:
        self.under_way += 1
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            return await super().start(spec)
        finally:
            self.under_way -= 1


async def crew_of(folder: Path, engine: FakeEngine) -> tuple[SandboxCrew, Assignment]:
    environment = {"CODEX_HOME": str(folder), "HOME": str(folder)}
    settings = load_settings(LoadRequest(folder, environment, system_folder=folder / "none"))
    nothing = MemoryFiles({})
    repo = FakeRepo(folder, {"a.txt": b"a\n"})
    await repo.fetch_base(RUN, repo.head)
    crew = SandboxCrew(
        settings=settings,
        model=ScriptedModel(lambda request: [run_line("ls") if request.key.turn == 1 else said(ANSWER)]),
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


async def test_an_agent_that_is_stopped_at_any_step_leaves_no_sandbox_that_starts(tmp_path: Path) -> None:
    end: object = asyncio.CancelledError()
    steps = 0
    while isinstance(end, asyncio.CancelledError):
        engine = SlowEngine()
        crew, assignment = await crew_of(tmp_path, engine)
        work = asyncio.ensure_future(crew.assign(assignment))
        for _ in range(steps):
            await asyncio.sleep(0)
        work.cancel()
        (end,) = await asyncio.gather(work, return_exceptions=True)
        assert engine.under_way == 0, steps
        assert [sandbox.closed for sandbox in engine.started] == [True] * len(engine.started), steps
        steps += 1
    assert isinstance(end, Handed), end


async def test_a_sandbox_that_does_not_start_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crew, assignment = await crew_of(tmp_path, SlowEngine(SandboxUnavailable("no engine")))
    with caplog.at_level(logging.WARNING), pytest.raises(SandboxUnavailable, match="no engine"):
        await crew.assign(assignment)
    gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
    assert caplog.text == ""
