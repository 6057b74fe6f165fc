"""Takes a sandbox's work in, step by step; each step can refuse it with a reason, and nothing is kept of what is refused."""

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from codexteam.adapters.git.content import ContentPolicy, LineScanner
from codexteam.adapters.git.hub import Hub, commit_links
from codexteam.adapters.git.objects import write_tree
from codexteam.adapters.git.policy import (
    folder_problems,
    guarded_problems,
    kind_problems,
    link_problems,
    name_problems,
    scope_problems,
    sibling_problems,
    stored_mode_problems,
)
from codexteam.adapters.git.quarantine import PackRefusal, Quarantine
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitTimeout
from codexteam.adapters.git.trees import TreeRefusal, TreeSizes, TreeWalk, tree_changes, walk_tree
from codexteam.adapters.git.untracked import LFS_POINTER_BYTES, lfs_pointer
from codexteam.core.ids import TreeId
from codexteam.core.paths import MAX_DEPTH, MAX_PATH_BYTES, show
from codexteam.errors import RepoError
from codexteam.ports.repo import Accepted, Intake, IntakePolicy, IntakeRefused, TreeChange, Violation
from codexteam.ports.sandbox import Snapshot

_MAX_COMMITS = 1_000
#: Reasons of one kind that are listed; who broke a rule a thousand times needs no thousand lines.
_SHOWN = 50
_COMMIT_BYTES = 1 << 20
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class _Refusal(Exception):  # noqa: N818 - ends the intake from any depth with its reasons
    def __init__(self, violations: Iterable[Violation]) -> None:
        super().__init__()
        self.violations = tuple(violations)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a step after the pack's opening needs."""

    quarantine: Quarantine
    policy: IntakePolicy
    deadline: GitDeadline
    base_tree: TreeId
    tree: TreeId


