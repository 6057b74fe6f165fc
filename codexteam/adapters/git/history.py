"""The last commits of a history, and where it is cut."""

from collections.abc import Collection
from dataclasses import dataclass

from codexteam.adapters.git.hub import commit_links
from codexteam.adapters.git.objects import ObjectReader
from codexteam.adapters.git.runner import Deadline
from codexteam.core.ids import CommitId
from codexteam.errors import RepoError

_COMMIT_BYTES = 16 << 20
#: A history of many merges is wide: no more commits than this, however deep it should go.
_MAX_COMMITS = 5_000


@dataclass(frozen=True, slots=True)
class History:
    """A tip with its last ancestors."""

    commits: frozenset[CommitId]
    cut: frozenset[CommitId]
    """Those whose parents are not taken: what git calls shallow."""


def last_commits(
    reader: ObjectReader, tip: CommitId, depth: int, already_cut: Collection[str], deadline: Deadline
) -> History:
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
    return History(frozenset(taken), frozenset(cut))


def pack_request(tips: Collection[str], known: Collection[str], cut: Collection[str]) -> bytes:
    """Give what `pack-objects --revs` reads: cuts first, then what is wanted, then what is there already."""
    lines = [f"--shallow {commit}" for commit in sorted(cut)]
    lines += sorted(tips)
    if known:
        lines += ["--not", *sorted(known)]
    return "".join(f"{line}\n" for line in lines).encode()
