"""Questions of agents at work, over fakes: who answers them, who pays, what bounds them, and what a crash changes."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.agent.instructions import InstructionSources, RunInstructions
from codexteam.agent.reservations import Reservations
from codexteam.core.answers import TaskReport
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.ids import AgentKey, JSONObject, Purpose
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.ports.model import CallFailed, CallFailureKind, ModelRequest
from codexteam.run.agents import SandboxAgentRunner
from codexteam.run.assignment import AgentAnswer, Assignment, Report
from codexteam.run.code_index import CodeIndex
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.memory_store import MemoryStore
from tests.fakes.run_context import fake_context
from tests.fakes.scripted_model import Play, ScriptedModel
from tests.unit.agent.agent_world import REPORT, RUN, function_call, outputs_in, said
from tests.unit.run.test_agents import settings_in

WORKER = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
FOUND: JSONObject = {
    "summary": "Only main calls it, a.txt:1.",
    "files": [{"path": "a.txt", "purpose": "the only caller", "symbols": ["main"]}],
    "ci": [],
    "next_probes": [],
    "questions": None,
}
TWO = function_call("look_up", {"questions": ["Who calls load?", "What is a row?"]})


@dataclass
class Team:
    """A run whose only implementer asks, and explorers that answer."""

    folder: Path
    turns: list[Play]
    answer: Play = field(default_factory=lambda: [said(FOUND)])
    store: MemoryStore = field(default_factory=MemoryStore)
    engine: FakeEngine = field(default_factory=FakeEngine)
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    repo: FakeRepo = field(init=False)
    model: ScriptedModel = field(init=False)
    gate: Reservations = field(init=False)

    async def work(self) -> Report[TaskReport]:
        def play(request: ModelRequest) -> Play:
            return self.answer if request.key.agent.role == "explorer" else self.turns[request.key.turn - 1]

        repo = self.repo = FakeRepo(self.folder, {"a.txt": b"a\n", "b.txt": b"b\n"})
        await repo.fetch_base(RUN, repo.head)
        settings = settings_in(self.folder)
        team = replace(settings.team, limits=replace(settings.team.limits, max_threads=1))
        of_run = replace(settings, team=team)
        context = fake_context(RUN, of_run, repo, self.folder, engine=self.engine, store=self.store)
        self.model = ScriptedModel(play)
        self.gate = Reservations(Ledger(self.limits), {})
        nothing = MemoryFiles({})
        agents = SandboxAgentRunner(
            context,
            self.model,
            gate=self.gate,
            instructions=RunInstructions("", (), InstructionSources(nothing, nothing, nothing), ("",), ()),
        )
        context.agents = agents
        return await agents.run(Assignment(WORKER, repo.head, "Do it.", TaskReport, writes=True))

    @property
    def asked(self) -> list[str]:
        return [str(request.key.agent) for request in self.model.requests]


async def test_an_agent_at_work_is_answered_by_explorers_that_only_read(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], [said(REPORT)]])

    assert isinstance(await team.work(), AgentAnswer)  # also where only one agent may be at work
    assert sorted(team.asked) == ["explorer lookup.1", "explorer lookup.2", "implementer T1.1", "implementer T1.1"]
    [output] = outputs_in(team.model.requests[-1])
    assert output.startswith("1. Only main calls it, a.txt:1.\na.txt: the only caller [main]\n\n2. Only main")
    modes = {str(sandbox.spec.agent): str(sandbox.spec.mode) for sandbox in team.engine.started}
    assert modes["explorer lookup.1"] == modes["explorer lookup.2"] == "read-only"
    # what it found is known to later runs
    assert await CodeIndex(team.store).unknown(await team.repo.list_files(team.repo.head)) == [b"b.txt"]


async def test_the_task_pays_for_its_questions(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], [said(REPORT)]])
    await team.work()

    task = team.gate.ledger.took(WORKER)
    assert task["tokens"] == 4 * 120


async def test_a_budget_that_is_too_small_leaves_a_question_without_answer(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], [said(REPORT)]], limits=BudgetLimits(role_tokens={"explorer": 10}))
    assert isinstance(await team.work(), AgentAnswer)
    assert team.asked == ["implementer T1.1", "implementer T1.1"]
    [output] = outputs_in(team.model.requests[-1])
    assert output.count("No answer: too little budget left for") == 2


async def test_an_explorer_that_fails_is_told_of_and_nothing_more(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], [said(REPORT)]])
    team.answer = CallFailed(CallFailureKind.REJECTED, "no such model")
    assert isinstance(await team.work(), AgentAnswer)
    [output] = outputs_in(team.model.requests[-1])
    assert "1. No answer: the model gave no answer: no such model" in output


async def test_an_explorer_that_no_model_serves_ends_nobody_elses_work(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], [said(REPORT)]])
    team.answer = ModelAccessError("the key may not use gpt-quick")
    assert isinstance(await team.work(), AgentAnswer)
    [output] = outputs_in(team.model.requests[-1])
    assert output.count("No answer: the explorer's model does not serve it: the key may not use gpt-quick") == 2

    limited = Team(tmp_path, [[TWO], [said(REPORT)]], answer=UsageLimitError("used up"))
    with pytest.raises(UsageLimitError):
        await limited.work()


async def test_what_was_answered_is_not_asked_again_after_a_crash(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], RuntimeError("killed")])
    with pytest.raises(RuntimeError, match="killed"):
        await team.work()

    team.turns = [[TWO], [said(REPORT)]]
    assert isinstance(await team.work(), AgentAnswer)
    assert team.asked == ["implementer T1.1"]


async def test_what_was_not_answered_continues_under_its_number(tmp_path: Path) -> None:
    team = Team(tmp_path, [[TWO], [said(REPORT)]], answer=RuntimeError("killed"))
    with pytest.raises(RuntimeError, match="killed"):
        await team.work()

    team.answer = [said(FOUND)]
    assert isinstance(await team.work(), AgentAnswer)
    assert sorted(team.asked) == ["explorer lookup.1", "explorer lookup.2", "implementer T1.1"]


async def test_an_attempt_has_twelve_questions_and_the_same_one_is_asked_once(tmp_path: Path) -> None:
    def three(first: int) -> JSONObject:
        return function_call("look_up", {"questions": [f"question {first + n}" for n in range(3)]}, f"call_{first}")

    calls: list[Play] = [[three(3 * n)] for n in range(4)]
    team = Team(tmp_path, [*calls, [three(9)], [three(11)], [said(REPORT)]])
    assert isinstance(await team.work(), AgentAnswer)

    assert len([name for name in team.asked if name.startswith("explorer")]) == 12
    assert "Not asked: an attempt has 12 questions" in outputs_in(team.model.requests[-1])[-1]