class WorkIntake:
    """Takes work into one hub; several at once."""

    def __init__(self, hub: Hub, folder: Path, scanner: LineScanner | None) -> None:
        """Take the hub, where quarantines are made, and what finds credentials."""
        self._hub = hub
        self._folder = folder
        self._scanner = scanner
        self._sizes = TreeSizes()
        self._counting = threading.Lock()

    def take(self, snapshot: Snapshot, policy: IntakePolicy, *, enforce_scope: bool) -> Intake:
        """Check a snapshot and copy what its tree needs into the hub.

        Raises:
            RepoError: the base is unknown, or the hub cannot be written.
        """
        base_tree = self._hub.tree_of(snapshot.base)
        deadline = GitDeadline.after(policy.timeout_seconds)
        try:
            with Quarantine(self._hub, self._folder, deadline) as quarantine:
                tree = _open(quarantine, snapshot, policy, deadline)
                return self._judge(_Work(quarantine, policy, deadline, base_tree, tree), enforce_scope=enforce_scope)
        except _Refusal as refusal:
            return IntakeRefused(refusal.violations)
        except (PackRefusal, TreeRefusal) as refusal:
            return IntakeRefused((Violation("pack" if isinstance(refusal, PackRefusal) else "size", str(refusal)),))
        except GitTimeout:
            return IntakeRefused(
                (Violation("size", f"checking it took longer than {policy.timeout_seconds:g} seconds"),)
            )

    def _judge(self, work: _Work, *, enforce_scope: bool) -> Accepted:
        walk = self._new_walk(work, self._base_walk(work))
        _stop_at(stored_mode_problems(walk.trees))
        changes = tree_changes(work.quarantine.reader, work.base_tree, work.tree, work.deadline)
        work, changes, walk = self._without_lfs_noise(work, changes, walk)
        if len(changes) > work.policy.max_new_entries:
            raise _Refusal(
                [Violation("size", f"{len(changes)} files differ; at most {work.policy.max_new_entries} may")]
            )
        _stop_at(kind_problems(changes, work.policy))
        _stop_at(_nameless_submodules(work, changes))
        fresh = self._fresh_blobs(work, changes)
        _stop_at(folder_problems(changes, work.policy))
        _stop_at(name_problems(changes))
        _stop_at(sibling_problems(changes, work.tree, walk.trees))
        _stop_at(link_problems(changes, work.policy, lambda blob: _read(work, blob, MAX_PATH_BYTES)))
        scope = tuple(scope_problems(changes, work.policy))
        outside = _some(guarded_problems(changes, work.policy)) + (_some(scope) if enforce_scope else ())
        if outside:
            raise _Refusal(outside)
        known = {change.new_blob for change in changes} - fresh
        base = KnownTexts(self._hub, work.base_tree, work.deadline)
        content = ContentPolicy(
            self._scanner,
            work.policy.secret_values,
            work.deadline,
            allowed=work.policy.allowed_credentials,
            in_base=base.in_one_file,
        )
        limit = max(work.policy.max_blob_bytes, MAX_PATH_BYTES)
        _stop_at(content.problems(changes, lambda blob: _read(work, blob, limit), known))
        work.quarantine.migrate([*walk.trees, *sorted(fresh)])
        self._sizes.remember(walk.sizes.items())
        return Accepted(work.tree, tuple(changes), () if enforce_scope else _some(scope))

    def _base_walk(self, work: _Work) -> TreeWalk:
        """Count the base: it is the user's own, however deep and wide."""
        sizes, base = self._sizes, work.base_tree
        with self._counting:  # of many that hand in at once, one walks through a large tree
            walk = walk_tree(self._hub.reader, base, sizes, work.deadline, max_depth=None, max_trees=None)
            sizes.remember(walk.sizes.items())
        return walk

    def _new_walk(self, work: _Work, base: TreeWalk) -> TreeWalk:
        policy = work.policy
        walk = walk_tree(
            work.quarantine.reader,
            work.tree,
            self._sizes,
            work.deadline,
            max_depth=max(MAX_DEPTH, base.size.depth) + 1,
            max_trees=policy.max_entries,
        )
        before = base.size.entries
        allowed = before + policy.max_new_entries
        if before <= policy.max_entries:  # a base that is larger by itself may still grow as others do
            allowed = min(allowed, policy.max_entries)
        if walk.size.entries > allowed:
            message = f"it expands to {_number(walk.size.entries)} files and folders; at most {allowed} are taken"
            raise _Refusal([Violation("size", message)])
        return walk

    def _fresh_blobs(self, work: _Work, changes: list[TreeChange]) -> set[str]:
        """Return the blobs that the hub does not have; refuse missing and huge ones."""
        paths = {change.new_blob: change.path for change in changes if change.new_mode not in {"000000", "160000"}}
        blobs = list(paths)
        here = self._hub.reader.describe(blobs, deadline=work.deadline)
        fresh = [blob for blob, found in zip(blobs, here, strict=True) if found is None]
        violations: list[Violation] = []
        total = 0
        for blob, found in zip(fresh, work.quarantine.reader.describe(fresh, deadline=work.deadline), strict=True):
            where = show(paths[blob])
            if found is None or found.type != "blob":
                violations.append(Violation("pack", f"the content of {where} is missing", where))
            elif found.size > work.policy.max_blob_bytes:
                message = f"{where} has {found.size} bytes; at most {work.policy.max_blob_bytes} are taken"
                violations.append(Violation("size", message, where))
            else:
                total += found.size
        if total > work.policy.max_pack_bytes:
            violations.append(
                Violation("size", f"new content of {total} bytes; at most {work.policy.max_pack_bytes} are taken")
            )
        _stop_at(iter(violations))
        return set(fresh)

    def _without_lfs_noise(
        self, work: _Work, changes: list[TreeChange], walk: TreeWalk
    ) -> tuple[_Work, list[TreeChange], TreeWalk]:
        """Put pointers back where a workspace shows what they point to.

        A sandbox has no LFS: its work tree has the content, and its snapshot takes the content for a change.
        """
        restored: list[TreeChange] = []
        modified = [change for change in changes if change.status == "M"]
        found = self._hub.reader.describe([change.old_blob for change in modified], deadline=work.deadline)
        for change, old in zip(modified, found, strict=True):
            if old is None or not 100 < old.size < LFS_POINTER_BYTES:
                continue
            pointer = lfs_pointer(_read(work, change.old_blob, LFS_POINTER_BYTES) or b"")
            if pointer is None:
                continue
            new = _read(work, change.new_blob, work.policy.max_pack_bytes)
            if new is None or hashlib.sha256(new).hexdigest() != pointer[0]:
                where = show(change.path)
                message = f"{where} is stored with Git LFS; a task may not change its content"
                raise _Refusal([Violation("guarded", message, where)])
            restored.append(change)
        if not restored:
            return work, changes, walk
        edits = {change.path: (change.old_mode, change.old_blob) for change in restored}
        tree = write_tree(work.quarantine.output, work.quarantine.path, work.tree, edits)
        again = _Work(work.quarantine, work.policy, work.deadline, work.base_tree, tree)
        left = tree_changes(work.quarantine.reader, work.base_tree, tree, work.deadline)
        walked = walk_tree(work.quarantine.reader, tree, self._sizes, work.deadline, max_depth=None, max_trees=None)
        return again, left, walked


