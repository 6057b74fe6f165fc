"""The repository that agents of an evaluation get: the base commit and its ancestors, and nothing of what came later."""

import os
from pathlib import Path

import pytest

from codexteam.adapters.git.eval_repository import EvalRepository
from codexteam.core.eval_task import StartCommit, StartFiles
from codexteam.core.ids import CommitId
from codexteam.errors import RepoError
from tests.support_git import git

PATH = os.environ["PATH"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository whose fix is on main, in a tag, a branch, a remote and the reflog."""
    place = tmp_path / "source"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    git(place, "config", "user.name", "A")
    git(place, "config", "user.email", "a@example.org")
    for number, text in enumerate(("one", "two", "the fix")):
        (place / "code.py").write_text(f"{text}\n")
        git(place, "add", ".")
        git(place, "commit", "-qm", f"commit {number}")
    git(place, "tag", "-a", "v2", "-m", "with the fix")
    git(place, "branch", "later")
    git(place, "remote", "add", "origin", "https://example.org/x.git")
    return place


def made(tmp_path: Path, name: str = "agents.git") -> EvalRepository:
    repository = EvalRepository(tmp_path / name, PATH)
    repository.make()
    return repository


def test_agents_get_the_base_and_its_ancestors_alone(tmp_path: Path, source: Path) -> None:
    base = git(source, "rev-parse", "HEAD~1").decode().strip()
    repository = made(tmp_path)

    commit = repository.take_start(StartCommit(str(source), "HEAD~1"))
    repository.point_head(commit)

    assert commit == base
    place = repository.folder
    reachable = set(git(source, "rev-list", "--objects", "--no-object-names", base).split())
    there = {line.split()[0] for line in git(place, "cat-file", "--batch-all-objects", "--batch-check").splitlines()}
    assert there == reachable
    assert git(place, "for-each-ref", "--format=%(refname)").split() == [b"refs/heads/main"]
    assert git(place, "remote") == b""
    assert not (place / "logs").exists()
    assert b"the fix" not in git(place, "log", "--all", "-p")


def test_a_bundle_is_read_without_what_it_holds_besides(tmp_path: Path, source: Path) -> None:
    git(source, "bundle", "create", "-q", str(tmp_path / "all.bundle"), "--all")
    graded, agents = made(tmp_path, "graded.git"), made(tmp_path)
    base = git(source, "rev-parse", "HEAD~1").decode().strip()

    commit = graded.take_start(StartCommit(str(tmp_path / "all.bundle"), base))
    agents.take_commit(graded.folder, commit)

    assert len(git(agents.folder, "cat-file", "--batch-all-objects", "--batch-check").splitlines()) == 6


def test_files_are_put_in_place_whatever_work_did_to_them(tmp_path: Path, source: Path) -> None:
    repository = made(tmp_path)
    base = repository.take_start(StartFiles({"run.sh": b"x", "a.py": b"1\n"}, frozenset({"run.sh"})))
    work = repository.commit(base, {"tests/test_a.py": b"cheat"}, removed=["a.py"], message="work")

    graded = repository.commit(work, {"tests/test_a.py": b"hidden", "run.sh": b"y"}, message="hidden")

    assert repository.paths(graded) == ["run.sh", "tests/test_a.py"]
    assert repository.read(graded, "tests/test_a.py") == b"hidden"
    assert git(repository.folder, "ls-tree", graded, "run.sh").startswith(b"100755")
    assert repository.changed(base, graded)[1] == {"a.py"}


def test_a_patch_is_applied_or_refused(tmp_path: Path, source: Path) -> None:
    repository = made(tmp_path)
    base = repository.take_start(StartCommit(str(source), "HEAD~1"))
    patch = git(source, "diff", "HEAD~1", "HEAD").decode()

    assert repository.read(repository.commit_patch(base, patch, message="fix"), "code.py") == b"the fix\n"
    with pytest.raises(RepoError, match="apply failed"):
        repository.commit_patch(base, patch.replace("-two", "-other"), message="fix")


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", ".git/hooks/pre-commit", "a/../../b"])
def test_no_path_of_a_suite_leaves_the_tree(tmp_path: Path, path: str) -> None:
    repository = made(tmp_path)

    with pytest.raises(RepoError):
        repository.commit(None, {path: b"x"}, message="bad")
    with pytest.raises(RepoError):
        repository.take_commit(tmp_path, CommitId("a" * 40))
