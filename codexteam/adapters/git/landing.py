"""Puts the result into the user's repository: objects and one ref, nothing else."""

import os
import threading

from codexteam.adapters.git.history import pack_request
from codexteam.adapters.git.hub import Hub, base_ref, branch_ref, landed_ref
from codexteam.adapters.git.places import Places
from codexteam.adapters.git.runner import Call, Deadline, GitTimeout, pipe
from codexteam.core.ids import CommitId, RunId
from codexteam.core.text import clean_line
from codexteam.errors import LandingError, RepoError

_SECONDS = 300.0
#: How long to wait for another git of the user's that holds the ref's lock: never removed, only waited for.
_LOCK_WAITS_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def land(hub: Hub, places: Places, run_id: RunId, commit: CommitId) -> str:
    """Put the integration branch into the user's repository as one ref; give its name without `refs/heads/`.

    The ref is moved by compare and swap, and only from where codexteam put it or from an ancestor of the new commit.
    Hooks do not run, and HEAD, index, work tree and configuration are not touched.

    Raises:
        LandingError: somebody else moved the ref, has it checked out, or it cannot be written.
    """
    ref = branch_ref(run_id)
    name = ref.removeprefix("refs/heads/")
    _refuse_checked_out(hub, places, ref, name)
    current = _current(hub, places, ref)
    if current != commit:
        if current is not None and not _ours(hub, run_id, current, commit):
            raise LandingError(
                f"{name} in {clean_line(str(places.root))} was moved by somebody else: it is at {current[:10]}",
                hint=f"Rename that branch (git branch -m {name} OTHER), then go on with `codexteam resume`.",
            )
        _send(hub, places, run_id, commit)
        _point(hub, places, ref, commit, current)
    hub.set_ref(landed_ref(run_id), commit)
    return name


def landed_at(hub: Hub, places: Places, run_id: RunId) -> CommitId | None:
    """Give where a run's branch is in the user's repository, None when it is not there."""
    return _current(hub, places, branch_ref(run_id))


def remove_branch(hub: Hub, places: Places, run_id: RunId, at: CommitId) -> None:
    """Remove a run's branch from the user's repository, if it is where the caller looked last.

    Raises:
        LandingError: it is checked out, was moved, or cannot be removed.
    """
    ref = branch_ref(run_id)
    name = ref.removeprefix("refs/heads/")
    _refuse_checked_out(hub, places, ref, name)
    result = hub.runner.run(Call(("update-ref", "--no-deref", "-d", ref, at), places.git_dir))
    if not result.ok:
        raise LandingError(f"{name} cannot be removed from {clean_line(str(places.root))}: {result.err}")


def _current(hub: Hub, places: Places, ref: str) -> CommitId | None:
    result = hub.runner.run(Call(("rev-parse", "--verify", "--quiet", "--end-of-options", ref), places.git_dir))
    return CommitId(result.out.decode().strip()) if result.ok else None


def _ours(hub: Hub, run_id: RunId, current: CommitId, commit: CommitId) -> bool:
    if hub.ref(landed_ref(run_id)) == current:
        return True
    return hub.has(current) and hub.run("merge-base", "--is-ancestor", current, commit).ok


def _refuse_checked_out(hub: Hub, places: Places, ref: str, name: str) -> None:
    listing = hub.runner.check(Call(("worktree", "list", "--porcelain", "-z"), places.git_dir), "the work trees")
    for block in listing.split(b"\0\0"):
        fields = dict(line.partition(b" ")[::2] for line in block.split(b"\0"))
        if fields.get(b"branch") == ref.encode():
            where = clean_line(os.fsdecode(fields.get(b"worktree", b"")))
            raise LandingError(
                f"{name} is checked out in {where}, and a checked-out branch is never moved",
                hint="Switch that work tree to another branch, then go on with `codexteam resume`.",
            )


def _send(hub: Hub, places: Places, run_id: RunId, commit: CommitId) -> None:
    base = hub.ref(base_ref(run_id))
    request = pack_request([commit], [base] if base else [], ())
    deadline = Deadline.after(_SECONDS)
    try:
        pipe(
            hub.runner,
            Call(
                ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"),
                hub.path,
                stdin=request,
                deadline=deadline,
            ),
            Call(("index-pack", "--stdin"), places.git_dir),
            f"{clean_line(str(places.root))}: the result cannot be written",
        )
    except RepoError as error:
        raise LandingError(str(error), hint="Is the repository writable, and is there space on its disk?") from error


def _point(hub: Hub, places: Places, ref: str, commit: CommitId, old: CommitId | None) -> None:
    expected = old or "0" * len(commit)
    wait = threading.Event()
    error = ""
    for seconds in (*_LOCK_WAITS_SECONDS, None):
        try:
            result = hub.runner.run(Call(("update-ref", "--no-deref", ref, commit, expected), places.git_dir))
        except GitTimeout:
            raise LandingError(f"{ref}: git took too long") from None
        if result.ok or _current(hub, places, ref) == commit:
            return
        error = result.err
        if seconds is None or "Unable to create" not in error:
            break
        wait.wait(seconds)
    raise LandingError(
        f"{ref.removeprefix('refs/heads/')} cannot be written in {clean_line(str(places.root))}: {error}",
        hint="Another git may be at work there, or a branch of a name like `codexteam` is in the way.",
    )
