"""What an attempt's agent is put to work with, and what becomes of one whose model does not serve it; among fakes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.answers import RoleAnswer
from codexteam.core.contest import Contender, Contest
from codexteam.core.effects import AttemptKind, Work
from codexteam.core.events import AttemptFailed
from codexteam.core.ids import JSONValue, RunId, TaskId
from codexteam.core.plan_graph import Task, TaskRisk, graph_of
from codexteam.core.state import Rules, RunState, TaskState
from codexteam.errors import ModelAccessError, ModelOutageError, UsageLimitError
from codexteam.run.assignment import AgentFailure, AnswerT, Assignment, Report, Unserved
from codexteam.run.attempts import work
from codexteam.run.context import RunContext
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_store import MemoryStore

_RUN = RunId("20261121-0231-7f3a")
_TASK = Task(TaskId("T1"), "One", paths=("a.py",))


@dataclass
class _Agents:
    """Answers nobody: raises an error, or reports that the agent failed."""

    end: Exception | AgentFailure
    assigned: list[Assignment[RoleAnswer]] = field(default_factory=list)

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        self.assigned.append(cast("Assignment[RoleAnswer]", assignment))
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


@pytest.fixture
async def attempt(tmp_path: Path) -> Callable[..., tuple[RunContext, _Agents]]:
    repo = FakeRepo(tmp_path / "repo", {"a.py": b"a = 1\n"})
    await repo.fetch_base(_RUN, repo.head)

    def make(
        end: Exception | AgentFailure, *, models: Sequence[str] = (), **escalation: JSONValue
    ) -> tuple[RunContext, _Agents]:
        environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
        flags = {f"codexteam.escalation.{name}": value for name, value in escalation.items()}
        if models:
            flags |= {"codexteam.best_of.models": [*models]}
        settings = load_settings(LoadRequest(tmp_path, environment, flags=flags, system_folder=tmp_path / "none"))
        files = DiskRunFiles(tmp_path, _RUN, plan_root=tmp_path, redact=str)
        report = lambda _kind, _fields: None  # noqa: E731
        context = RunContext(_RUN, repo.head, settings, repo, MemoryStore(), FakeEngine(), FakeClock(), files, report)
        context.agents = agents = _Agents(end)
        return context, agents

    return make


async def _worked(context: RunContext, known: TaskState) -> AttemptFailed:
    assert isinstance(context.repo, FakeRepo)
    state = RunState(_RUN, "goal", Rules(), tasks={known.task.id: known}, graph=graph_of([known.task]))
    event = await work(context, Work(known.task.id, 1, AttemptKind.IMPLEMENT, context.repo.head), state)
    assert isinstance(event, AttemptFailed)
    return event


Attempt = Callable[..., tuple[RunContext, _Agents]]


async def test_an_attempt_uses_what_the_plan_or_escalation_chose(attempt: Attempt) -> None:
    context, agents = attempt(AgentFailure("no"), model="strong")
    await _worked(context, TaskState(_TASK))
    await _worked(context, TaskState(_TASK, failures=2))
    planned = Task(TaskId("T1"), "One", paths=("a.py",), model="mine", risk=TaskRisk.HIGH)
    await _worked(context, TaskState(planned))
    assert [(one.model, one.effort, one.chosen_by) for one in agents.assigned] == [
        ("", "", ""),
        ("strong", "high", "[codexteam.escalation]"),
        ("mine", "high", "plan.md and [codexteam.escalation]"),
    ]


async def test_a_model_that_is_missing_or_down_ends_the_attempt_alone(attempt: Attempt) -> None:
    context, agents = attempt(ModelAccessError("no such model"), fallback=["second"])
    first = await _worked(context, TaskState(_TASK))
    assert (first.unserved, first.final, "no such model" in first.reason) == (True, False, True)
    with pytest.raises(ModelAccessError):
        await _worked(context, TaskState(_TASK, unserved=1))
    assert agents.assigned[-1].model == "second"


async def test_without_a_fallback_and_at_a_plan_s_limit_the_session_ends(attempt: Attempt) -> None:
    for end, given in ((ModelAccessError("no"), []), (UsageLimitError("used up"), ["second"])):
        context, _ = attempt(end, fallback=given)
        with pytest.raises(type(end)):
            await _worked(context, TaskState(_TASK))


async def test_an_outage_ends_the_session_and_no_contender(attempt: Attempt) -> None:
    context, _ = attempt(ModelAccessError("no such model"), models=["other"])
    contest = Contest(1, context.base, (Contender(2, 1),))
    known = TaskState(_TASK, attempt=1, contest=contest)
    assert (await _worked(context, known)).unserved
    context, _ = attempt(ModelOutageError("nobody gets an answer"), models=["other"])
    with pytest.raises(ModelOutageError):
        await _worked(context, known)


async def test_a_refusal_is_told_apart_from_failed_work(attempt: Attempt) -> None:
    context, _ = attempt(AgentFailure("the model refused: no", unserved=Unserved.REFUSED), fallback=["second"])
    assert (await _worked(context, TaskState(_TASK))).unserved
    context, _ = attempt(AgentFailure("it used all its turns"), fallback=["second"])
    assert not (await _worked(context, TaskState(_TASK))).unserved
