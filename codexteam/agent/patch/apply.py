"""Hunks to file writes, against the texts of the files they name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from codexteam.agent.patch.parse import AddFile, Chunk, DeleteFile, Hunk, LineKind, UpdateFile
from codexteam.agent.patch.text import Replacement, SourceText


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that exists but is not a readable file: a directory, a device, a link out of the workspace."""

    reason: str = ""
    """What stands in its way, where Codex's own words do not say it."""


FileState: TypeAlias = bytes | Unreadable | None
"""A file's bytes, something else, or nothing."""


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """A patch that fits: what to write (None deletes), each path once, and the text for the model."""

    writes: Mapping[str, bytes | None]
    text: str


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """A patch that does not fit, and why, in Codex's words."""

    message: str
    writes: Mapping[str, bytes | None]
    """What the hunks before the one that failed would have written; Codex's program leaves it so."""


@dataclass(frozen=True, slots=True)
class OutsideWorkspace:
    """A path that leads out of the workspace."""

    path: str


def resolve_path(path: str, *, root: str) -> str | OutsideWorkspace:
    """Return `path` relative to `root`, without `.`, `..` and doubled slashes; links are the sandbox's to follow.

    A path is relative to `root`, or absolute and below it. `""` is the root itself.
    """
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{root}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    top = [part for part in root.split("/") if part]
    if parts[: len(top)] != top:
        return OutsideWorkspace(path)
    return "/".join(parts[len(top) :])


def paths_of(hunks: Sequence[Hunk]) -> tuple[str, ...]:
    """Return every path that the hunks name, as they write it, each once."""
    named: dict[str, None] = {}
    for hunk in hunks:
        named[hunk.path] = None
        if isinstance(hunk, UpdateFile) and hunk.move_to is not None:
            named[hunk.move_to] = None
    return tuple(named)


def apply_hunks(hunks: Sequence[Hunk], files: Mapping[str, FileState], *, root: str) -> AppliedPatch | DoesNotFit:
    """Apply hunks one after the other, each on what the ones before it left.

    Args:
        hunks: What to do.
        files: By resolved path, every file that `paths_of(hunks)` names; a path that is missing is not there.
        root: The workspace's absolute path.
    """
    if not hunks:
        return DoesNotFit("No files were modified.", {})
    tree = _Tree(files, root)
    for hunk in hunks:
        problem = tree.apply(hunk)
        if problem:
            return DoesNotFit(problem, tree.writes)
    lines = [f"A {path}" for path in tree.added]
    lines += [f"M {path}" for path in tree.modified]
    lines += [f"D {path}" for path in tree.deleted]
    return AppliedPatch(tree.writes, "\n".join(["Success. Updated the following files:", *lines]) + "\n")


