"""What a shell is told when the user presses Tab."""

import subprocess
import sys
from pathlib import Path

import pytest


def completions(home: Path, words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "codexteam"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "_CODEXTEAM_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("codexteam do", {"doctor"}),
        ("codexteam init --tier p", {"pro", "plus"}),
        ("codexteam init --fast", {"--fast-model"}),
        ("codexteam roles rev", {"reviewer"}),
    ],
)
def test_commands_options_values_and_roles_are_completed(words: str, expected: set[str], tmp_path: Path) -> None:
    assert completions(tmp_path, words) == expected


def test_a_broken_configuration_still_completes_the_shipped_roles(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/config.toml").write_text("model =\n")

    assert completions(tmp_path, "codexteam roles impl") == {"implementer"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codexteam"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "_CODEXTEAM_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "_CODEXTEAM_COMPLETE=complete_" + shell in done.stdout
