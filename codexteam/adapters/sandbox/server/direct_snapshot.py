"""Takes the work of an ordinary workspace out without starting git: the same commit that git would make, in a pack."""

from __future__ import annotations

import json
import os
import struct
import zlib

from .changed_files import WorkspaceChanges
from .files import read_file, write_all, write_file
from .folder_marks import FOLDERS, FolderMarks, read_marks
from .git import EXTRAS, IDENTITY
from .git_index import INDEX_STATE, index_state, read_index
from .ignore_rules import GitNeeded
from .ignored import PRODUCTS
from .protocol import RequestRefused
from .sha1 import sha1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .branches import Branches
    from .git import Git
    from .git_index import PlainIndex
    from .ignored import Ignored
    from .protocol import Json

#: Larger trees are git's work: it reads their index quicker.
MOST_FILES = 200_000
#: In the server's own folder: new files that a snapshot had without asking git.
TAKEN = "taken.json"
_COMMIT, _TREE, _BLOB = 1, 2, 3


class DirectSnapshot:
    """A snapshot made without git, where it certainly equals git's."""

    def __init__(self, git: Git, ignored: Ignored, branches: Branches) -> None:
        self.git = git
        self.ignored = ignored
        self.branches = branches
        #: the index that was read last, and what told it from others
        self.known: tuple[list[int], PlainIndex] | None = None
        self.marks: FolderMarks | None = None

    def prepare(self) -> None:
        """Read what all snapshots need of the base, in the process that starts them: each is a child of its own.

        What it cannot read, they say.
        """
        try:
            state = index_state(self.git.index)
            if self.known is None or self.known[0] != state:
                self.known = None
                if state == self.index_state_at_start() and state[1] <= MOST_FILES * 1000:
                    index = read_index(read_file(self.git.index))
                    self.known = None if index is None else (state, index)
            if self.marks is None:
                self.marks = self.read_marks()
        except (OSError, ValueError, LookupError, TypeError, struct.error):
            self.known = None

    def take(self, base: str, cap: int, named: list[Json]) -> Json | None:
        """Send the pack and give the answer; None where git has to be asked, and nothing was sent."""
        try:
            index = self.pristine_index(base)
            changes = self.changes(index, named)
            self.check_ignored(changes, named)
            self.check_branches(base)
        except (GitNeeded, OSError, ValueError, LookupError, TypeError, struct.error):
            return None
        objects: list[tuple[int, bytes]] = []
        tree = changed_tree(index, changes, objects)
        if tree == index.trees[b""][0]:
            return {"tip": None, "remarks": []}
        known = set(index.ids)
        for change in changes.changed.values():
            if change.id not in known:
                known.add(change.id)
                objects.append((_BLOB, change.data))
        who = "{} <{}> {}".format(*(IDENTITY["GIT_AUTHOR_" + part] for part in ("NAME", "EMAIL", "DATE")))
        text = f"tree {tree.hex()}\nparent {base}\nauthor {who}\ncommitter {who}\n\ncodexteam snapshot\n".encode()
        objects.insert(0, (_COMMIT, text))
        pack = packed(objects)
        if len(pack) > cap:
            raise RequestRefused("value", f"the work is larger than the {cap} bytes allowed")
        self.remember_taken(changes, index)
        write_all(1, pack)
        return {"tip": object_id(_COMMIT, text).hex(), "bytes": len(pack), "remarks": []}

    def pristine_index(self, base: str) -> PlainIndex:
        """Return the base's index, as long as no git of ours has changed it."""
        if (
            len(base) != 40
            or not os.path.isdir(self.git.own_dir)
            or index_state(self.git.index) != self.index_state_at_start()
        ):
            raise GitNeeded
        if os.path.getsize(self.git.index) > MOST_FILES * 1000 or os.path.exists(self.path("nested.json")):
            raise GitNeeded
        state, index = self.known or (None, None)
        if state != index_state(self.git.index):
            index = read_index(read_file(self.git.index))
        if index is None or len(index.places) > MOST_FILES or index.trees[b""][0].hex() != self.git.base_tree(base):
            raise GitNeeded
        return index

    def read_marks(self) -> FolderMarks:
        return read_marks(os.path.join(self.git.own_dir, FOLDERS), self.git.workspace)

    def index_state_at_start(self) -> list[int]:
        known: list[int] = json.loads(read_file(self.path(INDEX_STATE)).decode())
        return known

    def changes(self, index: PlainIndex, named: list[Json]) -> WorkspaceChanges:
        """Look at the workspace: at all of it where a task's paths may name what a set-up or the user put there."""
        extras = os.path.join(self.git.own_dir, EXTRAS)
        if os.path.exists(extras):
            known = json.loads(read_file(extras).decode())
            if known["files"] or known["links"]:
                raise GitNeeded
        written = os.stat(self.git.index).st_mtime_ns
        exclude = os.path.join(self.git.own_dir, "info", "exclude")
        rules = read_file(exclude) if os.path.exists(exclude) else b""
        marks = self.read_marks() if self.marks is None else self.marks
        if named and (self.ignored.layer.names or os.path.exists(extras)):
            marks = FolderMarks({})
        changes = WorkspaceChanges(self.git.workspace, index, index_mtime_ns=written, exclude=rules, marks=marks)
        changes.look()
        return changes

    def check_ignored(self, changes: WorkspaceChanges, named: list[Json]) -> None:
        """See that nothing that git ignores is to be taken, or to be spoken of.

        Raises:
            GitNeeded: something is.
        """
        taken = [os.fsencode(name) for name in self.taken()]
        for path in changes.ignored:
            if not self.ignored.is_of_no_interest(path):
                raise GitNeeded
            if any(name == path or (path.endswith(b"/") and name.startswith(path)) for name in taken):
                raise GitNeeded
        for place in named:
            prefix = os.fsencode(place["prefix"])
            if self.ignored.layer.names and self.ignored.layer.meets(place["prefix"]):
                raise GitNeeded
            for path in changes.ignored:
                entry = path.rstrip(b"/")
                if prefix and (entry == prefix or prefix.startswith(entry + b"/")):
                    raise GitNeeded
                inside, _, name = entry.rpartition(b"/")
                if place["direct"] and inside == prefix and not is_product(name):
                    raise GitNeeded

    def check_branches(self, base: str) -> None:
        """See that the agent has no branches or stashes beside the one it works on."""
        tips = self.branches.agent_tips()
        head = tips.pop("HEAD", base)
        if any(tip not in (base, head) for tip in tips.values()):
            raise GitNeeded

    def remember_taken(self, changes: WorkspaceChanges, index: PlainIndex) -> None:
        """Keep which new files were taken: they stay work, also if a rule ignores them later."""
        before = self.taken()
        new = sorted({*before, *(os.fsdecode(path) for path in changes.changed if path not in index.places)})
        if new != before:
            write_file(self.path(TAKEN), json.dumps(new).encode())

    def taken(self) -> list[str]:
        path = self.path(TAKEN)
        known: list[str] = json.loads(read_file(path).decode()) if os.path.exists(path) else []
        return known

    def forget_taken(self) -> list[bytes]:
        """Return the new files of earlier snapshots that are still there: git's index is to know them from now on."""
        names = [os.fsencode(name) for name in self.taken()]
        if names:
            os.unlink(self.path(TAKEN))
        root = os.fsencode(self.git.workspace)
        return [name for name in names if os.path.lexists(os.path.join(root, name))]

    def path(self, name: str) -> str:
        return os.path.join(self.git.private, name)


