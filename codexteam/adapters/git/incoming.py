"""Brings a commit from the user's repository into the hub.

Objects go from `pack-objects` in the user's repository into `index-pack` in the hub: what a fetch does, without its
transport, so that no upload-pack, remote or ref advertisement of the user's is involved, and the shape of the pack is
said here. Nothing is written to the user's repository.
"""

import os
from pathlib import Path

from codexteam.adapters.git.facts import is_partial
from codexteam.adapters.git.history import last_commits, pack_request
from codexteam.adapters.git.hub import Hub, base_ref
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.places import Places
from codexteam.adapters.git.runner import Call, Deadline, pipe
from codexteam.core.ids import CommitId, RunId
from codexteam.errors import RepoError

_SECONDS = 1800.0


def fetch_base(hub: Hub, places: Places, run_id: RunId, commit: CommitId, depth: int) -> None:
    """Bring a commit, with `depth` commits of history, into the hub and keep it there under the run's name.

    Raises:
        RepoError: it is not in the user's repository, or objects of it are missing.
    """
    if hub.ref(base_ref(run_id)) == commit:
        return
    deadline = Deadline.after(_SECONDS)
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
            Call(
                ("pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"),
                places.git_dir,
                stdin=pack_request([commit], known, cut),
                deadline=deadline,
            ),
            Call(("index-pack", "--stdin"), hub.path),
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
    hub.set_ref(base_ref(run_id), commit)


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
