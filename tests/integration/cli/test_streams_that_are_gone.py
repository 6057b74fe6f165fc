"""A goal that is not text, and standard streams that are closed or full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def sh(line: str, repository: Path, home: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HOME": str(home), "CODEX_HOME": str(home), "PY": sys.executable}
    return subprocess.run(
        ["bash", "-c", line], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def where(home: Path) -> Path:
    (home / "config.toml").write_text(
        'model_provider = "mine"\n[model_providers.mine]\nname = "Mine"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    return home


def test_a_goal_that_is_not_utf_8_is_a_usage_error_and_makes_nothing(repository: Path, where: Path) -> None:
    done = sh("$PY -m codexteam run $'caf\\xe9 is added to the menu'", repository, where)

    assert done.returncode == 2
    assert "the goal is not valid UTF-8: character 4" in done.stderr
    assert not (repository / ".git/codexteam").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_command_goes_on_without_a_stream_that_is_closed(repository: Path, where: Path, closed: str) -> None:
    done = sh(f"$PY -m codexteam roles {closed}", repository, where)

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_output_is_one_true_error(repository: Path, where: Path) -> None:
    done = sh("$PY -m codexteam roles >/dev/full", repository, where)

    assert done.returncode == 6
    assert done.stderr.splitlines() == [
        "error: standard output: No space left on device",
        "hint: what was asked for is not printed in full; nothing else is wrong",
    ]
