"""Where the user's repository is, found once at the start."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.runner import GitCall, GitRunner, GitTimeout, find_git
from codexteam.core.text import clean_line
from codexteam.errors import RepoError

#: `merge-tree --write-tree` came with this version.
MIN_GIT = (2, 38)


@dataclass(frozen=True, slots=True)
class Places:
    """The user's repository on disk."""

    start: Path
    """Where it was looked for."""
    root: Path
    """The top of the work tree; the repository itself when it is bare."""
    git_dir: Path
    """This work tree's own git directory."""
    common_dir: Path
    """The same for all linked worktrees."""
    bare: bool
    object_format: str
    """`sha1` or `sha256`."""
    excludes_file: str | None
    """The user's own list of ignored files, where there is one."""

    @property
    def id_length(self) -> int:
        """Hexadecimal digits of an object id."""
        return 64 if self.object_format == "sha256" else 40


def git_runner(environment: Mapping[str, str], work_dir: Path) -> GitRunner:
    """Return what calls the user's git.

    Raises:
        RepoError: there is none, or it is too old.
    """
    runner = GitRunner(find_git(environment.get("PATH")), work_dir)
    text = runner.check(GitCall(("version",), None), "git's version").decode("utf-8", "replace").strip()
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < MIN_GIT:
        wanted = ".".join(map(str, MIN_GIT))
        raise RepoError(
            f"git is too old: found {clean_line(text)!r}, needed is {wanted} or newer", hint=f"Install git {wanted}+."
        )
    return runner


def locate(start: Path, environment: Mapping[str, str]) -> Places:
    """Find the repository around a folder.

    The user's own configuration is read for two things: `safe.directory`, so that what the user's git refuses is
    refused here, and `core.excludesFile`. Variables such as GIT_DIR that the process inherited do not count.

    Raises:
        RepoError: there is none, it belongs to somebody else, git is missing or too old.
    """
    if not start.is_dir():
        raise RepoError(f"{clean_line(str(start))}: not a folder", hint="Give a repository with -C DIR.")
    runner = git_runner(environment, start)
    personal = _personal(environment)
    wanted = ("--is-bare-repository", "--absolute-git-dir", "--git-common-dir", "--show-object-format")
    asked = _ask(runner, start, ("rev-parse", "--path-format=absolute", *wanted), personal)
    lines = [os.fsdecode(line) for line in asked.removesuffix(b"\n").split(b"\n")]
    if len(lines) != len(wanted):
        raise RepoError(f"{clean_line(str(start))}: the repository's path has a newline in it", hint="Move it.")
    bare, git_dir, common, object_format = lines
    top = None
    if bare != "true":
        top = _ask(runner, start, ("rev-parse", "--path-format=absolute", "--show-toplevel"), personal)
    excludes = _excludes(runner, start, personal, environment)
    root = Path(os.fsdecode(top.removesuffix(b"\n"))) if top else Path(git_dir)
    return Places(start, root, Path(git_dir), Path(common), bare == "true", object_format, excludes)


def _personal(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return what makes git read the user's own configuration, and nothing else of the environment."""
    names = ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "SUDO_UID")
    return {"HOME": environment.get("HOME"), **{name: environment.get(name) for name in names}}


def _ask(runner: GitRunner, start: Path, args: tuple[str, ...], personal: Mapping[str, str | None]) -> bytes:
    try:
        result = runner.run(GitCall(args, None, cwd=start, environment=personal, discover=True))
    except GitTimeout:
        raise RepoError(f"{start}: git took too long to look at the repository") from None
    if result.ok:
        return result.out
    where = clean_line(str(start))
    if "not a git repository" in result.err:
        raise RepoError(f"{where}: not a git repository", hint="Go to one, give one with -C DIR, or run `git init`.")
    if "dubious ownership" in result.err or "unsafe repository" in result.err:
        raise RepoError(
            f"{where}: the repository belongs to another user, and git refuses it",
            hint=f"If you trust it: git config --global --add safe.directory {where}",
        )
    if "must be run in a work tree" in result.err:
        raise RepoError(f"{where}: inside a git directory, not in a work tree", hint="Go to the top of the work tree.")
    raise RepoError(f"{where}: the repository cannot be read: {result.err}")


def _excludes(
    runner: GitRunner, start: Path, personal: Mapping[str, str | None], environment: Mapping[str, str]
) -> str | None:
    args = ("config", "--null", "--type=path", "--get", "core.excludesFile")
    result = runner.run(GitCall(args, None, cwd=start, environment=personal, discover=True))
    if result.ok:
        return os.fsdecode(result.out.split(b"\0")[0])
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", ""), ".config")  # noqa: PTH118
    usual = Path(home) / "git" / "ignore"
    return str(usual) if usual.is_absolute() and usual.is_file() else None
