"""Puts the result into the user's repository: objects and one ref, nothing else."""

import os
import threading
from collections.abc import Mapping, Sequence

from codexteam.adapters.git.facts import is_partial
from codexteam.adapters.git.fetch import pack_request
from codexteam.adapters.git.hub import Hub, base_ref, branch_ref, commit_links, landed_ref
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner, GitTimeout, pipe
from codexteam.core.ids import CommitId, RunId
from codexteam.core.text import clean_line
from codexteam.errors import LandingError, RepoError

_SECONDS = 300.0
_COMMIT_BYTES = 16 << 20
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
    current = prepare_landing(hub, places, run_id, commit, hub.ref(base_ref(run_id)))
    if current != commit:
        point(hub, places, ref, commit, current)
    hub.set_ref(landed_ref(run_id), commit)
    return ref.removeprefix("refs/heads/")


def prepare_landing(
    hub: Hub, places: Places, run_id: RunId, commit: CommitId, base: CommitId | None
) -> CommitId | None:
    """Do all that landing a commit takes but the moving of the ref; give where the ref is.

    Raises:
        LandingError: the ref may not be moved, or the commit cannot be written.
    """
    ref = branch_ref(run_id)
    name = ref.removeprefix("refs/heads/")
    _refuse_checked_out(hub, places, ref, name)
    current = _current(hub, places, ref)
    if current != commit:
        if current is not None and not _ours(hub, run_id, current, commit):
            raise LandingError(
                f"{name} in {clean_line(str(places.root))} was moved by something else: it is at {current[:10]}",
                hint=f"Rename that branch (git branch -m {name} OTHER), then continue with `codexteam resume`.",
            )
        _send(hub, places, base, commit)
    return current


def landed_at(hub: Hub, places: Places, run_id: RunId) -> CommitId | None:
    """Return where a run's branch is in the user's repository, None when it is not there."""
    return _current(hub, places, branch_ref(run_id))


def remove_branch(hub: Hub, places: Places, run_id: RunId, at: CommitId) -> None:
    """Remove a run's branch from the user's repository, if it is where the caller looked last.

    Raises:
        LandingError: it is checked out, was moved, or cannot be removed.
    """
    ref = branch_ref(run_id)
    name = ref.removeprefix("refs/heads/")
    _refuse_checked_out(hub, places, ref, name)
    result = hub.runner.run(GitCall(("update-ref", "--no-deref", "-d", ref, at), places.git_dir))
    if not result.ok:
        raise LandingError(f"{name} cannot be removed from {clean_line(str(places.root))}: {result.err}")


def _current(hub: Hub, places: Places, ref: str) -> CommitId | None:
    result = hub.runner.run(GitCall(("rev-parse", "--verify", "--quiet", "--end-of-options", ref), places.git_dir))
    return CommitId(result.out.decode().strip()) if result.ok else None


def _ours(hub: Hub, run_id: RunId, current: CommitId, commit: CommitId) -> bool:
    if hub.ref(landed_ref(run_id)) == current:
        return True
    return hub.has(current) and hub.run("merge-base", "--is-ancestor", current, commit).ok


def _refuse_checked_out(hub: Hub, places: Places, ref: str, name: str) -> None:
    listing = hub.runner.check(GitCall(("worktree", "list", "--porcelain", "-z"), places.git_dir), "the work trees")
    for block in listing.split(b"\0\0"):
        fields = dict(line.partition(b" ")[::2] for line in block.split(b"\0"))
        if fields.get(b"branch") == ref.encode():
            where = clean_line(os.fsdecode(fields.get(b"worktree", b"")))
            raise LandingError(
                f"{name} is checked out in {where}, and a checked-out branch is never moved",
                hint="Switch that work tree to another branch, then continue with `codexteam resume`.",
            )


