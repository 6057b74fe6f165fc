"""Takes the result into the user's current branch: the one operation in which the user's own git is at work.

Identity, signing, hooks and filters are the user's, as if the user had typed `git merge`; that is what was asked for.
It is never done but at `codexteam apply`.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.places import Places
from codexteam.adapters.git.runner import find_git
from codexteam.core.ids import CommitId
from codexteam.core.text import clean, clean_line
from codexteam.errors import LandingError, RepoError

_SECONDS = 1800.0
#: Written by codexteam itself: a change of it is no reason to stop; git refuses by itself where the merge has it too.
_PLAN = b"plan.md"
#: What a process may inherit and git would obey in place of the repository that is meant.
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_EXTERNAL_DIFF",
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did."""

    branch: str | None
    """None: HEAD is detached."""
    head: CommitId
    fast_forward: bool
    already: bool = False
    """The branch had it before."""


def apply_result(places: Places, commit: CommitId, message: str, search_path: str | None) -> Applied:
    """Merge a landed commit into what is checked out: a fast-forward where that is possible, else a merge commit.

    Args:
        places: the user's repository.
        commit: what `land` put there.
        message: of the merge commit.
        search_path: the user's PATH.

    Raises:
        LandingError: the work tree is not clean, the merge conflicts (it is taken back), or a hook refuses it.
    """
    if places.bare:
        raise LandingError("a bare repository has no branch that is checked out", hint="Merge the branch in a clone.")
    git = _UserGit(find_git(search_path), places.root)
    listed = git.must("status", "--porcelain", "--untracked-files=no", "--no-renames", "-z").split(b"\0")[:-1]
    changed = [line for line in listed if line[3:] != _PLAN]
    if changed:
        shown = ", ".join(clean_line(os.fsdecode(line[3:])) for line in changed[:5])
        raise LandingError(
            f"{'a file has' if len(changed) == 1 else f'{len(changed)} files have'} uncommitted changes ({shown})",
            hint="Commit or stash them, then apply again.",
        )
    branch = git.run("symbolic-ref", "--quiet", "--short", "HEAD").out.decode("utf-8", "replace").strip() or None
    if git.run("merge-base", "--is-ancestor", commit, "HEAD").code == 0:
        return Applied(branch, git.head(), fast_forward=False, already=True)
    fast_forward = git.run("merge-base", "--is-ancestor", "HEAD", commit).code == 0
    how = ("--ff-only",) if fast_forward else ("--no-ff", "--no-edit", "-m", message)
    merged = git.run("merge", *how, commit)
    if merged.code != 0:
        git.run("merge", "--abort")
        raise LandingError(
            f"the result cannot be merged into {branch or 'HEAD'}: {merged.text()}",
            hint=f"Nothing was changed. Merge it by hand: git merge {commit[:12]}",
        )
    return Applied(branch, git.head(), fast_forward=fast_forward)


@dataclass(frozen=True, slots=True)
class _Done:
    code: int
    out: bytes
    err: bytes

    def text(self) -> str:
        """Give what git said, for people."""
        return clean((self.err + b"\n" + self.out).decode("utf-8", "replace")).strip()[:2000]


class _UserGit:
    """Git as the user has it: the process's own environment, less what points it elsewhere."""

    def __init__(self, git: str, root: Path) -> None:
        self._git = git
        self._root = root

    def run(self, *args: str) -> _Done:
        from git.cmd import Git

        unset = [word for name in _FOREIGN for word in ("-u", name)]
        argv = ["/usr/bin/env", *unset, self._git, "--no-pager", *args]
        wrapped = Git(str(self._root)).execute(
            argv, as_process=True, env={"GIT_EDITOR": "true", "GIT_MERGE_AUTOEDIT": "no"}
        )
        process = wrapped.proc
        if process is None:
            raise RepoError("git could not be started")
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LandingError(f"git {args[0]} took too long") from None
        return _Done(process.returncode, out, err)

    def must(self, *args: str) -> bytes:
        done = self.run(*args)
        if done.code != 0:
            raise LandingError(f"git {args[0]} failed: {done.text()}")
        return done.out

    def head(self) -> CommitId:
        return CommitId(self.must("rev-parse", "HEAD").decode().strip())
