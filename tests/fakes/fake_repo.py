"""A repository in memory: commits and trees in dictionaries, snapshots as the fake sandbox writes them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from pathlib import Path

from codexteam.adapters.git.diff_digest import FileDiff, diff_digest
from codexteam.adapters.git.policy import (
    folder_problems,
    guarded_problems,
    kind_problems,
    link_problems,
    name_problems,
    scope_problems,
)
from codexteam.core.file_kinds import Relevance, binary_kind, is_binary, relevance
from codexteam.core.ids import CommitId, RunId, TreeId, branch_name
from codexteam.core.paths import decode, show
from codexteam.core.text import clean
from codexteam.errors import LandingError, RepoError
from codexteam.ports.repo import (
    Accepted,
    Conflict,
    Identity,
    Intake,
    IntakePolicy,
    IntakeRefused,
    Merged,
    RepositoryFacts,
    TreeChange,
    Violation,
)
from codexteam.ports.sandbox import BaseSource, Snapshot

Files = dict[bytes, tuple[str, str]]
"""Path to mode and blob id."""
_NOTHING = ("000000", "0" * 40)


def _id(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()


@dataclass
class _Commit:
    tree: TreeId
    parents: tuple[CommitId, ...]


@dataclass
class FakeRepo:
    """Starts with one commit of `files` on `main`. `landed` and `kept` show what was done to the outside."""

    folder: Path
    files: Mapping[str, bytes | str]
    """Content; text is a link's target."""
    problem: str = ""
    """What `inspect` refuses the repository with."""
    dirty: bool = False
    uncommitted: dict[str, bytes | str] = field(default_factory=dict)
    """What the user's files are that are not as committed."""
    landed: dict[str, CommitId] = field(default_factory=dict)
    kept: dict[tuple[RunId, str], Snapshot] = field(default_factory=dict)
    closed: bool = False

    def __post_init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._trees: dict[TreeId, Files] = {}
        self._commits: dict[CommitId, _Commit] = {}
        self._bases: dict[RunId, CommitId] = {}
        self._branches: dict[RunId, CommitId] = {}
        self.head = self._make_commit(self._tree(self._packed(self.files)), (), "first")

    # the port

    async def inspect(self) -> RepositoryFacts:
        """Give what the test said it is."""
        if self.problem:
            raise RepoError(self.problem)
        notices = ("Uncommitted work is not part of the run.",) if self.dirty else ()
        return RepositoryFacts(self.folder, self.folder, self.head, "main", self.dirty, notices)

    async def fetch_base(self, run_id: RunId, commit: CommitId) -> None:
        """Remember it."""
        self._commit_at(commit)
        self._bases[run_id] = commit

    async def commit_work_tree(self, base: CommitId, message: str, author: Identity) -> CommitId:
        """Commit the user's files as the test said they are."""
        return await self.commit(
            self._tree({**self._files_at(base), **self._packed(self.uncommitted)}), (base,), message, author
        )

    async def base_source(self, run_id: RunId, commit: CommitId) -> BaseSource:
        """Write the commit's files as the fake sandbox reads them."""
        self._commit_at(commit)
        if run_id not in self._bases:
            raise RepoError(f"run {run_id} has no base commit")
        self.folder.mkdir(parents=True, exist_ok=True)
        archive = self.folder / f"{commit}.fake.json"
        self._write(commit, archive)
        root = self._bases[run_id]
        return BaseSource(root, archive, commit, None if commit == root else archive)

    async def as_snapshot(self, base: CommitId, commit: CommitId, destination: Path) -> Snapshot:
        """Write the commit's files as the fake sandbox leaves them."""
        self._write(commit, destination)
        return Snapshot(commit, base, destination, destination.stat().st_size)

    def _write(self, commit: CommitId, path: Path) -> None:
        files = self._files_at(commit)
        links = sorted(decode(name) for name, (mode, _) in files.items() if mode == "120000")
        packed = {
            decode(name): self._blobs[blob].decode() if mode == "120000" else self._blobs[blob].hex()
            for name, (mode, blob) in sorted(files.items())
        }
        path.write_text(json.dumps({"files": packed, "links": links}))

    async def intake(self, snapshot: Snapshot, policy: IntakePolicy, *, enforce_scope: bool = True) -> Intake:
        """Judge by the real rules, as far as they need no objects."""
        base = self._trees[self._commit_at(snapshot.base).tree]
        try:
            read = json.loads(snapshot.pack.read_text())
            links = set(read["links"])
            given = {name: data if name in links else bytes.fromhex(data) for name, data in read["files"].items()}
        except (ValueError, KeyError, OSError) as error:
            return IntakeRefused((Violation("pack", f"no pack of the fake sandbox: {error}"),))
        files = self._packed(given)
        # the fake sandbox does not say what is executable: what was, is
        files = {
            path: (base.get(path, (mode, ""))[0] if mode == "100644" else mode, blob)
            for path, (mode, blob) in files.items()
        }
        changes = tuple(_changes(base, files))
        scope = tuple(scope_problems(changes, policy))
        found = [
            *kind_problems(changes, policy),
            *folder_problems(changes, policy),
            *self._sizes(changes, policy),
            *name_problems(changes),
        ]
        found = found or list(link_problems(changes, policy, self._blobs.get))
        found = found or [*guarded_problems(changes, policy), *(scope if enforce_scope else ())]
        found = found or list(self._secrets(changes, policy))
        if found:
            return IntakeRefused(tuple(found))
        return Accepted(self._tree(files), changes, () if enforce_scope else scope)

    async def commit(self, tree: TreeId, parents: Sequence[CommitId], message: str, author: Identity) -> CommitId:
        """Make a commit."""
        if tree not in self._trees:
            raise RepoError(f"{tree}: no such tree")
        return self._make_commit(tree, tuple(parents), message, author)

    async def merge(self, ours: CommitId, theirs: CommitId, message: str, author: Identity) -> Merged | Conflict:
        """Merge whole files, against what `theirs` stands on."""
        merged, conflicts = self._three_way(ours, theirs)
        if conflicts:
            return Conflict(tuple(map(show, conflicts)), "\n".join(f"CONFLICT in {show(path)}" for path in conflicts))
        tree = self._tree(merged)
        return Merged(self._make_commit(tree, (ours,), message, author), tree)

    async def forecast(self, ours: CommitId, theirs: CommitId) -> tuple[str, ...]:
        """Give the files that both changed."""
        return tuple(map(show, self._three_way(ours, theirs)[1]))

    async def changes(self, old: CommitId, new: CommitId) -> tuple[TreeChange, ...]:
        """Compare."""
        return tuple(_changes(self._files_at(old), self._files_at(new)))

    async def diff_text(self, old: CommitId, new: CommitId, *, limit_bytes: int) -> tuple[str, bool]:
        """Give a diff by the standard library."""
        files: list[FileDiff] = []
        for change in await self.changes(old, new):
            data = [self._blobs.get(blob, b"") for blob in (change.old_blob, change.new_blob)]
            facts = f"{len(data[1]):,} bytes"
            if any(map(is_binary, data)):
                facts = f"Binary file ({facts}, {binary_kind(data[1])})"
                files.append(FileDiff(change.status, show(change.path), facts, Relevance.CODE))
                continue
            names = (f"a/{show(change.path)}", f"b/{show(change.path)}")
            before, after = (each.decode(errors="replace").splitlines(keepends=True) for each in data)
            patch = clean("".join(unified_diff(before, after, *names)))
            kind = relevance(show(change.path), len(data[1]), data[1])
            files.append(FileDiff(change.status, show(change.path), facts, kind, patch, len(patch.encode())))
        return diff_digest(files, limit_bytes)

    async def read_blob(self, commit: CommitId, path: bytes, *, limit_bytes: int) -> bytes | None:
        """Give a file."""
        found = self._files_at(commit).get(path)
        if found is None:
            return None
        data = self._blobs[found[1]]
        if len(data) > limit_bytes:
            raise ValueError(f"{show(path)} has {len(data)} bytes; at most {limit_bytes} are read")
        return data

    async def read_blobs(self, blobs: Sequence[str], *, limit_bytes: int) -> list[bytes | None]:
        """Give blobs."""
        found = [self._blobs.get(blob) for blob in blobs]
        return [data if data is not None and len(data) <= limit_bytes else None for data in found]

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Give all files."""
        return tuple((path, mode, blob) for path, (mode, blob) in sorted(self._files_at(commit).items()))

    async def tree_of(self, commit: CommitId) -> TreeId:
        """Give the tree."""
        return self._commit_at(commit).tree

    async def overlay(self, commit: CommitId, source: CommitId, paths: Sequence[bytes]) -> TreeId:
        """Lay files over a tree."""

        def within(path: bytes) -> bool:
            return any(path == each or path.startswith(each.rstrip(b"/") + b"/") for each in paths)

        left = {path: entry for path, entry in self._files_at(commit).items() if not within(path)}
        return self._tree(left | {path: entry for path, entry in self._files_at(source).items() if within(path)})

    async def update_branch(self, run_id: RunId, new: CommitId, old: CommitId | None) -> bool:
        """Compare and swap."""
        if self._branches.get(run_id) not in {old, new}:
            return False
        self._branches[run_id] = new
        return True

    async def branch_tip(self, run_id: RunId) -> CommitId | None:
        """Give the branch."""
        return self._branches.get(run_id)

    async def land(self, run_id: RunId, commit: CommitId) -> str:
        """Write down that it landed; refuse when the test moved the branch."""
        name = branch_name(run_id)
        current = self.landed.get(name)
        if current is not None and current not in self._line(commit):
            raise LandingError(f"{name} was moved by something else: it is at {current[:10]}")
        self.landed[name] = commit
        return name

    async def keep(self, run_id: RunId, name: str, snapshot: Snapshot) -> None:
        """Remember it, with a copy of its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        copy = self.folder / f"{_id(run_id, name)}.kept"
        copy.write_bytes(snapshot.pack.read_bytes())
        self.kept[run_id, name] = replace(snapshot, pack=copy)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    # for tests

    def tree_with(self, commit: CommitId, files: Mapping[str, bytes | str]) -> TreeId:
        """Make the tree of a commit with some files added or changed."""
        return self._tree({**self._files_at(commit), **self._packed(files)})

    def content(self, commit: CommitId) -> dict[str, bytes]:
        """Give every file's bytes at a commit."""
        return {decode(path): self._blobs[blob] for path, (_, blob) in self._files_at(commit).items()}

    # inside

    def _packed(self, files: Mapping[str, bytes | str]) -> Files:
        packed: Files = {}
        for name, data in files.items():
            content = data.encode() if isinstance(data, str) else data
            blob = _id("blob", content)
            self._blobs[blob] = content
            packed[name.encode("utf-8", "surrogateescape")] = ("120000" if isinstance(data, str) else "100644", blob)
        return packed

    def _tree(self, files: Files) -> TreeId:
        tree = TreeId(_id("tree", sorted(files.items())))
        self._trees[tree] = files
        return tree

    def _make_commit(
        self, tree: TreeId, parents: tuple[CommitId, ...], message: str, author: Identity | None = None
    ) -> CommitId:
        commit = CommitId(_id("commit", tree, parents, message, author))
        self._commits[commit] = _Commit(tree, parents)
        return commit

    def _commit_at(self, commit: CommitId) -> _Commit:
        if commit not in self._commits:
            raise RepoError(f"{commit}: no such commit in the hub")
        return self._commits[commit]

    def _files_at(self, commit: CommitId) -> Files:
        return self._trees[self._commit_at(commit).tree]

    def _line(self, commit: CommitId) -> list[CommitId]:
        line = [commit]
        while parents := self._commits[line[-1]].parents:
            line.append(parents[0])
        return line

    def _three_way(self, ours: CommitId, theirs: CommitId) -> tuple[Files, list[bytes]]:
        ancestors = set(self._line(ours))
        base = next((commit for commit in self._line(theirs) if commit in ancestors), None)
        start = self._files_at(base) if base else {}
        left, right = self._files_at(ours), self._files_at(theirs)
        merged: Files = {}
        conflicts: list[bytes] = []
        for path in sorted({*start, *left, *right}):
            before, one, other = start.get(path), left.get(path), right.get(path)
            if one != other and before not in (one, other):
                conflicts.append(path)
            chosen = other if one == before else one
            if chosen is not None:
                merged[path] = chosen
        return merged, conflicts

    def _sizes(self, changes: Sequence[TreeChange], policy: IntakePolicy) -> list[Violation]:
        return [
            Violation("size", f"{show(change.path)} is larger than {policy.max_blob_bytes} bytes", show(change.path))
            for change in changes
            if len(self._blobs.get(change.new_blob, b"")) > policy.max_blob_bytes
        ]

    def _secrets(self, changes: Sequence[TreeChange], policy: IntakePolicy) -> list[Violation]:
        found = []
        for change in changes:
            data = self._blobs.get(change.new_blob, b"")
            for value in policy.secret_values:
                at = data.find(value.encode())
                if at >= 0:
                    line = data.count(b"\n", 0, at) + 1
                    found.append(Violation("secret", f"{show(change.path)}:{line}: a secret", show(change.path), line))
        return found


def _changes(old: Files, new: Files) -> list[TreeChange]:
    changes = []
    for path in sorted({*old, *new}):
        before, after = old.get(path, _NOTHING), new.get(path, _NOTHING)
        if before != after:
            kinds = {before[0][:3], after[0][:3]}
            status = "A" if before == _NOTHING else "D" if after == _NOTHING else "M" if len(kinds) == 1 else "T"
            changes.append(TreeChange(path, status, before[0], after[0], before[1], after[1]))
    return changes
