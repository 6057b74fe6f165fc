"""Commands that look, in repositories of all kinds: they work, or say in one error what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.views.conftest import Cli, Project, green_world
from tests.support_git import git

RUN = "20231114-2313-bbbb"
LOOKING = [("runs",), ("status",), ("show", "T1"), ("logs",), ("diff",), ("events",), ("inbox",), ("salvage",)]
HEAVY = {"openai", "docker", "git", "rich", "asyncio", "mcp", "sqlite3", "httpx", "httpx2"}


@pytest.fixture
def recorded(project: Project) -> Project:
    project.record(RUN, green_world().history, state="green")
    return project


@pytest.mark.parametrize(
    "arguments", [*LOOKING, ("apply",), ("clean",), ("stop",), ("answer", "plan", "yes")], ids=" ".join
)
def test_outside_a_repository_there_is_one_error(arguments: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    folder.mkdir()
    done = cli("-C", str(folder), *arguments)
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith("error: ")
    assert "not a git repository" in done.err
    assert "hint: " in done.err
    assert list(folder.iterdir()) == []


def test_worktrees_a_detached_head_and_dirt_show_the_same_runs(recorded: Project, cli: Cli, tmp_path: Path) -> None:
    git(recorded.root, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    (tmp_path / "linked" / 'dirty\n"-name').write_text("x")
    assert cli("-C", str(tmp_path / "linked"), "runs", "--json").out == cli("runs", "--json").out


def test_a_repository_without_commits_has_no_runs(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    git(root, "init", "-q")
    assert cli("-C", str(root), "runs").code == 0
    assert cli("-C", str(root), "status").code == 2


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
@pytest.mark.parametrize("arguments", [("runs",), ("status",), ("answer", "plan", "yes")], ids=" ".join)
def test_a_broken_state_file_is_one_error_and_stays_as_it_is(
    content: bytes, arguments: tuple[str, ...], project: Project, cli: Cli
) -> None:
    project.state.mkdir()
    (project.state / "state.sqlite").write_bytes(content)
    done = cli(*arguments)
    assert done.code in ({6} if content else {0, 2})
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    assert (project.state / "state.sqlite").read_bytes() == content


def test_a_run_whose_folder_is_gone_is_still_shown(recorded: Project, cli: Cli) -> None:
    import shutil

    shutil.rmtree(recorded.state / "runs")
    assert "2 of 2 merged" in cli("status").out
    assert cli("show", "T1").code == 0
    assert f"run {RUN}: " in cli("logs").out, "its history is in the state file"
    assert cli("events").out.startswith('{"schema":1,"sequence":1,')
    gone = cli("diff")
    assert gone.code == 6
    assert "no longer there" in gone.err


SHOW_MODULES = """
import sys
sys.argv = ["codexteam", *sys.argv[1:]]
from codexteam.__main__ import main
code = main()
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("command", ["runs", "status", "answer", "stop", "clean", "salvage"])
def test_a_command_s_help_imports_nothing_heavy(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert set(done.stderr.split()) & (HEAVY | {"tomllib"}) == set()
