"""Merges a landed result into what the user has checked out, with git as the user has it: the one command that does.

Hooks, drivers and configuration of the user's apply here, because it is the user who asks for the merge.
"""

import os
from dataclasses import dataclass

from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import find_git
from codexteam.adapters.git.user_git import UserGit
from codexteam.core.ids import CommitId
from codexteam.core.text import clean_line
from codexteam.errors import LandingError

#: Written by codexteam itself: a change to it is not a reason to stop; git refuses by itself where the merge has it too.
_PLAN = b"plan.md"


@dataclass(frozen=True, slots=True)
class AppliedBranch:
    """What `apply` did."""

    branch: str | None
    """None: HEAD is detached."""
    head: CommitId
    fast_forward: bool
    already: bool = False
    """The branch had it before."""


def check_applicable(places: Places, commit: CommitId, search_path: str | None) -> None:
    """See that a commit can be merged into what is checked out; nothing is changed.

    Raises:
        LandingError: the work tree is not clean, or the merge would conflict.
    """
    git = _clean_git(places, search_path)
    merged = git.run("merge-tree", "--write-tree", "--name-only", "--no-messages", "HEAD", commit)
    if merged.code != 0:
        raise LandingError(
            f"the result cannot be merged into what is checked out: {merged.text()}",
            hint=f"Nothing was changed. Merge it by hand: git merge {commit[:12]}",
        )


def _clean_git(places: Places, search_path: str | None) -> UserGit:
    """Return the user's git for a work tree without changes.

    Raises:
        LandingError: there is none, or it has some.
    """
    if places.bare:
        raise LandingError("a bare repository has no branch that is checked out", hint="Merge the branch in a clone.")
    git = UserGit(find_git(search_path), places.root)
    listed = git.must("status", "--porcelain", "--untracked-files=no", "--no-renames", "-z").split(b"\0")[:-1]
    changed = [line for line in listed if line[3:] != _PLAN]
    if changed:
        shown = ", ".join(clean_line(os.fsdecode(line[3:])) for line in changed[:5])
        raise LandingError(
            f"{'a file has' if len(changed) == 1 else f'{len(changed)} files have'} uncommitted changes ({shown})",
            hint="Commit or stash them, then apply again.",
        )
    return git


def apply_result(places: Places, commit: CommitId, message: str, search_path: str | None) -> AppliedBranch:
    """Merge a landed commit into what is checked out: a fast-forward where that is possible, else a merge commit.

    Args:
        places: the user's repository.
        commit: what `land` put there.
        message: of the merge commit.
        search_path: the user's PATH.

    Raises:
        LandingError: the work tree is not clean, the merge conflicts (it is taken back), or a hook refuses it.
    """
    git = _clean_git(places, search_path)
    branch = git.run("symbolic-ref", "--quiet", "--short", "HEAD").out.decode("utf-8", "replace").strip() or None
    if git.run("merge-base", "--is-ancestor", commit, "HEAD").code == 0:
        return AppliedBranch(branch, git.head(), fast_forward=False, already=True)
    fast_forward = git.run("merge-base", "--is-ancestor", "HEAD", commit).code == 0
    how = ("--ff-only",) if fast_forward else ("--no-ff", "--no-edit", "-m", message)
    merged = git.run("merge", *how, commit)
    if merged.code != 0:
        git.run("merge", "--abort")
        raise LandingError(
            f"the result cannot be merged into {branch or 'HEAD'}: {merged.text()}",
            hint=f"Nothing was changed. Merge it by hand: git merge {commit[:12]}",
        )
    return AppliedBranch(branch, git.head(), fast_forward=fast_forward)