def _open(quarantine: Quarantine, snapshot: Snapshot, policy: IntakePolicy, deadline: GitDeadline) -> TreeId:
    """Index the pack, and see that its tip is a commit on top of the base; give the tip's tree."""
    if not _ID.fullmatch(snapshot.tip) or len(snapshot.tip) != len(snapshot.base):
        raise PackRefusal("the tip is not an object id")
    quarantine.index(snapshot.pack, policy.max_pack_bytes)
    found = quarantine.reader.read(snapshot.tip, limit_bytes=_COMMIT_BYTES, deadline=deadline)
    if found is None or found.type != "commit" or found.data is None:
        raise PackRefusal("the tip is not a commit, is missing, or is too large for a commit")
    try:
        tree, parents = commit_links(found.data)
    except RepoError as error:
        raise PackRefusal(str(error)) from error
    if parents != (snapshot.base,):
        _check_history(quarantine, snapshot)
    return tree


def _check_history(quarantine: Quarantine, snapshot: Snapshot) -> None:
    base, tip = f"^{snapshot.base}", snapshot.tip
    if not quarantine.run("merge-base", "--is-ancestor", snapshot.base, tip).ok:
        raise PackRefusal("the tip does not descend from the base commit")
    count = quarantine.output("rev-list", "--count", f"--max-count={_MAX_COMMITS + 1}", tip, base).strip()
    if int(count) > _MAX_COMMITS:
        raise PackRefusal(f"the tip is more than {_MAX_COMMITS} commits away from the base")


def _nameless_submodules(work: _Work, changes: Sequence[TreeChange]) -> Iterator[Violation]:
    """Return new submodules that `.gitmodules` does not name: nobody could get their files."""
    added = [change for change in changes if change.new_mode == "160000" and change.old_mode != "160000"]
    if not added:
        return
    args = ("config", "--blob", f"{work.tree}:.gitmodules", "-z", "--get-regexp", r"^submodule\..*\.path$")
    said = work.quarantine.run(*args)
    named = {entry.partition(b"\n")[2] for entry in said.out.split(b"\0")} if said.ok else set()
    for change in added:
        if change.path not in named:
            where = show(change.path)
            message = f"{where} is a repository of its own that .gitmodules does not name: its files would be nowhere"
            yield Violation("mode", message, where)


def _read(work: _Work, blob: str, limit_bytes: int) -> bytes | None:
    found = work.quarantine.reader.read(blob, limit_bytes=limit_bytes, deadline=work.deadline)
    return found.data if found is not None and found.type == "blob" else None


def _some(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """Return the first of them, and say so when there are more."""
    found = list(islice(violations, _SHOWN + 1))
    if len(found) <= _SHOWN:
        return tuple(found)
    return (*found[:_SHOWN], Violation(found[0].rule, "and more of the same kind"))


def _stop_at(violations: Iterable[Violation]) -> None:
    found = _some(violations)
    if found:
        raise _Refusal(found)


def _number(count: int) -> str:
    """Return a count, short when it is absurd: a tree can expand to a number of more digits than Python prints."""
    return str(count) if count.bit_length() < 64 else f"more than 2^{count.bit_length() - 1}"


#: Searches of the whole tree for one intake: work with more findings than that is looked at by a person.
_MAX_SEARCHES = 60
#: Parts of a text of many lines that are looked for: three of them in one file are not a coincidence.
_PARTS = 3
_OUTPUT_BYTES = 4 << 20


class KnownTexts:
    """Looks for texts in one tree of the hub."""

    def __init__(self, hub: Hub, tree: TreeId, deadline: GitDeadline) -> None:
        """Take the tree and when to give up."""
        self._hub = hub
        self._tree = tree
        self._deadline = deadline
        self._found: dict[str, frozenset[bytes]] = {}

    def in_one_file(self, parts: tuple[str, ...]) -> bool:
        """Return whether one file holds the parts of a text: of many the first, the longest and the last."""
        wanted = tuple(dict.fromkeys((parts[0], max(parts, key=len), parts[-1])))[:_PARTS]
        files = self._files_with(wanted[0])
        for part in wanted[1:]:
            files = files and files & self._files_with(part)
        return bool(files)

    def _files_with(self, text: str) -> frozenset[bytes]:
        if text not in self._found:
            if len(self._found) >= _MAX_SEARCHES or "\n" in text or not text:
                return frozenset()
            # the text goes through standard input: it may be a credential, and arguments are for all to see
            call = GitCall(
                ("grep", "-l", "-z", "-a", "-F", "-f", "-", self._tree),
                self._hub.path,
                stdin=text.encode("utf-8", "surrogatepass") + b"\n",
                deadline=self._deadline,
                output_bytes=_OUTPUT_BYTES,
            )
            result = self._hub.runner.run(call)
            self._found[text] = frozenset(result.out.split(b"\0")) - {b""} if result.ok else frozenset()
        return self._found[text]
