"""The repository: the hub that only codexteam writes, and the one ref that lands in the user's repository."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from codexteam.core.ids import CommitId, RunId, TreeId
from codexteam.ports.sandbox import BaseSource, Snapshot


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """What the user's repository is at the start of a run."""

    root: Path
    common_dir: Path
    """The common git directory, the same for all linked worktrees."""
    head: CommitId
    branch: str | None
    """None when HEAD is detached."""
    dirty: bool
    """Uncommitted work is there; it is not part of the run."""
    notices: tuple[str, ...] = ()
    """Notices for the user: uncommitted work left out, shallow, submodules, LFS, ..."""


@dataclass(frozen=True, slots=True)
class TreeChange:
    """One path that differs between two trees; a rename is one removed and one added path."""

    path: bytes
    status: str
    """`A`, `M`, `D` or `T` (type changed)."""
    old_mode: str
    new_mode: str
    old_blob: str
    new_blob: str


@dataclass(frozen=True, slots=True)
class IntakePolicy:
    """What may come in. Globs are matched case-folded against the old and the new path."""

    allowed: tuple[str, ...]
    """The task's paths; empty: everything that is not guarded."""
    guarded: tuple[str, ...]
    """Never, unless `opened` takes it in, whatever `allowed` says."""
    max_pack_bytes: int = 200 << 20
    max_blob_bytes: int = 20 << 20
    max_entries: int = 300_000
    max_new_entries: int = 20_000
    timeout_seconds: float = 60.0
    secret_values: tuple[str, ...] = ()
    """Values that must not come out, such as the model key; never written anywhere."""
    opened: tuple[str, ...] = ()
    """Guarded paths that a person opened."""
    allowed_credentials: tuple[str, ...] = ()
    """Fingerprints of what only looks like a credential: a person, or a setting, said so."""
    folders: tuple[str, ...] = ()
    """Nothing outside of these may change, whatever else holds; empty: there is no such limit."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One reason to refuse what came out of a sandbox."""

    rule: str
    """`pack`, `size`, `path`, `name`, `mode`, `link`, `guarded`, `scope`, `secret`, `invisible`."""
    message: str
    path: str = ""
    """Escaped for people; not for use as a path."""
    line: int | None = None
    fingerprint: str = ""
    """Of what looks like a credential: what `IntakePolicy.allowed_credentials` names it by."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Work that holds to the policy, now objects in the hub. Only its tree is used."""

    tree: TreeId
    changes: tuple[TreeChange, ...]
    warnings: tuple[Violation, ...] = ()
    """What a lenient scope policy let through."""


@dataclass(frozen=True, slots=True)
class IntakeRefused:
    """Work that does not hold to the policy; the snapshot stays where it was."""

    violations: tuple[Violation, ...]


Intake: TypeAlias = Accepted | IntakeRefused


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by, and when."""

    name: str
    email: str
    at_seconds: int
    """Seconds since 1970, UTC; stored before the commit is made, so that its id is the same when it is made again."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge that went through."""

    commit: CommitId
    tree: TreeId


@dataclass(frozen=True, slots=True)
class Conflict:
    """A merge that needs an agent."""

    paths: tuple[str, ...]
    """Escaped for people."""
    messages: str
    """Git's own text, escaped."""


@dataclass(frozen=True, slots=True)
class ChangeWanted:
    """What to review, as it was typed; at most one field is set, and none means what this branch adds to its base."""

    base: str = ""
    """A branch: what HEAD adds to it."""
    commit: str = ""
    uncommitted: bool = False
    range: str = ""
    """`A..B` or `A...B`."""
    pull: int = 0
    """The number of a pull request; 0 is none."""
    remote: str = "origin"
    """Where it is."""
    audit: tuple[str, ...] | None = None
    """No change, but what is there at HEAD below these paths, from the repository's root; without any, all of it."""


@dataclass(frozen=True, slots=True)
class FoundChange:
    """A change in the user's repository."""

    base: CommitId
    head: CommitId | None
    """None: what is not committed."""
    subject: str
    """What a later review of the same change is known by; empty where nothing says that it is the same."""
    title: str
    """What people are shown; foreign text."""
    typed: str
    """What was asked for, in words of the command line alone."""
    messages: tuple[str, ...]
    """The first lines of its commits' messages, newest first; foreign text."""
    empty: bool = False
    """Both sides have the same files."""
    configures: tuple[str, ...] = ()
    """Files of the change that configure codexteam in the checkout as it is; escaped for people."""


