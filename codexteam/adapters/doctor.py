"""Looks at the surroundings of a run, each in a second or so, without changing anything."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: `git merge-tree --write-tree`, which merging needs, came with this version.
GIT_NEEDED = (2, 38)

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one look found."""

    usable: bool
    found: str
    """What is there, or what is wrong."""


def probe_git(environment: Mapping[str, str]) -> Probe:
    """Look for git and its version."""
    done = _run(["git", "--version"], environment)
    if done is None:
        return Probe(usable=False, found="git is not installed")
    text = done.stdout.decode(errors="replace").strip().removeprefix("git version ")
    numbers = re.match(r"(\d+)\.(\d+)", text)
    needed = ".".join(map(str, GIT_NEEDED))
    if done.returncode != 0 or numbers is None:
        return Probe(usable=False, found=f"git answers with {text or done.stderr.decode(errors='replace')!r}")
    if (int(numbers[1]), int(numbers[2])) < GIT_NEEDED:
        return Probe(usable=False, found=f"git {text} is too old; {needed} or newer is needed")
    return Probe(usable=True, found=text)


def repository_common_dir(folder: Path, environment: Mapping[str, str]) -> Path | str:
    """Give the common git directory of the repository around `folder`, or git's own words why there is none."""
    done = _run(["git", "-C", str(folder), "rev-parse", "--path-format=absolute", "--git-common-dir"], environment)
    if done is None:
        return "git is not installed"
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        return said.splitlines()[0] if said else "git does not say why"
    return Path(os.fsdecode(done.stdout.removesuffix(b"\n")))


def has_commits(folder: Path, environment: Mapping[str, str]) -> bool:
    """Tell whether HEAD names a commit."""
    done = _run(["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD^{commit}"], environment)
    return done is not None and done.returncode == 0


def free_bytes(folder: Path) -> int:
    """Give what is free for this user on the disk that `folder`, or its nearest existing parent, lies on."""
    return shutil.disk_usage(_existing(folder)).free


def write_problem(folder: Path) -> str:
    """Tell why no file can be made in `folder` (its nearest existing parent), or give an empty text."""
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"codexteam")
            file.flush()
    except OSError as error:
        return f"{existing}: {error.strerror or error}"
    return ""


def _existing(folder: Path) -> Path:
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))


def _run(argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes] | None:
    """Run a program in plain English; None when it cannot be started or does not end."""
    plain = {**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_SECONDS, env=plain
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
