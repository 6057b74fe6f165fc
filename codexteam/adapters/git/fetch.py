"""Brings a commit from the user's repository into the hub.

Objects go from `pack-objects` in the user's repository into `index-pack` in the hub: what a fetch does, without its
transport, so that no upload-pack, remote or ref advertisement of the user's is involved, and the shape of the pack is
said here. Nothing is written to the user's repository.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from codexteam.adapters.git.facts import is_partial
from codexteam.adapters.git.hub import Hub, base_ref, commit_links
from codexteam.adapters.git.location import Places
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.runner import GitCall, GitDeadline, pipe
from codexteam.core.ids import CommitId, RunId
from codexteam.errors import RepoError

_COMMIT_BYTES = 16 << 20
#: A history of many merges is wide: no more commits than this, however deep it should go.
_MAX_COMMITS = 5_000
_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class CommitHistory:
    """A tip with its last ancestors."""

    commits: frozenset[CommitId]
    cut: frozenset[CommitId]
    """Those whose parents are not taken: what git calls shallow."""


def last_commits(
    reader: ObjectReader, tip: CommitId, depth: int, already_cut: Collection[str], deadline: GitDeadline
) -> CommitHistory:
    """Walk back from `tip`.

    Args:
        reader: reads the repository's objects.
        tip: where to begin.
        depth: 1 is the tip alone, as in `git fetch --depth`.
        already_cut: commits whose parents the repository itself does not have.
        deadline: when to give up.

    Raises:
        RepoError: a commit is missing.
    """
    taken: set[CommitId] = set()
    cut: set[CommitId] = set()
    level = [tip]
    for step in range(max(depth, 1)):
        following: dict[CommitId, None] = {}
        last = step == max(depth, 1) - 1 or len(taken) + len(level) > _MAX_COMMITS
        for commit, found in zip(
            level, reader.read_many(level, limit_bytes=_COMMIT_BYTES, deadline=deadline), strict=True
        ):
            if found is None or found.type != "commit" or found.data is None:
                raise RepoError(f"{commit}: no such commit", hint="`git fsck` says what is broken.")
            taken.add(commit)
            parents = commit_links(found.data)[1]
            if commit in already_cut or (last and parents):
                cut.add(commit)
            else:
                following.update(dict.fromkeys(parents))
        level = [commit for commit in following if commit not in taken]
        if last or not level:
            break
    return CommitHistory(frozenset(taken), frozenset(cut))


def pack_request(tips: Collection[str], known: Collection[str], cut: Collection[str]) -> bytes:
    """Return what `pack-objects --revs` reads: cuts first, then what is wanted, then what is there already."""
    lines = [f"--shallow {commit}" for commit in sorted(cut)]
    lines += sorted(tips)
    if known:
        lines += ["--not", *sorted(known)]
    return "".join(f"{line}\n" for line in lines).encode()


def fetch_base(hub: Hub, places: Places, run_id: RunId, commit: CommitId, depth: int) -> None:
    """Bring a commit, with `depth` commits of history, into the hub and keep it there under the run's name.

    Raises:
        RepoError: it is not in the user's repository, or objects of it are missing.
    """
    fetch_commit(hub, places, base_ref(run_id), commit, depth)


def fetch_commit(hub: Hub, places: Places, ref: str, commit: CommitId, depth: int) -> None:
    """Bring a commit, with `depth` commits of history, into the hub and keep it there under a ref.

    Raises:
        RepoError: it is not in the user's repository, or objects of it are missing.
    """
    if hub.ref(ref) == commit:
        return
    deadline = GitDeadline.after(_SECONDS)
    partial = is_partial(hub.runner, places)
    theirs = _shallow(places.common_dir / "shallow")
    with ObjectReader(hub.runner, places.git_dir) as reader:
        history = last_commits(reader, commit, 1 if partial else depth, theirs, deadline)
        ours = sorted(set(hub.refs("refs/codexteam/base/").values()))
        known = [each for each, found in zip(ours, reader.describe(ours, deadline=deadline), strict=True) if found]
    cut = set(history.cut) | _shallow_lines(hub.shallow())
    try:
        pipe(
            hub.runner,
            GitCall(
                ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"),
                places.git_dir,
                stdin=pack_request([commit], known, cut),
                deadline=deadline,
            ),
            GitCall(("index-pack", "--stdin"), hub.path),
            f"{places.root}: commit {commit[:10]} cannot be taken into the hub",
        )
    except RepoError as error:
        if not partial:
            raise
        raise RepoError(
            f"{places.root}: the clone is partial, and files of commit {commit[:10]} were never fetched",
            hint="Fetch them first: git fetch --refetch --filter=blob:limit=1g, or check them all out.",
        ) from error
    _add_shallow(hub, {str(each) for each in history.cut})
    hub.set_ref(ref, commit)


def _shallow(path: Path) -> set[str]:
    return _shallow_lines(path.read_bytes()) if path.is_file() else set()


def _shallow_lines(data: bytes) -> set[str]:
    return set(data.decode("ascii", "replace").split())


def _add_shallow(hub: Hub, cut: set[str]) -> None:
    together = _shallow_lines(hub.shallow()) | cut
    if not together:
        return
    fresh = hub.path / "shallow.new"
    with fresh.open("w") as file:
        file.write("".join(f"{commit}\n" for commit in sorted(together)))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(hub.path / "shallow")