@dataclass(slots=True)
class _Tree:
    files: Mapping[str, FileState]
    root: str
    writes: dict[str, bytes | None] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    def apply(self, hunk: Hunk) -> str:
        """Return what went wrong, or the empty string."""
        path = self._resolve(hunk.path)
        if isinstance(path, _PatchProblem):
            return path.message
        if isinstance(hunk, AddFile):
            self.added.append(hunk.path)
            return self._write(path, hunk.text)
        if isinstance(hunk, DeleteFile):
            self.deleted.append(hunk.path)
            return self._delete(path)
        return self._update(path, hunk)

    def _update(self, path: str, hunk: UpdateFile) -> str:
        target = self._resolve(hunk.path if hunk.move_to is None else hunk.move_to)
        if isinstance(target, _PatchProblem):
            return target.message
        text = self._read(path)
        if isinstance(text, _PatchProblem):
            return text.message
        changed = _changed(text, hunk.chunks, self._absolute(path))
        if isinstance(changed, _PatchProblem):
            return changed.message
        problem = self._write(target, changed)
        if not problem and hunk.move_to is not None:
            # as Codex does it: a file moved to its own path is gone
            self.writes[path] = None
        self.modified.append(hunk.path if hunk.move_to is None else hunk.move_to)
        return problem

    def _absolute(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _resolve(self, path: str) -> "str | _PatchProblem":
        if "\0" in path:
            return _PatchProblem(f"'{path}' is invalid on 'linux'")
        resolved = resolve_path(path, root=self.root)
        if isinstance(resolved, OutsideWorkspace):
            return _PatchProblem(f"'{path}' is outside the workspace {self.root}; only files below it can be patched")
        return resolved

    def _state(self, path: str) -> FileState:
        if not path or path in self.folders:
            return Unreadable()
        return self.writes[path] if path in self.writes else self.files.get(path)

    def _read(self, path: str) -> "str | _PatchProblem":
        where = f"Failed to read file to update {self._absolute(path)}"
        state = self._state(path)
        if state is None:
            missing = (
                "Not a directory (os error 20)"
                if self._below_a_file(path)
                else "No such file or directory (os error 2)"
            )
            return _PatchProblem(f"{where}: {missing}")
        if isinstance(state, Unreadable):
            return _PatchProblem(f"{where}: {state.reason or f'path `{self._absolute(path)}` is not a file'}")
        try:
            return state.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                return _PatchProblem(f"{where}: incomplete utf-8 byte sequence from index {error.start}")
            size = error.end - error.start
            return _PatchProblem(f"{where}: invalid utf-8 sequence of {size} bytes from index {error.start}")

    def _write(self, path: str, text: str) -> str:
        state = self._state(path)
        if isinstance(state, Unreadable) or self._below_a_file(path):
            return f"Failed to write file {self._absolute(path)}{_because(state)}"
        self.folders.update(_parents(path))
        self.writes[path] = text.encode()
        return ""

    def _below_a_file(self, path: str) -> bool:
        return any(isinstance(self._state(parent), bytes) for parent in _parents(path))

    def _delete(self, path: str) -> str:
        state = self._state(path)
        if not isinstance(state, bytes):
            return f"Failed to delete file {self._absolute(path)}{_because(state)}"
        self.writes[path] = None
        return ""


def _parents(path: str) -> list[str]:
    return [path[:at] for at, character in enumerate(path) if character == "/"]


def _because(state: FileState) -> str:
    return f": {state.reason}" if isinstance(state, Unreadable) and state.reason else ""


@dataclass(frozen=True, slots=True)
class _PatchProblem:
    message: str


def _changed(text: str, chunks: Sequence[Chunk], where: str) -> "str | _PatchProblem":
    source = SourceText.of(text)
    replacements: list[Replacement] = []
    position = 0
    for chunk in chunks:
        if chunk.anchor is not None:
            found = source.find([chunk.anchor], position, at_end=False)
            if found is None:
                return _PatchProblem(f"Failed to find context '{chunk.anchor}' in {where}")
            position = found + 1
        old = [line.text for line in chunk.lines if line.kind is not LineKind.ADDED]
        new = _new_lines(chunk)
        if not old:
            # nothing says where, so it goes to the end
            replacements.append((len(source.lines), 0, tuple(text for text, _ in new)))
            continue
        found = source.find(old, position, at_end=chunk.at_end_of_file)
        size = len(old)
        if found is None and not old[-1]:
            # models write an empty last line for the newline at the end of the file: look again without it
            size -= 1
            if new and not new[-1][0]:
                new = new[:-1]
            found = source.find(old[:size], position, at_end=chunk.at_end_of_file)
        if found is None:
            return _PatchProblem(f"Failed to find expected lines in {where}:\n" + "\n".join(old))
        replacements += _replacements(new, found, size)
        position = found + size
    return source.replaced(sorted(replacements, key=lambda replacement: replacement[0]))


def _new_lines(chunk: Chunk) -> list[tuple[str, int | None]]:
    """Return the lines that a chunk leaves, and for a kept one which of its old lines it is."""
    new: list[tuple[str, int | None]] = []
    old_count = 0
    for line in chunk.lines:
        if line.kind is not LineKind.REMOVED:
            new.append((line.text, old_count if line.kind is LineKind.KEPT else None))
        if line.kind is not LineKind.ADDED:
            old_count += 1
    return new


def _replacements(new: list[tuple[str, int | None]], first: int, size: int) -> Iterator[Replacement]:
    """Return what changes between the kept lines, which are left out so that they keep their bytes."""
    position = 0
    added: list[str] = []
    for text, kept in new:
        if kept is None or kept >= size:
            added.append(text)
            continue
        if added or kept > position:
            yield first + position, kept - position, tuple(added)
        position = kept + 1
        added = []
    if added or size > position:
        yield first + position, size - position, tuple(added)
