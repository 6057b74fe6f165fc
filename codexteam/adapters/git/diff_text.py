"""What differs between two commits, for a judge to read: text as text, and of everything else what it is.

No attribute, external diff or text conversion has a say in it: a file that says of itself that it is binary is shown
all the same, and one that is binary is named with its size.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from codexteam.adapters.git.diff_digest import FileDiff, diff_digest
from codexteam.adapters.git.hub import Hub
from codexteam.adapters.git.merge import raw_changes
from codexteam.adapters.git.runner import GitCall, GitDeadline, GitTimeout, ResourceLimits
from codexteam.core.file_kinds import Relevance, binary_kind, is_binary, relevance
from codexteam.core.paths import show
from codexteam.core.text import clean
from codexteam.errors import RepoError
from codexteam.ports.repo import TreeChange

_SECONDS = 120.0
_LINK = "160000"
#: A larger file is named, not compared.
_FILE_BYTES = 16 << 20
_HEAD_BYTES = 4096
#: What one call of git compares at most.
_BATCH_BYTES = 16 << 20
_BATCH_FILES = 500
_BATCH_PATH_BYTES = 96 << 10
_OUTPUT_BYTES = 64 << 20
#: After so many times what is shown, no more diffs are made: those that come are the least relevant.
_ENOUGH = 8


@dataclass(frozen=True, slots=True)
class _Blob:
    size: int
    head: bytes = b""
    binary: bool = False
    too_large: bool = False


def diff_text(hub: Hub, old: str, new: str, limit_bytes: int) -> tuple[str, bool]:
    """Return the changed files and a unified diff for readers, escaped, and whether something was left out."""
    deadline = GitDeadline.after(_SECONDS)
    try:
        changes = raw_changes(hub.output, old, new)
        blobs = _blobs(hub, changes, deadline)
        moved, rest = _moved(changes)
        files = [_moved_file(source, target, blobs) for source, target in moved]
        facts = {change.path: _Changed(change, blobs) for change in rest}
        shown = sorted((each for each in facts.values() if each.as_text), key=lambda each: each.relevance.value)
        patches = _patches(hub, (old, new), shown, limit_bytes, deadline)
    except GitTimeout:
        raise RepoError(f"the difference of {old[:10]} and {new[:10]} took longer than {_SECONDS:g} seconds") from None
    files += [each.file(patches.get(path), limit_bytes) for path, each in facts.items()]
    return diff_digest(files, limit_bytes)


def _blobs(hub: Hub, changes: Sequence[TreeChange], deadline: GitDeadline) -> dict[str, _Blob]:
    wanted = dict.fromkeys(
        blob
        for change in changes
        for mode, blob in ((change.old_mode, change.old_blob), (change.new_mode, change.new_blob))
        if mode not in {"000000", _LINK}
    )
    known: dict[str, _Blob] = {}
    for blob, found in zip(
        wanted, hub.reader.read_many([*wanted], limit_bytes=_FILE_BYTES, deadline=deadline), strict=True
    ):
        if found is None:
            raise RepoError(f"{blob}: no such file in the hub")
        if found.data is None:
            known[blob] = _Blob(found.size, too_large=True)
        else:
            known[blob] = _Blob(found.size, found.data[:_HEAD_BYTES], is_binary(found.data))
    return known


def _moved(changes: Sequence[TreeChange]) -> tuple[list[tuple[TreeChange, TreeChange]], list[TreeChange]]:
    """Part the files that only moved, byte for byte, from all others."""
    gone: dict[tuple[str, str], list[TreeChange]] = {}
    for change in changes:
        if change.status == "D" and change.old_mode != _LINK:
            gone.setdefault((change.old_mode, change.old_blob), []).append(change)
    pairs: list[tuple[TreeChange, TreeChange]] = []
    for change in changes:
        sources = gone.get((change.new_mode, change.new_blob)) if change.status == "A" else None
        if sources:
            pairs.append((sources.pop(0), change))
    paired = {change.path for pair in pairs for change in pair}
    return pairs, [change for change in changes if change.path not in paired]


def _moved_file(source: TreeChange, target: TreeChange, blobs: dict[str, _Blob]) -> FileDiff:
    size = blobs[target.new_blob].size
    name = f"{show(source.path)} -> {show(target.path)}"
    return FileDiff("R", name, f"{size:,} bytes, the same content", relevance(show(target.path), size))


class _Changed:
    """What is known of a changed file without its diff."""

    def __init__(self, change: TreeChange, blobs: dict[str, _Blob]) -> None:
        self.change = change
        self.old = blobs.get(change.old_blob)
        self.new = blobs.get(change.new_blob)
        there = [blob for blob in (self.new, self.old) if blob is not None]
        self.binary = any(blob.binary for blob in there)
        self.too_large = any(blob.too_large for blob in there)
        self.as_text = not self.binary and not self.too_large
        self.bytes = sum(blob.size for blob in there)
        largest = max(there, key=lambda blob: blob.size, default=_Blob(0))
        head = there[0].head if there else b""
        self.relevance = relevance(show(change.path), largest.size, head) if there else Relevance.CODE

    def file(self, patch: "_Patch | None", limit_bytes: int) -> FileDiff:
        status, name = self.change.status, show(self.change.path)
        facts = ", ".join(self._facts(patch))
        if patch is not None:
            head = clean(patch.data[: limit_bytes * 2].decode("utf-8", "surrogateescape"))
            whole = len(patch.data) <= limit_bytes * 2
            size = len(head.encode()) if whole else len(patch.data)
            return FileDiff(status, name, facts, self.relevance, head, size)
        left_out = "" if self.binary else "it is too large, or there is no room"
        return FileDiff(status, name, facts, self.relevance, left_out=left_out)

    def _facts(self, patch: "_Patch | None") -> Iterator[str]:
        if self.binary:
            yield self._binary()
        elif _LINK in {self.change.old_mode, self.change.new_mode}:
            yield "a submodule"
        else:
            if patch is not None:
                yield f"+{patch.added:,} -{patch.removed:,}"
            yield f"{self.new.size:,} bytes" if self.new is not None else "removed"
            if self.too_large:
                yield "too large to be compared here"
            elif patch is None:
                yield "its diff is not shown"
        if self.relevance is Relevance.GENERATED:
            yield "generated"
        if self.change.old_mode != self.change.new_mode and self.change.status == "M":
            yield f"mode {self.change.old_mode} -> {self.change.new_mode}"

    def _binary(self) -> str:
        if self.new is None or not self.new.binary:
            # what went was binary; what came, if anything, is not
            before = self.old or _Blob(0)
            became = "" if self.new is None else f", now text of {self.new.size:,} bytes"
            return f"Binary file ({before.size:,} bytes, {binary_kind(before.head)}) removed{became}"
        was = "" if self.old is None else f", was {self.old.size:,} bytes"
        return f"Binary file ({self.new.size:,} bytes, {binary_kind(self.new.head)}){was}"


@dataclass(frozen=True, slots=True)
class _Patch:
    data: bytes
    added: int
    removed: int


def _patches(
    hub: Hub, commits: tuple[str, str], wanted: Sequence[_Changed], limit_bytes: int, deadline: GitDeadline
) -> dict[bytes, _Patch]:
    """Return the diffs of files in order, until there is more of them than can be shown."""
    found: dict[bytes, _Patch] = {}
    size = 0
    for batch in _batches(wanted):
        if size > limit_bytes * _ENOUGH:
            break
        for path, data in _compared(hub, commits, [each.change.path for each in batch], deadline):
            found[path] = _patch(data)
            size += len(data)
    return found


def _batches(wanted: Sequence[_Changed]) -> Iterator[list[_Changed]]:
    batch: list[_Changed] = []
    file_bytes = path_bytes = 0
    for each in wanted:
        if batch and (
            len(batch) == _BATCH_FILES
            or file_bytes + each.bytes > _BATCH_BYTES
            or path_bytes + len(each.change.path) > _BATCH_PATH_BYTES
        ):
            yield batch
            batch, file_bytes, path_bytes = [], 0, 0
        batch.append(each)
        file_bytes += each.bytes
        path_bytes += len(each.change.path)
    if batch:
        yield batch


def _compared(
    hub: Hub, commits: tuple[str, str], paths: Sequence[bytes], deadline: GitDeadline
) -> Iterator[tuple[bytes, bytes]]:
    """Return path and diff of each file; of the last that fit, when there is too much."""
    args = (
        *("diff-tree", "-r", "-z", "--raw", "-p", "--text", "--no-ext-diff", "--no-textconv", "--no-renames"),
        *("--no-color", "--no-abbrev", "--src-prefix=a/", "--dst-prefix=b/", *commits, "--", *map(os.fsdecode, paths)),
    )
    limits = ResourceLimits(cpu_seconds=int(_SECONDS))
    result = hub.runner.run(GitCall(args, hub.path, deadline=deadline, output_bytes=_OUTPUT_BYTES, limits=limits))
    if not result.ok and not result.cut:
        names = " and ".join(commit[:10] for commit in commits)
        raise RepoError(f"the difference of {names} cannot be given: {result.err or result.code}")
    listed, data = _listed(result.out)
    sections = [b"".join(group) for _, group in groupby(_sections(data), key=_first_line)]
    if result.cut:
        sections = sections[:-1]  # nobody knows where it would have ended
    yield from zip(listed, sections, strict=not result.cut)


def _listed(output: bytes) -> tuple[list[bytes], bytes]:
    """Part the list of paths from the diffs, which come in the same order: `:<facts> NUL <path> NUL ... NUL <diffs>`."""
    paths: list[bytes] = []
    at = 0
    while output.startswith(b":", at):
        path = output.index(b"\0", at) + 1
        at = output.index(b"\0", path) + 1
        paths.append(output[path : at - 1])
    return paths, output[at + 1 :]


def _sections(patches: bytes) -> Iterator[bytes]:
    """Return diff by diff; a file that becomes a link has two."""
    at = 0
    while at < len(patches):
        end = patches.find(b"\ndiff --git ", at)
        end = len(patches) if end < 0 else end + 1
        yield patches[at:end]
        at = end


def _first_line(section: bytes) -> bytes:
    return section.partition(b"\n")[0]


def _patch(data: bytes) -> _Patch:
    """Count the lines of a diff, its heads apart."""
    bodies = [section.partition(b"\n@@ ")[2] for section in _sections(data)]
    return _Patch(data, sum(body.count(b"\n+") for body in bodies), sum(body.count(b"\n-") for body in bodies))
