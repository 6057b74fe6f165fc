"""Makes a folder of files a repository with one commit, the same id wherever it is made."""

from collections.abc import Mapping
from pathlib import Path

from codexteam.adapters.git.runner import Call, GitRunner, find_git

_WHO = {
    "GIT_AUTHOR_NAME": "codexteam demo",
    "GIT_AUTHOR_EMAIL": "demo@codexteam.invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
}
_IDENTITY = _WHO | {name.replace("AUTHOR", "COMMITTER"): value for name, value in _WHO.items()}


def make_repository(folder: Path, environment: Mapping[str, str], *, message: str) -> None:
    """Commit all files of a folder that is no repository yet.

    Raises:
        RepoError: there is no git, or it failed.
    """
    runner = GitRunner(find_git(environment.get("PATH")), folder)
    git_dir = folder / ".git"
    what = f"{folder}: the sample repository cannot be made"
    runner.check(Call(("init", "--quiet", "--initial-branch=main"), git_dir), what)
    runner.check(Call(("add", "--all", "."), git_dir, work_tree=folder, cwd=folder), what)
    commit = Call(("commit", "--quiet", f"--message={message}"), git_dir, work_tree=folder, environment=_IDENTITY)
    runner.check(commit, what)
