"""A history becomes tasks: what is run of which commit, what is kept, and why the rest is dropped."""

import os
from collections.abc import Sequence
from pathlib import Path

from codexteam.adapters.suites.reading import read_suite
from codexteam.app.evaluation.mine import Mined, MineOptions, Mining
from codexteam.config.request import LoadRequest
from codexteam.core.eval_task import StartCommit
from codexteam.core.ids import CommitId
from codexteam.run.command_outcome import CommandOutcome
from tests.support_git import git

PASSED = "1 passed in 0.01s\n"
FAILED = "FAILED tests/test_a.py::test_x - assert 1\n1 failed in 0.01s\n"
BROKEN = "/usr/bin/python3: No module named pytest\n"


def history(tmp_path: Path, *messages: str) -> Path:
    """Make a repository whose commits each change code and its test."""
    place = tmp_path / "source"
    (place / "tests").mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    git(place, "config", "user.name", "A")
    git(place, "config", "user.email", "a@example.org")
    for number, message in enumerate(("The first commit", *messages)):
        (place / "a.py").write_text(f"X = {number}\n")
        (place / "tests" / "test_a.py").write_text(f"from a import X\n\n\ndef test_x():\n    assert {number} == X\n")
        git(place, "add", ".")
        git(place, "commit", "-qm", message)
    return place


async def mined(tmp_path: Path, source: Path, after: str, before: str, *, most: int = 20) -> Mined:
    """Mine with tests that print this with the fix, and that without it."""
    fixes = set(git(source, "rev-list", "main").decode().split())

    async def outcomes(commit: CommitId, commands: Sequence[str]) -> list[CommandOutcome]:
        deselected = "--deselect" in "".join(commands)
        text = PASSED if deselected else after if commit in fixes else before
        code = 0 if text == PASSED else 1
        return [CommandOutcome(line, code, timed_out=False, output=text, wall_seconds=0.1) for line in commands]

    folder = tmp_path / "tasks"
    options = MineOptions(LoadRequest(source, {"PATH": os.environ["PATH"]}), folder, most=most)
    return await Mining(options, source / ".git", 0.0, folder / ".mining" / "repository.git", outcomes).drive()


async def test_a_fix_becomes_a_task_that_reads_back(tmp_path: Path) -> None:
    source = history(tmp_path, "Count one more thing")

    found = await mined(tmp_path, source, PASSED, FAILED)

    assert (found.looked_at, found.candidates, len(found.kept), found.dropped) == (1, 1, 1, ())
    [task] = read_suite(tmp_path / "tasks").tasks
    assert task.goal == "Count one more thing"
    assert isinstance(task.start, StartCommit)
    assert task.start.commit == git(source, "rev-parse", "HEAD~1").decode().strip()
    assert set(task.hidden.files) == {"tests/test_a.py"}
    assert "--deselect=tests/test_a.py::test_x" in task.hidden.keep_commands[0]
    assert task.reference is not None
    assert "+X = 1" in task.reference.patch
    assert "test_a" not in task.reference.patch


async def test_commits_that_show_nothing_are_dropped_for_a_reason(tmp_path: Path) -> None:
    source = history(tmp_path, "Count one more thing", "Merge branch 'x' into y")

    for after, before, why in (
        (PASSED, PASSED, "its tests pass without the fix"),
        (FAILED, FAILED, "its tests fail with the fix, too"),
        (BROKEN, BROKEN, "its tests cannot be run here"),
    ):
        found = await mined(tmp_path, source, after, before)

        assert found.kept == ()
        assert dict(found.dropped) == {"its message says too little": 1, why: 1}


async def test_no_more_commits_are_tried_than_tasks_are_wanted(tmp_path: Path) -> None:
    source = history(tmp_path, "Count one more thing", "Count a third thing")

    found = await mined(tmp_path, source, PASSED, FAILED, most=1)

    assert (found.looked_at, len(found.kept)) == (1, 1)
    assert "count-a-third-thing" in found.kept[0]
