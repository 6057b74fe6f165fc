"""Git as the user has it, for the few commands that are the user's own: a merge into what is checked out, and a push.

Hooks, drivers, credentials and configuration of the user's apply.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.core.ids import CommitId
from codexteam.core.text import clean
from codexteam.errors import LandingError, RepoError

_SECONDS = 1800.0
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
class UserGitResult:
    """How a call ended."""

    code: int
    out: bytes
    err: bytes

    def text(self) -> str:
        """Return what git said, for people."""
        return clean((self.err + b"\n" + self.out).decode("utf-8", "replace")).strip()[:2000]


class UserGit:
    """Git as the user has it: the process's own environment, less what points it elsewhere."""

    def __init__(self, git: str, root: Path, *, more: Mapping[str, str] | None = None) -> None:
        """Take the binary, the folder that it works in, and variables that its processes get besides."""
        self._git = git
        self._root = root
        self._environment = {
            **(more or {}),
            "GIT_EDITOR": "true",
            "GIT_MERGE_AUTOEDIT": "no",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def run(self, *args: str) -> UserGitResult:
        """Run git to the end, whatever its exit code; it asks nothing.

        Raises:
            LandingError: it took too long.
        """
        from git.cmd import Git

        unset = [word for name in _FOREIGN for word in ("-u", name)]
        argv = ["/usr/bin/env", *unset, self._git, "--no-pager", *args]
        wrapped = Git(str(self._root)).execute(argv, as_process=True, env=self._environment)
        process = wrapped.proc
        if process is None:
            raise RepoError("git could not be started")
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LandingError(f"git {args[0]} took too long") from None
        return UserGitResult(process.returncode, out, err)

    def must(self, *args: str) -> bytes:
        """Run git and return its output.

        Raises:
            LandingError: it failed.
        """
        done = self.run(*args)
        if done.code != 0:
            raise LandingError(f"git {args[0]} failed: {done.text()}")
        return done.out

    def head(self) -> CommitId:
        return CommitId(self.must("rev-parse", "HEAD").decode().strip())
