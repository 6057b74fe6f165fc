"""What a command does before anything is begun, and when nobody reads what it prints any more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support_git import git

CONFIG = """
model = "gpt-5.4"
model_provider = "local"
[model_providers.local]
name = "Local"
base_url = "http://127.0.0.1:9/v1"
env_key = "NO_SUCH_KEY"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(CONFIG)
    root = str(Path(__file__).parents[3])
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CODEX_HOME": str(home), "PYTHONPATH": root}


@pytest.mark.parametrize("arguments", [["--help"], ["config", "show"], ["roles"], ["roles", "reviewer"]])
def test_a_reader_that_has_left_is_no_error(arguments: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "codexteam", *arguments]
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, env=environment, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_missing_key_is_said_before_a_run_begins(environment: dict[str, str], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-q")
    git(repository, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "one")
    command = [sys.executable, "-m", "codexteam", "run", "a goal"]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=repository, text=True, check=False)
    assert done.returncode == 6
    assert "NO_SUCH_KEY" in done.stderr
    assert "hint: export NO_SUCH_KEY=" in done.stderr
    assert not (repository / ".git" / "codexteam" / "runs").exists()
    assert not (repository / ".git" / "codexteam" / "state.sqlite").exists()