def is_product(name: bytes) -> bool:
    """Whether a name is one of what is left out of folders that are taken although git ignores them."""
    return name.endswith(b".pyc") or os.fsdecode(name) in PRODUCTS


def changed_tree(index: PlainIndex, changes: WorkspaceChanges, objects: list[tuple[int, bytes]]) -> bytes:
    """Return the id of the tree with the changes in it; the trees that are new are added to `objects`."""
    touched = {b""}
    for path in (*changes.changed, *changes.gone):
        while b"/" in path:
            path = path[: path.rfind(b"/")]  # noqa: PLW2901
            touched.add(path)
    inside = {folder: kept_files(index, folder, changes.gone) for folder in touched}
    for path, change in changes.changed.items():
        folder, _, name = path.rpartition(b"/")
        inside[folder][name] = (change.mode, change.id)
    for folder in touched:
        for below in index.trees.get(folder, (b"", []))[1]:
            if below not in touched:
                inside[folder][below.rpartition(b"/")[2]] = (0o40000, index.trees[below][0])
    for folder in sorted(touched, key=lambda each: (each.count(b"/"), each), reverse=True):
        if folder == b"":
            continue
        data = tree_bytes(inside[folder])
        if data:
            above, _, name = folder.rpartition(b"/")
            inside[above][name] = (0o40000, object_id(_TREE, data))
            objects.append((_TREE, data))
    made = tree_bytes(inside[b""])
    objects.append((_TREE, made))
    return object_id(_TREE, made)


def kept_files(index: PlainIndex, folder: bytes, gone: set[bytes]) -> dict[bytes, tuple[int, bytes]]:
    """Return mode and id of each of a folder's files that is still there, by its name."""
    kept = {}
    for path in index.files.get(folder, ()):
        entry = index.entry(path)
        if entry is not None and path not in gone:
            kept[path.rpartition(b"/")[2]] = (entry.mode, entry.id)
    return kept


def tree_bytes(entries: dict[bytes, tuple[int, bytes]]) -> bytes:
    """Return a tree object, in git's order: folders as if their name ended with a slash."""
    ordered = sorted(entries.items(), key=lambda each: each[0] + b"/" if each[1][0] == 0o40000 else each[0])
    return b"".join(b"%o %s\0%s" % (mode, name, id_) for name, (mode, id_) in ordered)


def object_id(kind: int, data: bytes) -> bytes:
    name = {_COMMIT: b"commit", _TREE: b"tree", _BLOB: b"blob"}[kind]
    return sha1(b"%s %d\0" % (name, len(data)) + data).digest()


def packed(objects: list[tuple[int, bytes]]) -> bytes:
    """Return a pack of whole objects."""
    parts = [struct.pack(">4sII", b"PACK", 2, len(objects))]
    for kind, data in objects:
        size = len(data)
        head = bytearray([(kind << 4) | (size & 15)])
        size >>= 4
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        parts += [bytes(head), zlib.compress(data, 1)]
    whole = b"".join(parts)
    return whole + sha1(whole).digest()