class Repo(Protocol):
    """One run's view of the repository. All ids are of the hub, which holds the user's base commit and our commits."""

    async def inspect(self) -> RepositoryFacts:
        """Look at the user's repository; nothing is changed and nothing of it is run.

        Raises:
            RepoError: not a repository, no commits, git too old, mid-merge, ...
        """
        ...

    async def fetch_base(self, run_id: RunId, commit: CommitId) -> None:
        """Bring the base commit into the hub. May be repeated."""
        ...

    async def commit_work_tree(self, base: CommitId, message: str, author: Identity) -> CommitId:
        """Make a commit in the hub of the user's files as they are, on a base commit that is there.

        Raises:
            RepoError: there is no work tree, or it cannot be read.
        """
        ...

    async def base_source(self, run_id: RunId, commit: CommitId) -> BaseSource:
        """Return what a workspace at `commit` is made from; files are made once and kept."""
        ...

    async def intake(self, snapshot: Snapshot, policy: IntakePolicy, *, enforce_scope: bool = True) -> Intake:
        """Check a snapshot in a quarantine, step by step; copy its objects into the hub only when all holds."""
        ...

    async def commit(self, tree: TreeId, parents: Sequence[CommitId], message: str, author: Identity) -> CommitId:
        """Make a commit object; the same arguments give the same id."""
        ...

    async def merge(self, ours: CommitId, theirs: CommitId, message: str, author: Identity) -> Merged | Conflict:
        """Merge `theirs` into `ours` without a work tree: one commit on top of `ours`, `theirs` not a parent."""
        ...

    async def as_snapshot(self, base: CommitId, commit: CommitId, destination: Path) -> Snapshot:
        """Return a commit that stands on `base` as work on it, to be put into a new workspace; written to `destination`."""
        ...

    async def forecast(self, ours: CommitId, theirs: CommitId) -> tuple[str, ...]:
        """Return the paths that would conflict; empty when none would."""
        ...

    async def changes(self, old: CommitId, new: CommitId) -> tuple[TreeChange, ...]:
        """Compare two commits' trees, raw."""
        ...

    async def diff_text(self, old: CommitId, new: CommitId, *, limit_bytes: int) -> tuple[str, bool]:
        """Return every changed file with its size, then a unified diff for readers; and whether something was left out.

        The text is escaped and attributes are ignored; a binary file is named with its size and kind.
        """
        ...

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """Return a file's bytes at a commit; None when it is not there.

        Raises:
            ValueError: it is larger than the limit.
        """
        ...

    async def read_blobs(self, blobs: Sequence[str], *, limit_bytes: int) -> list[bytes | None]:
        """Return the bytes of blobs by their ids, in order; None for one that is larger than the limit, or not there."""
        ...

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Return (path, mode, blob id) of every file at a commit."""
        ...

    async def tree_of(self, commit: CommitId) -> TreeId:
        """Return a commit's tree."""
        ...

    async def overlay(self, commit: CommitId, source: CommitId, paths: Sequence[bytes]) -> TreeId:
        """Return `commit`'s tree with `paths` as they are in `source`; what `source` lacks is removed."""
        ...

    async def update_branch(self, run_id: RunId, new: CommitId, old: CommitId | None) -> bool:
        """Move the integration branch in the hub by compare and swap; True also when it was at `new` already."""
        ...

    async def branch_tip(self, run_id: RunId) -> CommitId | None:
        """Return where the hub's integration branch points."""
        ...

    async def land(self, run_id: RunId, commit: CommitId) -> str:
        """Put the integration branch into the user's repository as one ref; give its name. May be repeated.

        Raises:
            LandingError: somebody else moved that ref.
        """
        ...

    async def keep(self, run_id: RunId, name: str, snapshot: Snapshot) -> None:
        """Remember a snapshot for `salvage`, whatever becomes of its attempt."""
        ...

    async def close(self) -> None:
        """Let go of processes and threads; for the one who made it."""
        ...
