"""Agents of no task that end without an answer, among fakes: what they wrote is kept, and found again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.answers import RoleAnswer
from codexteam.core.effects import Document, RunGate
from codexteam.core.events import Documented, GateFinished, Verdict
from codexteam.core.ids import CommitId, GateName, JSONObject, Purpose, RunId
from codexteam.core.state import GateRecord, Rules, RunState
from codexteam.run import finishing
from codexteam.run.assignment import AgentAnswer, AgentFailure, AnswerT, Assignment, Report
from codexteam.run.context import RunContext
from codexteam.run.gates import qa
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_agents import ScriptedAgents

RUN = RunId("20261121-0231-7f3a")
TIMED_OUT = "no answer after 30 minutes"
NOTHING: JSONObject = {"summary": "It works.", "commands": [], "risks": []}
ANSWERS: dict[Purpose, JSONObject] = {
    Purpose.QA: {**NOTHING, "tests_changed": [], "confidence": "high", "findings": []},
    Purpose.DOCUMENT: {**NOTHING, "status": "done", "question": None, "later": []},
}


@dataclass
class TimedAgents(ScriptedAgents):
    """One whose agents run out of time in the turn in which they write, as often as `late` says."""

    late: int = 1
    found: list[list[str]] = field(default_factory=list)

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        report = await super().run(assignment)
        self.late -= 1
        if self.late < 0 or not isinstance(report, AgentAnswer):
            return report
        return AgentFailure(TIMED_OUT, snapshot=report.snapshot)


@pytest.fixture
async def make_context(tmp_path: Path) -> Callable[[dict[str, bytes]], RunContext]:
    environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
    always = {"codexteam.steps.documentation": "always"}
    settings = load_settings(LoadRequest(tmp_path, environment, flags=always, system_folder=tmp_path / "none"))
    repo = FakeRepo(tmp_path / "repo", {"a.py": b"a = 1\n"})
    await repo.fetch_base(RUN, repo.head)
    engine = FakeEngine()

    def make(writes: dict[str, bytes]) -> RunContext:
        async def act(assignment: Assignment[RoleAnswer], sandbox: object) -> JSONObject:
            box = engine.started[-1]
            assert box is sandbox
            agents.found.append(sorted(box.files))
            for path, data in writes.items():
                await box.write_file(path, data)
            return ANSWERS[assignment.key.purpose]

        agents = TimedAgents(engine, repo, RUN, tmp_path, act)
        files = DiskRunFiles(tmp_path, RUN, plan_root=tmp_path, redact=str)
        report = lambda _kind, _fields: None  # noqa: E731
        context = RunContext(RUN, repo.head, settings, repo, MemoryStore(), engine, FakeClock(), files, report)
        context.agents = agents
        return context

    return make


def base_of(context: RunContext) -> CommitId:
    assert isinstance(context.repo, FakeRepo)
    return context.repo.head


def agents_of(context: RunContext) -> TimedAgents:
    assert isinstance(context.agents, TimedAgents)
    return context.agents


def kept(context: RunContext) -> dict[str, bytes]:
    """Give what was kept, by its name."""
    assert isinstance(context.repo, FakeRepo)
    return {name: snapshot.pack.read_bytes() for (_, name), snapshot in context.repo.kept.items()}


def state_of(context: RunContext) -> RunState:
    return RunState(RUN, "goal", Rules(), base=base_of(context), tip=base_of(context))


async def test_a_documentation_writers_late_work_is_kept_and_reported(
    make_context: Callable[[dict[str, bytes]], RunContext],
) -> None:
    context = make_context({"README.md": b"How to use it.\n"})

    event = await finishing.document(context, Document(base_of(context)), state_of(context))

    words = f"{TIMED_OUT}; what it wrote until then is kept: codexteam salvage lists it as document.1"
    assert event == Documented(None, words, words)
    assert b"How to use it.\n".hex().encode() in kept(context)["document.1"]


async def ask_qa(context: RunContext, number: int, state: RunState, commit: CommitId | None = None) -> GateFinished:
    commit = commit or base_of(context)
    judged = await qa.run(context, RunGate(number, GateName.QA, commit, base_of(context), ()), state)
    assert isinstance(judged, GateFinished)
    return judged


async def test_qas_tests_without_a_verdict_are_kept_for_its_next_round(
    make_context: Callable[[dict[str, bytes]], RunContext],
) -> None:
    context = make_context({"tests/test_a.py": b"def test_a(): ...\n"})
    state = state_of(context)

    first = await ask_qa(context, 1, state)

    assert first.verdict is Verdict.UNANSWERED
    assert first.note == f"{TIMED_OUT}; what it wrote until then is kept: codexteam salvage lists it as qa.1"
    assert list(kept(context)) == ["qa.1"]

    record = GateRecord(first.commit, first.verdict, unanswered=1)
    second = await ask_qa(context, 2, replace(state, gates={GateName.QA: record}))

    assert agents_of(context).found == [["a.py"], ["a.py", "tests/test_a.py"]]
    assert "continue from it" in agents_of(context).assigned[1].prompt
    assert (second.verdict, second.tests_commit is not None) == (Verdict.SHIP, True)


async def test_qa_begins_anew_on_another_commit_and_after_a_verdict(
    make_context: Callable[[dict[str, bytes]], RunContext],
) -> None:
    context = make_context({"tests/test_a.py": b"def test_a(): ...\n"})
    state = state_of(context)
    silent = await ask_qa(context, 1, state)
    newer = await context.repo.commit(
        await context.repo.tree_of(base_of(context)), (base_of(context),), "newer", await context.author("x", "y")
    )

    unanswered = replace(state, gates={GateName.QA: GateRecord(silent.commit, Verdict.UNANSWERED, unanswered=1)})
    await ask_qa(context, 2, unanswered, newer)
    await ask_qa(context, 2, replace(state, gates={GateName.QA: GateRecord(silent.commit, Verdict.SHIP)}))

    assert agents_of(context).found == [["a.py"]] * 3
    assert all("continue from it" not in assigned.prompt for assigned in agents_of(context).assigned)


async def test_an_agent_that_wrote_nothing_leaves_nothing(
    make_context: Callable[[dict[str, bytes]], RunContext],
) -> None:
    context = make_context({})

    event = await finishing.document(context, Document(base_of(context)), state_of(context))

    assert event == Documented(None, TIMED_OUT, TIMED_OUT)
    assert not kept(context)
