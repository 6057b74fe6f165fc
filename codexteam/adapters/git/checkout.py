"""What of the user's checkout changed while a run was at work: HEAD, index, files. codexteam itself changes plan.md alone.

Looked at like the work tree's state, without running anything of the user's; a file counts as changed when its size, mode
or time of change is another.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.location import Places, git_runner
from codexteam.adapters.git.runner import GitCall, GitRunner
from codexteam.core.text import clean_line, count_of
from codexteam.errors import RepoError

#: So many files are named.
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout as it was at one moment."""

    head: str
    """What HEAD names, and its commit."""
    index: str
    """A digest of what is staged; not of git's notes on files, which `git status` renews."""
    files: Mapping[bytes, tuple[int, int, int]]
    """Tracked and untracked files, not ignored ones, with mode, size and time of change."""


def look_at_checkout(places: Places, environment: Mapping[str, str], ours: Collection[Path] = ()) -> Checkout | None:
    """Look at a checkout; None where there is none, or where it cannot be read.

    Args:
        places: the repository.
        environment: where git is.
        ours: files and folders that codexteam writes.
    """
    if places.bare:
        return None
    try:
        runner = git_runner(environment, places.root)
        return _look(runner, places, [os.fsencode(path) for path in (places.root / "plan.md", *ours)])
    except (RepoError, OSError):
        return None  # whatever is wrong with it is reported by whoever needs it


def _look(runner: GitRunner, places: Places, ours: Collection[bytes]) -> Checkout:
    name = runner.run(GitCall(("symbolic-ref", "-q", "HEAD"), places.git_dir))
    commit = runner.run(GitCall(("rev-parse", "-q", "--verify", "HEAD"), places.git_dir))
    head = b" at ".join(part for part in (name.out.strip(), commit.out.strip()[:12]) if part)
    staged = _list(runner, places, "--stage")
    tracked = {entry.partition(b"\t")[2] for entry in staged}
    others = _list(runner, places, "--others", "--exclude-standard")
    root = os.fsencode(places.root)
    files = {}
    for path in {*tracked, *others}:
        full = b"%s/%s" % (root, path)
        if any(full == own or full.startswith(own + b"/") for own in ours):
            continue
        try:
            found = os.lstat(full)
        except OSError:
            continue
        files[path] = (found.st_mode, found.st_size, found.st_mtime_ns)
    return Checkout(head.decode(errors="replace"), hashlib.sha256(b"\0".join(staged)).hexdigest(), files)


def _list(runner: GitRunner, places: Places, *options: str) -> list[bytes]:
    call = GitCall(
        ("ls-files", "-z", *options), places.git_dir, work_tree=places.root, excludes_file=places.excludes_file
    )
    return runner.check(call, "the checkout").split(b"\0")[:-1]


def changes_of_checkout(before: Checkout, after: Checkout) -> str:
    """Say what changed between two moments; empty when nothing did."""
    return "; ".join(_changes(before, after))


def _changes(before: Checkout, after: Checkout) -> Iterator[str]:
    if before.head != after.head:
        yield f"HEAD was {clean_line(before.head) or 'nothing'} and is {clean_line(after.head) or 'nothing'}"
    if before.index != after.index:
        yield "other content is staged"
    changed = sorted(path for path in {*before.files, *after.files} if before.files.get(path) != after.files.get(path))
    if changed:
        named = ", ".join(clean_line(path.decode(errors="replace")) for path in changed[:_MOST_NAMED])
        more = ", ..." if len(changed) > _MOST_NAMED else ""
        yield f"{count_of(len(changed), 'file')} changed: {named}{more}"
