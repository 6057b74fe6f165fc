"""What the user's repository is at the start of a run, and the states a run cannot start in."""

import os
from pathlib import Path

from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import GitCall, GitRunner
from codexteam.adapters.git.work_tree import work_tree_state
from codexteam.core.ids import CommitId
from codexteam.core.text import clean_line
from codexteam.errors import RepoError
from codexteam.ports.repo import RepositoryFacts

_PLAN = b"plan.md"
#: What lies in the git directory while something is under way, what it is called, and how to get out of it.
_UNDER_WAY = (
    ("MERGE_HEAD", "a merge", "Finish it with `git commit`, or leave it with `git merge --abort`."),
    ("rebase-merge", "a rebase", "Finish it with `git rebase --continue`, or leave it with `git rebase --abort`."),
    ("rebase-apply", "a rebase or `git am`", "Finish it with `--continue`, or leave it with `--abort`."),
    ("CHERRY_PICK_HEAD", "a cherry-pick", "Finish or leave it: `git cherry-pick --continue` or `--abort`."),
    ("REVERT_HEAD", "a revert", "Finish or leave it: `git revert --continue` or `--abort`."),
)


def inspect_repository(runner: GitRunner, places: Places) -> RepositoryFacts:
    """Look at the user's repository; nothing of it is run or changed.

    Raises:
        RepoError: a run cannot start from it; says why and what to do.
    """
    where = clean_line(str(places.root))
    for name, what, hint in _UNDER_WAY:
        if (places.git_dir / name).exists():
            raise RepoError(f"{where}: {what} is under way", hint=hint)
    head = _head(runner, places)
    branch = _branch(runner, places)
    _refuse_branch_in_the_way(runner, places)
    files = _files(runner, places, head)
    notices: list[str] = []
    dirty = False
    if branch is None:
        notices.append(f"HEAD is detached; the run starts from commit {head[:10]}.")
    if (places.git_dir / "BISECT_LOG").exists():
        notices.append("A bisect is under way; the run starts from the commit that is checked out now.")
    if places.bare:
        notices.append("The repository is bare; there is no work tree to look at.")
    else:
        state = work_tree_state(runner, places, files, _PLAN)
        dirty = state.dirty
        if dirty:
            counts = f"{state.changed} changed and {state.untracked} untracked"
            notices.append(f"Uncommitted work ({counts}) is not part of the run; it starts from commit {head[:10]}.")
        if state.sparse:
            notices.append(
                f"Sparse checkout: {state.sparse} files that are not checked out here are in the run all the same."
            )
    notices += _peculiarities(runner, places, files)
    return RepositoryFacts(places.root, places.common_dir, head, branch, dirty, tuple(notices))


def _refuse_branch_in_the_way(runner: GitRunner, places: Places) -> None:
    """Results land in `codexteam/<run>`: said now, and not when all is spent.

    Raises:
        RepoError: a branch has the folder's name.
    """
    if runner.run(GitCall(("show-ref", "--verify", "--quiet", "refs/heads/codexteam"), places.git_dir)).ok:
        raise RepoError(
            f"{clean_line(str(places.root))}: there is a branch named codexteam; results land in codexteam/<run>, "
            "which git cannot make beside it",
            hint="Rename it: git branch -m codexteam another-name",
        )


def is_partial(runner: GitRunner, places: Places) -> bool:
    """Return whether objects of this clone may be missing, to be fetched when they are needed."""
    keys = r"^(extensions\.partialclone|remote\..*\.promisor)$"
    return runner.run(GitCall(("config", "--null", "--name-only", "--get-regexp", keys), places.git_dir)).ok


def _head(runner: GitRunner, places: Places) -> CommitId:
    where = clean_line(str(places.root))
    result = runner.run(
        GitCall(("rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}"), places.git_dir)
    )
    head = result.out.decode().strip()
    if result.ok and len(head) == places.id_length:
        return CommitId(head)
    if result.err:
        raise RepoError(f"{where}: HEAD cannot be read: {result.err}", hint="`git fsck` says what is broken.")
    at = runner.run(GitCall(("symbolic-ref", "--quiet", "HEAD"), places.git_dir))
    name = clean_line(at.out.decode("utf-8", "replace").strip().removeprefix("refs/heads/"))
    hint = "Push a first commit to it." if places.bare else "Make a first commit: git add -A && git commit."
    raise RepoError(f"{where}: no commits yet on {name or 'HEAD'}", hint=hint)


def _branch(runner: GitRunner, places: Places) -> str | None:
    result = runner.run(GitCall(("symbolic-ref", "--quiet", "HEAD"), places.git_dir))
    return os.fsdecode(result.out).strip().removeprefix("refs/heads/") if result.ok else None


def _files(runner: GitRunner, places: Places, head: CommitId) -> dict[bytes, tuple[str, str]]:
    call = GitCall(("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", head), places.git_dir)
    listing = runner.check(call, f"{clean_line(str(places.root))}: the files of HEAD")
    files: dict[bytes, tuple[str, str]] = {}
    for line in listing.split(b"\0")[:-1]:
        facts, _, path = line.partition(b"\t")
        mode, _, object_id = facts.decode().split(" ")
        files[path] = (mode, object_id)
    return files


def _peculiarities(runner: GitRunner, places: Places, files: dict[bytes, tuple[str, str]]) -> list[str]:
    notices: list[str] = []
    if (places.common_dir / "shallow").exists():
        notices.append("The clone is shallow; agents see as much history as it has.")
    if is_partial(runner, places):
        notices.append("The clone is partial; a file that was never fetched stops the run, and agents see no history.")
    submodules = [path for path, (mode, _) in files.items() if mode == "160000"]
    if submodules:
        notices.append(f"{len(submodules)} submodule(s) are taken as they are checked out; agents cannot change them.")
    if uses_lfs(runner, places, files):
        notices.append("Git LFS is in use; its files are taken as far as they are here, and agents cannot change them.")
    if (places.common_dir / "info/grafts").exists():
        notices.append("Grafts are ignored; history is taken as it was committed.")
    if places.git_dir != places.common_dir:
        notices.append("This is a linked worktree; the state is shared with the main one.")
    return notices


def uses_lfs(runner: GitRunner, places: Places, files: dict[bytes, tuple[str, str]]) -> bool:
    """Return whether a tracked `.gitattributes` names the LFS filter."""
    blobs = [object_id for path, (_, object_id) in files.items() if path.split(b"/")[-1] == b".gitattributes"]
    attributes = Path(places.common_dir, "info/attributes")
    texts = [attributes.read_bytes()] if attributes.is_file() else []
    calls = (GitCall(("cat-file", "blob", blob), places.git_dir, output_bytes=1 << 20) for blob in blobs[:1000])
    texts += [runner.check(call, "attributes") for call in calls]
    return any(b"filter=lfs" in text for text in texts)
