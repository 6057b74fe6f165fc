"""Finds what of a workspace differs from the tree it began with, without git.

Where git's own rules would have to be known for it (attributes, repositories in each other, patterns of a rare kind),
`GitNeeded` says so, and git is asked.
"""

from __future__ import annotations

import os
import stat

from .git_index import join
from .ignore_rules import GitNeeded, IgnoreRules, is_ignored
from .sha1 import sha1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .folder_marks import FolderMarks
    from .git_index import IndexEntry, PlainIndex

#: Of changed files together: more is git's work, which stores of large files what changed in them.
MOST_BYTES = 8 << 20
#: Attributes that change what is stored of a file, or that are defined by others.
_CONVERTING = (b"filter", b"ident", b"working-tree-encoding", b"[attr]")
_ATTRIBUTES, _IGNORE, _GIT = b".gitattributes", b".gitignore", b".git"


class ChangedFile:
    """A file that is new, or not as it was."""

    __slots__ = ("data", "id", "mode")

    def __init__(self, mode: int, object_id: bytes, data: bytes) -> None:
        self.mode = mode
        self.id = object_id
        self.data = data


class WorkspaceChanges:
    """One look at a workspace, but for folders in which nothing was written."""

    def __init__(
        self, workspace: str, index: PlainIndex, *, index_mtime_ns: int, exclude: bytes, marks: FolderMarks
    ) -> None:
        """Take what to look at.

        Args:
            workspace: where it is.
            index: the tree it began with.
            index_mtime_ns: when the index was written: who has that time or a later one may have changed unseen.
            exclude: rules that count less than all in the workspace.
            marks: what shows that a folder is as the base has it.
        """
        self.workspace = os.fsencode(workspace)
        self.index = index
        self.index_mtime_ns = index_mtime_ns
        self.exclude = IgnoreRules(exclude)
        self.marks = marks
        self.changed: dict[bytes, ChangedFile] = {}
        self.gone: set[bytes] = set()
        #: tracked files that are there
        self.seen: set[bytes] = set()
        #: what git ignores, folders with a slash at their end
        self.ignored: list[bytes] = []
        self.converts = False
        self.bytes = 0

    def look(self) -> None:
        """Find them.

        Raises:
            GitNeeded: only git can tell.
            OSError: something cannot be read, or goes away meanwhile.
        """
        if self.index.has_links:
            raise GitNeeded
        self.read_attributes([path for path in self.index.places if path.endswith(_ATTRIBUTES)])
        # folders that were looked into, and those below that are certainly as they were
        looked: set[bytes] = set()
        untouched: set[bytes] = set()
        waiting: list[tuple[bytes, list[tuple[bytes, IgnoreRules]]]] = [(b"", [(b"", self.exclude)])]
        while waiting:
            folder, rules = waiting.pop()
            looked.add(folder)
            with os.scandir(os.path.join(self.workspace, folder)) as found:
                entries = list(found)
            rules = self.rules_in(folder, rules, {entry.name for entry in entries})
            for entry in entries:
                if entry.name.lower() == _GIT:
                    if folder or entry.name != _GIT:
                        raise GitNeeded
                    continue
                path = join(folder, entry.name)
                if not entry.is_dir(follow_symlinks=False):
                    self.look_at_file(path, entry, rules)
                elif self.marks.is_untouched(path, entry.stat(follow_symlinks=False)):
                    untouched.add(path)
                elif is_ignored(rules, path, folder=True):
                    self.ignore(path + b"/")
                else:
                    waiting.append((path, rules))
        for folder in looked:
            self.gone.update(path for path in self.index.files.get(folder, ()) if path not in self.seen)
            for below in self.index.trees[folder][1] if folder in self.index.trees else ():
                if below not in looked and below not in untouched:  # not there, or something else is
                    self.gone.update(self.index.below(below))

    def rules_in(
        self, folder: bytes, above: list[tuple[bytes, IgnoreRules]], names: set[bytes]
    ) -> list[tuple[bytes, IgnoreRules]]:
        """Return the rules of what is ignored in a folder, its own first; take its attributes in, too."""
        if _ATTRIBUTES in names:
            self.read_attributes([join(folder, _ATTRIBUTES)])
        if _IGNORE not in names:
            return above
        start = folder + b"/" if folder else b""
        return [(start, IgnoreRules(self.read_rules(join(folder, _IGNORE)))), *above]

    def look_at_file(self, path: bytes, entry: os.DirEntry[bytes], rules: list[tuple[bytes, IgnoreRules]]) -> None:
        known = self.index.entry(path)
        if known is not None:
            self.seen.add(path)
        elif is_ignored(rules, path, folder=False):
            self.ignore(path)
            return
        self.compare(path, entry.stat(follow_symlinks=False), known)

    def ignore(self, path: bytes) -> None:
        """Take note of something that git ignores."""
        if path.endswith(b"/") and path[:-1] in self.index.trees:
            raise GitNeeded  # there are tracked files in it
        self.ignored.append(path)

    def compare(self, path: bytes, state: os.stat_result, known: IndexEntry | None) -> None:
        """Take a file's content if it is not what is known of it."""
        if stat.S_ISLNK(state.st_mode):
            mode = 0o120000
            if path.lower().endswith(b".gitmodules"):
                raise GitNeeded
        elif stat.S_ISREG(state.st_mode):
            mode = 0o100755 if state.st_mode & stat.S_IXUSR else 0o100644
        else:
            raise GitNeeded
        if known is not None and known.mode == mode and known.is_file(state) and known.mtime_ns < self.index_mtime_ns:
            return
        if self.bytes + state.st_size > MOST_BYTES:
            raise GitNeeded
        full = os.path.join(self.workspace, path)
        data = os.readlink(full) if mode == 0o120000 else self.read(full)
        if mode != 0o120000 and self.converts and b"\r" in data:
            raise GitNeeded
        self.bytes += len(data)
        object_id = sha1(b"blob %d\0" % len(data) + data).digest()
        if known is None or known.mode != mode or known.id != object_id:
            self.changed[path] = ChangedFile(mode, object_id, data)

    def read_attributes(self, paths: list[bytes]) -> None:
        """Take note of attributes: of those that convert line ends, files without a carriage return are the same."""
        for path in paths:
            self.converts = True
            full = os.path.join(self.workspace, path)
            if not os.path.lexists(full):
                raise GitNeeded  # git looks for it in the index
            text = self.read(full)
            if any(word in text for word in _CONVERTING):
                raise GitNeeded

    def read_rules(self, path: bytes) -> bytes:
        return self.read(os.path.join(self.workspace, path))

    def read(self, path: bytes) -> bytes:
        """Return a regular file's bytes, however it changes meanwhile."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise GitNeeded
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MOST_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(data) > MOST_BYTES:
            raise GitNeeded
        return data
