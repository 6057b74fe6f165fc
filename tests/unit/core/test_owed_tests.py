"""What a task owes in tests, and which work does not have them."""

import pytest

from codexteam.core.ids import TaskId
from codexteam.core.plan_graph import Acceptance, OwedTests, Task
from codexteam.core.untested import (
    ExecutedLines,
    FileChange,
    judging_commands,
    never_run_words,
    owed_tests,
    why_refused,
)

CODE = FileChange("src/load.py", {3: "def load():", 4: "    return 1", 9: "# done"})
TEST = FileChange("tests/test_load.py", {1: "def test_load():", 2: "    assert load() == 1"})
RAN = {"src/load.py": ExecutedLines(frozenset({3, 4}), frozenset({7}))}
NEVER_RAN = {"src/load.py": ExecutedLines(frozenset({1}), frozenset({3, 4, 7}))}


def task(*paths: str, command: str | None = None, tests: OwedTests | None = None, role: str = "implementer") -> Task:
    accept = (Acceptance("it works", command),)
    return Task(TaskId("T1"), "Load", role=role, paths=paths, acceptance=accept, tests=tests)


@pytest.mark.parametrize(
    ("given", "owed"),
    [
        (task("src/load.py", "tests/test_load.py"), OwedTests.REQUIRED),
        (task("src/load.py"), OwedTests.EXISTING),
        (task("src/load.py", tests=OwedTests.REQUIRED), OwedTests.REQUIRED),
        (task("src/load.py", "tests/", tests=OwedTests.NONE), OwedTests.NONE),
        (task("src/*_test.go"), OwedTests.REQUIRED),
        (task(command="pytest -q"), OwedTests.REQUIRED),
        (task(command="test -f src/load.py"), OwedTests.EXISTING),
        (task("tests/test_docs.py", role="documentation"), OwedTests.NONE),
    ],
)
def test_a_task_owes_what_it_says_or_what_its_paths_let_it_write(given: Task, owed: OwedTests) -> None:
    assert owed_tests(given) is owed


def test_work_is_judged_by_the_commands_that_run_tests() -> None:
    commands = ("true", "test -f src/load.py", "pytest -q", "pytest -q")
    several = Task(TaskId("T1"), "Load", acceptance=tuple(Acceptance(each, each) for each in commands))

    assert judging_commands(several) == ("pytest -q",)
    assert judging_commands(task(command="test -f src/load.py")) == ("test -f src/load.py",)
    assert judging_commands(task(command="true")) == ()


def test_code_without_a_test_is_refused_where_nothing_measures() -> None:
    assert why_refused(OwedTests.REQUIRED, [CODE], {}) == "it changes code (src/load.py) and no test"
    assert not why_refused(OwedTests.REQUIRED, [CODE, TEST], {})
    assert not why_refused(OwedTests.EXISTING, [CODE], {})
    assert not why_refused(OwedTests.NONE, [CODE], NEVER_RAN)


def test_code_that_no_test_runs_is_refused_with_its_lines() -> None:
    for owed in (OwedTests.REQUIRED, OwedTests.EXISTING):
        assert why_refused(owed, [CODE, TEST], NEVER_RAN) == "no test runs what it adds to src/load.py lines 3-4"
        assert not why_refused(owed, [CODE], RAN)


def test_shown_or_unseen_code_is_not_refused_for_its_lines() -> None:
    unseen = {"src/load.py": ExecutedLines(frozenset(), frozenset({1, 3, 4, 7}))}

    assert not why_refused(OwedTests.REQUIRED, [CODE, TEST], NEVER_RAN, shown=True)
    assert not why_refused(OwedTests.REQUIRED, [CODE, TEST], unseen)
    assert not why_refused(OwedTests.EXISTING, [CODE], unseen)
    assert why_refused(OwedTests.REQUIRED, [CODE], unseen) == "it changes code (src/load.py) and no test"
    assert never_run_words([CODE, TEST], unseen) == "no test runs what it adds to src/load.py lines 3-4"


def test_tests_that_pass_without_the_code_show_nothing() -> None:
    why = why_refused(OwedTests.REQUIRED, [CODE, TEST], RAN, passes_without=["pytest -q"])

    assert why == "its tests pass without its code, so they do not show what it does: `pytest -q`"


@pytest.mark.parametrize(
    ("change", "code", "test"),
    [
        (CODE, True, False),
        (TEST, False, True),
        (FileChange("src/load.py", {1: "# only a word", 2: "import os", 3: ""}), False, False),
        (FileChange("README.md", {1: "Loads."}), False, False),
        (FileChange("setup.cfg", {1: "[metadata]"}), False, False),
        (FileChange("dist/app.js", {1: "run()"}), False, False),
        (FileChange("src/lib.rs", {1: "fn load() {}", 5: "#[test]"}), True, True),
        (FileChange("tests/test_load.py"), False, False),
    ],
)
def test_what_changes_behaviour_is_told_from_what_does_not(change: FileChange, *, code: bool, test: bool) -> None:
    assert (change.is_code, change.is_test) == (code, test)
