"""What is said of a checkout that changed while a run was at work: each kind of change, and nothing of ours."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codexteam.adapters.git.checkout import changes_of_checkout, look_at_checkout
from codexteam.adapters.git.location import locate


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(("git", "-c", "user.name=u", "-c", "user.email=u@example.org", *arguments), cwd=root, check=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two commits, something staged, something untracked, and something ignored."""
    root = tmp_path / "repository"
    root.mkdir()
    _git(root, "init", "-q", "-b", "main")
    for name in ("one.txt", "two.txt"):
        (root / name).write_text(name)
        (root / ".gitignore").write_text("ignored\n")
        _git(root, "add", ".")
        _git(root, "commit", "-qm", name)
    (root / "staged.txt").write_text("staged")
    _git(root, "add", "staged.txt")
    (root / "untracked.txt").write_text("untracked")
    (root / "ignored").write_text("ignored")
    return root


def _change(root: Path, change: Callable[[Path], object]) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(root.parent)}
    places = locate(root, environment)
    before = look_at_checkout(places, environment, [root / "ours"])
    change(root)
    after = look_at_checkout(places, environment, [root / "ours"])
    assert before is not None
    assert after is not None
    return changes_of_checkout(before, after)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "one.txt").write_text("other"), "1 file changed: one.txt"),
        (lambda root: (root / "one.txt").unlink(), "1 file changed: one.txt"),
        (lambda root: (root / "one.txt").chmod(0o755), "1 file changed: one.txt"),
        (lambda root: (root / "untracked.txt").write_text("x"), "1 file changed: untracked.txt"),
        (lambda root: (root / "new\x1b[2J").write_text("x"), "1 file changed: new\\x1b[2J"),
        (lambda root: _git(root, "add", "untracked.txt"), "other content is staged"),
        (lambda root: _git(root, "symbolic-ref", "HEAD", "refs/heads/other"), "HEAD was refs/heads/main at "),
        (lambda root: _git(root, "reset", "-q", "--soft", "HEAD~1"), "HEAD was refs/heads/main at "),
        (lambda root: _git(root, "checkout", "-q", "--detach"), "HEAD was refs/heads/main at "),
        (
            lambda root: [(root / f"{number}.txt").write_text("x") for number in range(7)],
            "7 files changed: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ...",
        ),
    ],
    ids=["changed", "removed", "mode", "untracked", "new", "staged", "branch", "commit", "detached", "many"],
)
def test_each_change_is_said(root: Path, change: Callable[[Path], object], said: str) -> None:
    assert _change(root, change).startswith(said)


def _as_codexteam(root: Path) -> None:
    (root / "plan.md").write_text("plan")
    (root / "ours").mkdir()
    (root / "ours" / "state").write_text("state")
    (root / "ignored").write_text("other")
    _git(root, "update-ref", "refs/heads/codexteam/run", "HEAD")
    _git(root, "status", "--short")  # renews what git notes in the index


def test_what_codexteam_does_is_not_said(root: Path) -> None:
    assert _change(root, _as_codexteam) == ""


def test_a_bare_repository_has_no_checkout(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "--bare", "bare.git")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert look_at_checkout(locate(tmp_path / "bare.git", environment), environment) is None
