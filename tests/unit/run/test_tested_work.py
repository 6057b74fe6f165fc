"""What an attempt hands in is run without its code, among fakes: work without the tests that it owes is not taken."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.adapters.machine.run_files import DiskRunFiles
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.core.effects import AttemptKind, Work
from codexteam.core.ids import JSONObject, RunId, TaskId
from codexteam.core.plan_graph import Acceptance, OwedTests, Task
from codexteam.core.work_size import WorkSize
from codexteam.ports.repo import Identity
from codexteam.ports.sandbox import Command, CommandResult
from codexteam.run.context import RunContext
from codexteam.run.gates.coverage import measuring
from codexteam.run.gates.diffs import WORK_SIZES
from codexteam.run.tested_work import judge_work
from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, FakeSandbox, ended
from tests.fakes.memory_store import MemoryStore

RUN = RunId("20261121-0231-7f3a")
BASE = {"src/load.rb": b"def load\nend\n", "test/load_test.rb": b"# none\n"}
CODE = b"def load\n  1\nend\n"
SHOWS = b"assert_equal 1, load\n"
NO_TEST = "it changes code (src/load.rb) and no test"
TASK = Task(
    TaskId("T1"),
    "Load",
    paths=("src/", "test/load_test.rb"),
    acceptance=(Acceptance("it loads", "rake test"),),
    tests=OwedTests.REQUIRED,
)


def rake_test(sandbox: FakeSandbox, _: Command) -> CommandResult:
    """Fail where a test asks for what the code does not do."""
    asks = sandbox.files["test/load_test.rb"] == SHOWS
    return ended(int(asks and sandbox.files["src/load.rb"] != CODE), "ran\n")


@pytest.fixture
async def make_context(tmp_path: Path) -> Callable[[str], RunContext]:
    repo = FakeRepo(tmp_path / "repo", BASE)
    await repo.fetch_base(RUN, repo.head)

    def make(untested: str = "refuse") -> RunContext:
        environment = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path)}
        flags = {"codexteam.gates.untested": untested}
        settings = load_settings(LoadRequest(tmp_path, environment, flags=flags, system_folder=tmp_path / "none"))
        engine = FakeEngine(script={"rake test": rake_test, "test -e made": ended(1, ""), **MEASURES})
        files = DiskRunFiles(tmp_path, RUN, plan_root=tmp_path, redact=str)
        return RunContext(RUN, repo.head, settings, repo, MemoryStore(), engine, FakeClock(), files, report)

    reported.clear()
    MEASURES.clear()
    return make


MEASURES: dict[str, CommandResult] = {}
"""What measuring lines gives, by shell line."""
reported: list[tuple[str, JSONObject]] = []


def report(kind: str, fields: JSONObject) -> None:
    reported.append((kind, fields))


async def judged(context: RunContext, files: dict[str, bytes], task: Task = TASK) -> tuple[str, str]:
    assert isinstance(context.repo, FakeRepo)
    context.repo.uncommitted = dict(files)
    commit = await context.repo.commit_work_tree(context.repo.head, "Load", Identity("a", "a@example.org", 0))
    work = Work(task.id, 1, AttemptKind.IMPLEMENT, context.repo.head)
    return await judge_work(context, work, task, commit)


async def test_work_whose_test_fails_without_its_code_is_taken(make_context: Callable[..., RunContext]) -> None:
    context = make_context()

    assert await judged(context, {"src/load.rb": CODE, "test/load_test.rb": SHOWS}) == ("", "")
    assert [fields["failed"] for kind, fields in reported if kind == "tests.without_code"] == [True]
    assert await context.recall(WORK_SIZES, "T1.1", WorkSize) == WorkSize(3, 2)


async def test_work_whose_test_passes_without_its_code_is_not(make_context: Callable[..., RunContext]) -> None:
    why, evidence = await judged(make_context(), {"src/load.rb": CODE, "test/load_test.rb": b"assert true\n"})

    assert why == "its tests pass without its code, so they do not show what it does: `rake test`"
    assert "Write a test that fails without the change" in evidence
    assert "`rake test`: exit code 0" in evidence


@pytest.mark.parametrize("command", ["rake test", "test -e made"])
async def test_work_without_a_test_is_refused(make_context: Callable[..., RunContext], command: str) -> None:
    task = replace(TASK, acceptance=(Acceptance("it loads", command),))

    assert (await judged(make_context(), {"src/load.rb": CODE}, task))[0] == NO_TEST


async def test_a_test_that_already_failed_on_the_base_serves(make_context: Callable[..., RunContext]) -> None:
    context = make_context()
    assert isinstance(context.repo, FakeRepo)
    context.repo.uncommitted = {"test/load_test.rb": SHOWS}
    base = await context.repo.commit_work_tree(context.repo.head, "Ask", Identity("a", "a@example.org", 0))
    context.repo.uncommitted = {"src/load.rb": CODE}
    commit = await context.repo.commit_work_tree(base, "Load", Identity("a", "a@example.org", 0))

    assert await judge_work(context, Work(TASK.id, 1, AttemptKind.IMPLEMENT, base), TASK, commit) == ("", "")


async def test_a_task_that_says_nothing_of_tests_is_only_warned_of(make_context: Callable[..., RunContext]) -> None:
    assert await judged(make_context(), {"src/load.rb": CODE}, replace(TASK, tests=None)) == ("", "")
    assert [fields["message"] for kind, fields in reported if kind == "policy.warned"] == [NO_TEST]


async def test_what_red_first_showed_is_not_refused_for_lines(make_context: Callable[..., RunContext]) -> None:
    code, shows = b"exports.load = () => 1;\n", b"test('load', () => load());\n"
    command = "npm test"
    task = replace(TASK, paths=("src/", "test/"), acceptance=(Acceptance("it loads", command),))
    line = measuring([command], ["src/load.js"])
    mark = line.split(" measure ")[-1].split()[0]
    MEASURES[line] = ended(0, f'{mark} ["src/load.js", [2], [1]]\n')
    files = {"src/load.js": code, "test/load.test.js": shows}
    MEASURES[command] = ended(1, "Tests: 1 failed, 1 total\n")
    assert await judged(make_context(), files, task) == ("", "")
    why = "no test runs what it adds to src/load.js lines 1"
    assert [fields["message"] for kind, fields in reported if kind == "policy.warned"] == [why]

    MEASURES[command] = ended(0, "Tests: 1 passed, 1 total\n")
    assert (await judged(make_context(), files, task))[0] == why


@pytest.mark.parametrize("tests", [OwedTests.NONE, OwedTests.EXISTING])
async def test_a_task_that_owes_no_new_test_brings_none(
    make_context: Callable[..., RunContext], tests: OwedTests
) -> None:
    task = replace(TASK, tests=tests)

    assert await judged(make_context(), {"src/load.rb": CODE}, task) == ("", "")


async def test_a_change_of_words_owes_nothing(make_context: Callable[..., RunContext]) -> None:
    assert await judged(make_context(), {"README.md": b"It loads.\n"}) == ("", "")


@pytest.mark.parametrize(("untested", "warned"), [("warn", [NO_TEST]), ("allow", [])])
async def test_a_setting_lets_untested_work_through(
    make_context: Callable[..., RunContext], untested: str, warned: list[str]
) -> None:
    assert await judged(make_context(untested), {"src/load.rb": CODE}) == ("", "")
    assert [fields["message"] for kind, fields in reported if kind == "policy.warned"] == warned