def _send(hub: Hub, places: Places, base: CommitId | None, commit: CommitId) -> None:
    """Put a commit into the user's repository with all of its history that is not there whole.

    What a run began from may be gone meanwhile: rewritten, its last ref removed, pruned. The hub has it, and sends it.

    Raises:
        LandingError: it cannot be written, or its history is neither here nor there; in that case nothing was written.
    """
    deadline = GitDeadline.after(_SECONDS)
    if base is not None and has_whole(hub.runner, places, [base], deadline):
        request = pack_request([commit], [base], ())
    else:
        cut = _cut_below(hub, commit, deadline)
        _demand_history(hub, places, commit, cut, deadline)
        request = pack_request([commit], [], cut)
    try:
        pipe(
            hub.runner,
            GitCall(
                ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"),
                hub.path,
                stdin=request,
                deadline=deadline,
            ),
            GitCall(("index-pack", "--stdin"), places.git_dir),
            f"{clean_line(str(places.root))}: the result cannot be written",
        )
    except RepoError as error:
        raise LandingError(str(error), hint="Is the repository writable, and is there space on its disk?") from error
    if not has_whole(hub.runner, places, [commit], deadline):
        raise LandingError(
            f"{clean_line(str(places.root))}: commit {commit[:10]} was written, but git finds objects of its history "
            "missing; no branch was made",
            hint="`git fsck` says what is missing; once it is repaired, `codexteam resume` continues.",
        )


def _cut_below(hub: Hub, commit: CommitId, deadline: GitDeadline) -> dict[CommitId, tuple[CommitId, ...]]:
    """Return the commits at which the hub's history of a commit ends, each with the parents that the hub has not."""
    shallow = hub.shallow().decode("ascii", "replace").split()
    if not shallow:
        return {}
    listed = hub.runner.check(GitCall(("rev-list", commit), hub.path, deadline=deadline), "the result's history")
    reached = set(listed.decode("ascii", "replace").split())
    ends = [CommitId(each) for each in shallow if each in reached]
    found = hub.reader.read_many(ends, limit_bytes=_COMMIT_BYTES, deadline=deadline)
    return {
        end: commit_links(each.data)[1]
        for end, each in zip(ends, found, strict=True)
        if each is not None and each.data is not None
    }


def _demand_history(
    hub: Hub,
    places: Places,
    commit: CommitId,
    cut: Mapping[CommitId, tuple[CommitId, ...]],
    deadline: GitDeadline,
) -> None:
    """See that the user's repository has what the hub cannot send, before anything is written.

    Raises:
        LandingError: it has not.
    """
    theirs = places.common_dir / "shallow"
    ends_there = set(theirs.read_text("ascii", "replace").split()) if theirs.is_file() else set()
    wanted = sorted({parent for end, parents in cut.items() if end not in ends_there for parent in parents})
    if not wanted or has_whole(hub.runner, places, wanted, deadline):
        return
    known = [each for each in wanted if has_whole(hub.runner, places, [each], deadline)]
    missing = next(each for each in wanted if each not in known)
    raise LandingError(
        f"{clean_line(str(places.root))}: the history below commit {commit[:10]} is gone: {missing[:10]} was there when "
        "the run began and has been removed since; nothing was written",
        hint=f"Bring it back from a clone that has it (git fetch REMOTE {missing}), then continue with `codexteam resume`; "
        "or take the changes as patches: `codexteam salvage`.",
    )


def has_whole(runner: GitRunner, places: Places, commits: Sequence[CommitId], deadline: GitDeadline) -> bool:
    """Return whether the user's repository has commits with all that they lead to.

    What its refs lead to counts as there, as it does when git fetches; where that gives no answer, everything is looked
    at.
    """
    look = ["rev-list", "--objects", "--quiet", "--stdin"]
    if is_partial(runner, places):
        look.append("--exclude-promisor-objects")
    words = "".join(f"{commit}\n" for commit in commits).encode()
    calls = (
        GitCall((*look, *known), places.git_dir, stdin=words, deadline=deadline) for known in (("--not", "--all"), ())
    )
    return any(runner.run(call).ok for call in calls)


def point(hub: Hub, places: Places, ref: str, commit: CommitId, old: CommitId | None) -> None:
    """Move a ref of the user's repository from where it was seen.

    Raises:
        LandingError: it was moved meanwhile, or cannot be written.
    """
    expected = old or "0" * len(commit)
    wait = threading.Event()
    error = ""
    for seconds in (*_LOCK_WAITS_SECONDS, None):
        try:
            result = hub.runner.run(GitCall(("update-ref", "--no-deref", ref, commit, expected), places.git_dir))
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
        hint="Another git process may be running there, or a branch named like `codexteam` is in the way.",
    )
