"""Looks at the surroundings of a run, each in a second or so, without changing anything."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
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


def paths_at_head(folder: Path, environment: Mapping[str, str]) -> list[str] | None:
    """Return the paths of the commit that HEAD names; None where there is none."""
    done = _run(["git", "-C", str(folder), "ls-tree", "-r", "-z", "--name-only", "--full-tree", "HEAD"], environment)
    if done is None or done.returncode != 0:
        return None
    return [path.decode("utf-8", "replace") for path in done.stdout.split(b"\0")[:-1]]


def file_at_head(folder: Path, path: str, environment: Mapping[str, str]) -> bytes | None:
    """Return a file of that commit; None where there is none."""
    done = _run(["git", "-C", str(folder), "cat-file", "blob", f"HEAD:{path}"], environment)
    return done.stdout if done is not None and done.returncode == 0 else None


def free_bytes(folder: Path) -> int:
    """Return what is free for this user on the disk that `folder`, or its nearest existing parent, lies on."""
    return shutil.disk_usage(_existing(folder)).free


def write_problem(folder: Path) -> str:
    """Return why no file can be created in `folder` (its nearest existing parent), or an empty text."""
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"codexteam")
            file.flush()
    except OSError as error:
        return f"{existing}: {error.strerror or error}"
    return ""


def read_only_problem(folder: Path) -> str:
    """Return why `folder` (its nearest existing parent) is not writable, without trying; empty if it is."""
    existing = _existing(folder)
    if os.access(existing, os.W_OK | os.X_OK):
        return ""
    try:
        fixed = os.statvfs(existing).f_flag & os.ST_RDONLY
    except OSError as error:
        return f"cannot be looked at ({error.strerror or error})"
    shown = "" if existing == folder else f" ({existing} exists)"
    return f"is on a read-only file system{shown}" if fixed else f"is read-only for this user{shown}"


def _existing(folder: Path) -> Path:
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))


def packages_not_installed(packages: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return which of Debian's packages are not installed; all of them where nobody can say."""
    asked = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    done = _run(asked, environment) if packages else None
    if done is None:
        return list(packages)
    there = {line.partition(" ")[0] for line in done.stdout.decode().splitlines() if line.endswith(" installed")}
    return [name for name in packages if name.partition(":")[0] not in there]


def _run(argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes] | None:
    """Run a program in plain English; None when it cannot be started or does not end."""
    plain = {**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_SECONDS, env=plain
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
