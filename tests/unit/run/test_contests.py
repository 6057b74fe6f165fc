"""What judges one of several attempts, and who chooses among them, among fakes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.answers import AttemptChoice, HiddenTestsReport
from codexteam.core.budget_amounts import Usage
from codexteam.core.contest import Contender, ContenderPhase, Contest, Trial, UnseenTests
from codexteam.core.effects import JudgeAttempts, TryAttempt, WriteHiddenTests
from codexteam.core.events import AttemptsJudged, AttemptTried, HiddenTestsWritten
from codexteam.core.ids import CommitId, GateName, JSONValue, RunId, TaskId
from codexteam.core.plan_graph import Acceptance, Task, graph_of
from codexteam.core.state import Rules, RunState, TaskState
from codexteam.core.work_size import WorkSize
from codexteam.ports.repo import Identity
from codexteam.ports.sandbox import Command, CommandResult
from codexteam.run.assignment import AgentAnswer, AgentFailure, AgentRunner, AnswerT, Assignment, Report
from codexteam.run.contests import judge, try_attempt, write_tests
from codexteam.run.context import RunContext
from codexteam.run.gates.diffs import WORK_SIZES
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended
from tests.fakes.run_context import fake_context

RUN = RunId("20261121-0231-7f3a")
T1 = TaskId("T1")
TASK = Task(T1, "Load", paths=("src/",), acceptance=(Acceptance("it loads", "rake test"),))
WHO = Identity("a", "a@example.org", 0)


class Agents:
    """Answers everybody alike."""

    def __init__(self, end: object) -> None:
        self.end = end
        self.assigned: list[Assignment[AttemptChoice]] = []

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        self.assigned.append(cast("Assignment[AttemptChoice]", assignment))
        return cast("Report[AnswerT]", self.end)


def hidden_test(sandbox: FakeSandbox, _: Command) -> CommandResult:
    """Fail two tests where the hidden ones are there and the code is not what they want."""
    if sandbox.files.get("test/hidden_test.rb") is None:
        return ended(127, "no such file\n")
    good = sandbox.files["src/load.rb"] == b"good\n"
    return ended(int(not good), "2 runs\n")


@pytest.fixture
async def make(tmp_path: Path) -> Callable[..., RunContext]:
    repo = FakeRepo(tmp_path / "repo", {"src/load.rb": b"old\n"})
    await repo.fetch_base(RUN, repo.head)

    def build(agents: Agents | None = None, **best_of: JSONValue) -> RunContext:
        environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
        flags = {f"codexteam.best_of.{name}": value for name, value in best_of.items()}
        settings = load_settings(LoadRequest(tmp_path, environment, flags=flags, system_folder=tmp_path / "none"))
        engine = FakeEngine(script={"rake test": ended(0, "ok\n"), "rake hidden": hidden_test})
        context = fake_context(RUN, settings, repo, tmp_path, engine=engine)
        context.agents = cast("AgentRunner", agents or Agents(None))
        return context

    return build


async def commit(context: RunContext, **files: bytes) -> CommitId:
    assert isinstance(context.repo, FakeRepo)
    context.repo.uncommitted = {name.replace("__", "/") + ".rb": data for name, data in files.items()}
    return await context.repo.commit_work_tree(context.repo.head, "Load", WHO)


def state_of(contest: Contest | None = None, *, gates: tuple[GateName, ...] = ()) -> RunState:
    known = TaskState(TASK, attempt=2, numbered=2, contest=contest)
    return RunState(RUN, "goal", Rules(gates=gates), tasks={T1: known}, graph=graph_of([TASK]))


async def tried(context: RunContext, code: bytes, tests: UnseenTests) -> Trial:
    work = await commit(context, src__load=code)
    await context.remember(WORK_SIZES, "T1.1", WorkSize(7, 1))
    event = await try_attempt(context, TryAttempt(T1, 1, context.base, work, tests), state_of())
    assert isinstance(event, AttemptTried)
    return event.trial


async def test_work_is_held_against_tests_that_it_does_not_hold(make: Callable[..., RunContext]) -> None:
    context = make()
    tests = UnseenTests(await commit(context, test__hidden_test=b"shows\n"), ("test/hidden_test.rb",), "rake hidden")

    good, bad = await tried(context, b"good\n", tests), await tried(context, b"bad\n", tests)

    assert (good.passed, good.lines) == (True, 7)
    assert (bad.failing, bad.hidden_failed) == ((), 1)
    assert "rake hidden" not in bad.evidence, "the next attempt is not to be written for them"


async def test_without_hidden_tests_acceptance_judges_alone(make: Callable[..., RunContext]) -> None:
    assert (await tried(make(), b"bad\n", UnseenTests())).passed


@pytest.mark.parametrize(
    "end",
    [
        AgentFailure("no answer after 9 turns"),
        AgentAnswer(HiddenTestsReport("It cannot be tested.", "", ()), None, Usage(), 1),
        AgentAnswer(HiddenTestsReport("Tests.", "rake hidden", ("a",)), None, Usage(), 1),
    ],
)
async def test_without_tests_of_qa_there_is_a_word_about_why(make: Callable[..., RunContext], end: object) -> None:
    context = make(Agents(end))
    event = await write_tests(context, WriteHiddenTests(T1, 1, context.base), state_of())
    assert isinstance(event, HiddenTestsWritten)
    assert (event.tests.commit, event.tests.command) == (None, "")
    assert event.tests.note.startswith("QA wrote none: ")


async def judged(context: RunContext) -> AttemptsJudged:
    contenders = []
    for place, code in ((1, b"one\n"), (2, b"two\n")):
        work = await commit(context, src__load=code)
        trial = Trial(hits=1, lines=9)
        contenders.append(Contender(place, place, ContenderPhase.TRIED, commit=work, trial=trial))
    contest = Contest(1, context.base, tuple(contenders), UnseenTests())
    event = await judge(context, JudgeAttempts(T1, 1, context.base, tuple(contenders)), state_of(contest))
    assert isinstance(event, AttemptsJudged)
    return event


@pytest.mark.parametrize(
    ("choice", "attempt"), [("B", 2), (" a.", 1), ("change B", 2), ("Z", 0), ("", 0), ("none of them", 0)]
)
async def test_a_judge_names_a_letter_or_nobody(make: Callable[..., RunContext], choice: str, attempt: int) -> None:
    agents = Agents(AgentAnswer(AttemptChoice(choice, "it reads better"), None, Usage(), 1))
    event = await judged(make(agents))
    assert event.attempt == attempt
    [asked] = agents.assigned
    assert "+two" in asked.prompt or "two" in asked.prompt


@pytest.mark.parametrize(
    ("best_of", "model"),
    [
        ({}, ""),
        ({"models": ["gpt-5.5"]}, ""),
        ({"models": ["gpt-5.5"], "judge_model": "gpt-6-luna"}, "gpt-6-luna"),
    ],
)
async def test_who_judges(make: Callable[..., RunContext], best_of: dict[str, JSONValue], model: str) -> None:
    agents = Agents(AgentFailure("no"))
    await judged(make(agents, **best_of))
    assert agents.assigned[0].model == model


async def test_where_the_reviewer_has_the_makers_model_another_one_judges(make: Callable[..., RunContext]) -> None:
    agents = Agents(AgentFailure("no"))
    context = make(agents, models=["gpt-5.5", "gpt-6-luna"])
    event = await judged(context)
    assert (event.attempt, event.reason) == (0, "no")
    # gpt-5.4 is what implementer and reviewer have, and made the first; gpt-5.5 made the second
    assert agents.assigned[0].model == "gpt-6-luna"


def test_the_names_of_what_failed_are_in_one_line() -> None:
    trial = replace(Trial(("a", "b"), 2, 1), lines=3)
    assert trial.words == "acceptance fails: `a`, `b`; hidden tests failed: 2; scan hits: 1"
    assert Trial().words == "all passed"
