"""`codexteam env`, with real sandboxes: what it shows, builds, runs and removes."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli, Outcome

pytestmark = [pytest.mark.bubblewrap, pytest.mark.timeout(240)]

#: A set-up that needs no registry: a program outside the tree, and a file in it that git ignores.
SETUP = """\
#!/bin/sh
set -e
mkdir -p /opt/codexteam/bin modules
printf '#!/bin/sh\\necho "tool says $1"\\n' > /opt/codexteam/bin/tool
chmod +x /opt/codexteam/bin/tool
echo made > modules/made.txt
"""
MAKEFILE = "test:\n\ttool works\n\tgrep made modules/made.txt\n"
FILES = {"Makefile": MAKEFILE, "setup.sh": SETUP, ".gitignore": "modules/\n", "folder/here.txt": "here\n"}

Env = Callable[..., Outcome]


def committed(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "first"], cwd=folder, check=True)
    return folder


@pytest.fixture
def repository(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a script that sets up and a test command that needs it."""
    (home / ".codex").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    committed(folder, FILES)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def env(cli: Cli, repository: Path) -> Env:
    """Runs `codexteam env ARGUMENTS...` in the repository, on bubblewrap, with its script."""

    def call(*arguments: str) -> Outcome:
        return cli(*options("setup.sh"), "env", *arguments)

    return call


def options(script: str) -> tuple[str, ...]:
    return ("-c", 'codexteam.sandbox.kind="bubblewrap"', "-c", f'codexteam.sandbox.setup="{script}"')


def last(outcome: Outcome) -> dict[str, object]:
    found = json.loads(outcome.out.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_what_is_built_is_shown_kept_used_and_removed(env: Env, repository: Path) -> None:
    before = env()
    assert before.code == 0, before.err
    assert "[codexteam.sandbox] setup (setup.sh): it is the user's word" in before.out
    assert "not built" in before.out
    assert "make test (Makefile test): not tried" in before.out
    assert max(map(len, before.out.splitlines())) <= 80

    built = env("build")
    assert built.code == 0, built.out + built.err
    assert "make test (Makefile test): passes" in built.out
    assert "environment: step 1 of 1" in built.err
    again = env("build", "--json")
    record = last(again)
    assert (record["type"], record["built"], record["exit_code"]) == ("environment", True, 0)
    assert '"environment.building"' not in again.out

    ran = env("run", "--", "sh", "-c", "tool runs && cat modules/made.txt && exit 3")
    assert (ran.code, ran.out) == (3, "tool says runs\nmade\n"), ran.err

    listed = env("list")
    assert f"* {str(record['key'])[:12]}" in listed.out
    removed = env("prune", str(record["key"])[:8])
    assert removed.out.startswith(f"removed {record['key']}")
    assert "not built" in env().out
    status = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=repository, capture_output=True, check=True
    )
    assert status.stdout == b""
    assert not list((repository / ".git" / "codexteam" / "runs").glob("env-*"))


def test_a_command_runs_where_its_user_is(env: Env, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "folder")
    ran = env("run", "--", "cat", "here.txt")
    assert (ran.code, ran.out) == (0, "here\n"), ran.err


def test_a_set_up_that_fails_ends_with_6_and_its_last_words(cli: Cli, repository: Path) -> None:
    committed(repository, {"broken.sh": "echo the last word\nexit 7\n"})
    built = cli(*options("broken.sh"), "env", "build")
    assert built.code == 6
    assert "exit code 7" in built.err
    assert "the last word" in built.err
    assert "hint:" in built.err
    as_json = cli(*options("broken.sh"), "env", "build", "--json")
    assert last(as_json)["exit_code"] == 6


def test_uncommitted_changes_are_said_to_be_left_out(env: Env, repository: Path) -> None:
    (repository / "Makefile").write_text(MAKEFILE + "# more\n")
    assert "uncommitted changes are not in it" in env().out


def test_a_shell_needs_a_terminal(env: Env) -> None:
    refused = env("shell")
    assert refused.code == 2
    assert "codexteam env run" in refused.err


def test_without_a_commit_or_repository_the_reason_is_said(cli: Cli, home: Path, tmp_path: Path) -> None:
    (home / ".codex").mkdir()
    outside = cli("env")
    assert (outside.code, outside.out) == (6, "")
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=empty, check=True)
    without = cli("-C", str(empty), "env")
    assert without.code == 6
    assert "commit" in without.err


def test_where_no_set_ups_are_wanted_none_is_built(env: Env, cli: Cli, repository: Path) -> None:
    refused = cli(*options("setup.sh"), "-c", "codexteam.sandbox.build_environment=false", "env", "build")
    assert refused.code == 2
    assert "build_environment" in refused.err


@pytest.mark.slow
def test_a_shell_has_the_users_terminal_its_size_and_its_exit_code(repository: Path, home: Path) -> None:
    main, other = pty.openpty()
    environment = {**os.environ, "HOME": str(home), "TERM": "xterm", "COLUMNS": "101", "LINES": "33"}
    command = [sys.executable, "-m", "codexteam", *options("setup.sh"), "env", "shell"]
    shell = subprocess.Popen(command, cwd=repository, env=environment, stdin=other, stdout=other, stderr=other)
    os.close(other)
    seen = b""

    def until(words: bytes) -> None:
        nonlocal seen
        while words not in seen:
            seen += os.read(main, 4096)
        seen = seen.partition(words)[2]

    os.write(main, b"tool typed; stty size\r")  # typed before there is a shell: it waits for one
    until(b"thrown away")
    until(b"tool says typed")
    until(b"33 101")
    os.write(main, b"sh -c 'echo be\"gins\"; exec sleep 100'\r")  # said by what Ctrl-C is to end
    until(b"begins")
    os.write(main, b"\x03")
    until(b"^C")
    until(b"$ ")  # what is typed before the prompt may be dropped with what Ctrl-C interrupts
    os.write(main, b"echo after' 'Ctrl-C; exit 9\r")
    until(b"after Ctrl-C")
    assert shell.wait(timeout=60) == 9
    os.close(main)


def test_doctor_names_what_this_repositorys_tests_lack(cli: Cli, repository: Path) -> None:
    workflow = (
        "on: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n    services: {db: {image: 'postgres:15'}}\n"
        "    steps:\n      - run: sudo apt-get install -y no-such-package-anywhere\n      - run: make test\n"
    )
    committed(repository, {".github/workflows/ci.yml": workflow, "mix.exs": 'elixir: "~> 1.15"'})
    found = cli("-c", 'codexteam.sandbox.kind="bubblewrap"', "doctor")
    assert "ok    environment: set up from .github/workflows/ci.yml job test" in found.out
    assert "-> apt-get install no-such-package-anywhere" in found.out
    assert "has the service db (postgres:15) beside the tests" in found.out


def test_init_offers_the_set_up_of_a_project_and_never_replaces_it(cli: Cli, repository: Path) -> None:
    committed(repository, {"package.json": '{"scripts": {"test": "node --test"}}'})
    first = cli("init", "--project")
    script = repository / ".codex" / "setup-environment.sh"
    assert "npm install" in script.read_text()
    assert '[codexteam.sandbox] setup = ".codex/setup-environment.sh"' in first.out
    script.write_text("mine\n")
    assert cli("init", "--project", "--force").code == 0
    assert script.read_text() == "mine\n"
