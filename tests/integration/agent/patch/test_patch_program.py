"""`apply_patch` in the middle of a command, run by a real shell."""

import os
import subprocess
from pathlib import Path

import pytest

from codexteam.agent.patch.program import functions, installing, wants_program

PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-one\n+two\n*** End Patch"


def _run(line: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    (folder / "a.txt").write_text("one\n")
    (folder / "patch").write_text(PATCH)
    assert wants_program(("bash", "-lc", line))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **functions()}
    install = installing()
    subprocess.run(install.argv, input=install.stdin, env=environment, check=True)
    return subprocess.run(("bash", "-lc", line), cwd=folder, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize(
    "line",
    [
        f"echo begin && apply_patch <<'EOF' && echo end\n{PATCH}\nEOF",
        f"apply_patch <<'EOF'\n{PATCH}\nEOF\necho end",
        f"cat <<'EOF' | apply_patch; echo end\n{PATCH}\nEOF",
        f"set -e\napplypatch '{PATCH}'\necho end",
        'apply_patch "$(cat patch)"; echo end',
        "apply_patch < patch && echo end",
        f"mkdir -p sub; cd sub && apply_patch <<'EOF'; echo end\n{PATCH.replace('a.txt', '../a.txt')}\nEOF",
    ],
)
def test_a_patch_in_a_longer_command_is_applied(line: str, tmp_path: Path) -> None:
    done = _run(line, tmp_path)
    assert (tmp_path / "a.txt").read_text() == "two\n", done
    assert b"Success. Updated the following files:\nM " in done.stdout
    assert str(tmp_path).encode() + b"/a.txt" not in done.stdout
    assert done.stdout.endswith(b"end\n")


def test_files_are_added_moved_and_deleted(tmp_path: Path) -> None:
    patch = (
        "*** Begin Patch\n*** Add File: new/b.txt\n+b\n*** Update File: a.txt\n*** Move to: c.txt\n@@\n-one\n+two\n"
        "*** Delete File: patch\n*** End Patch"
    )
    done = _run(f"true; apply_patch <<'EOF'\n{patch}\nEOF", tmp_path)
    assert done.returncode == 0, done
    names = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"b.txt": "b\n", "c.txt": "two\n"}


def test_a_patch_that_does_not_fit_fails_and_writes_nothing(tmp_path: Path) -> None:
    done = _run(f"true; apply_patch <<'EOF'\n{PATCH.replace('-one', '-none')}\nEOF", tmp_path)
    assert done.returncode == 1
    assert b"Failed to find expected lines in " in done.stderr
    assert (tmp_path / "a.txt").read_text() == "one\n"


@pytest.mark.parametrize("line", ["grep -rn apply_patch .", "echo 'apply_patch'", "ls", "./apply_patch_tests"])
def test_a_command_that_only_speaks_of_it_needs_no_program(line: str) -> None:
    assert not wants_program(("bash", "-lc", line))


def test_a_command_that_is_nothing_but_a_patch_needs_no_program() -> None:
    assert not wants_program(("bash", "-lc", f"apply_patch <<'EOF'\n{PATCH}\nEOF"))
