"""The file format of a git index, as far as a sealed base and its snapshots need it.

An index says of each file what `lstat` said when its content was known. Of these facts only the time of an inode's last
change cannot be set by a command, and only it and the inode tell a file from another of the same size and modification
time that was moved into its place. So an index records what is true of the checkout it lies in, to the nanosecond, and
one that came with a copy is written anew.
"""

from __future__ import annotations

import os
import stat
import struct

from .sha1 import sha1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    #: The id of a folder's tree, and the paths of the folders in it.
    Tree = tuple[bytes, list[bytes]]

#: In the server's own folder: what the index was at the start.
INDEX_STATE = "index-state.json"
#: Beside the entries; an index with others says something that is not read here.
_KNOWN_EXTENSIONS = {b"TREE", b"EOIE", b"IEOT"}
_SHA1_BYTES = 20
#: Where in an entry the type of the file, its flags and its name begin.
_TYPE_AT, _FLAGS_AT, _NAME_AT = 26, 60, 62
#: Of the first byte of the flags: assume-valid, extended, and the stage of a merge.
_SPECIAL_FLAGS = 0xF0
#: What is behind the flags is the name's length, or this for all longer ones.
_LONG_NAME = 0xFFF
#: There: a second word of flags comes next; of its first byte: a file that git leaves alone.
_EXTENDED, _MORE_FLAGS_BYTES, _SKIP_WORKTREE = 0x40, 2, 0x40
#: Time of the last change, of the last writing, device, inode, mode, user, group, size: as `lstat` gave them.
_STATE = struct.Struct(">II II II I II I")
_STATE_BYTES = 40
_GITLINK = 0o160000
_GITLINK_TYPE = _GITLINK >> 8
#: How many files, spread over the index, show whether it is of this checkout.
_COMPARED = 16


class IndexEntry:
    """One tracked file, as it was when the index was written."""

    __slots__ = ("ctime_ns", "id", "inode", "mode", "mtime_ns", "size")

    def __init__(self, data: bytes, at: int) -> None:
        changed, changed_ns, written, written_ns, _, inode, mode, _, _, size = _STATE.unpack_from(data, at)
        self.mode: int = mode
        self.id = data[at + _STATE_BYTES : at + _STATE_BYTES + _SHA1_BYTES]
        self.mtime_ns: int = written * 1_000_000_000 + written_ns
        self.ctime_ns: int = changed * 1_000_000_000 + changed_ns
        self.inode: int = inode
        self.size: int = size

    def is_file(self, state: os.stat_result) -> bool:
        """Whether a file is certainly the one that the index speaks of, and as it was then."""
        return (
            self.size == state.st_size & 0xFFFFFFFF
            and self.mtime_ns == state.st_mtime_ns
            and self.ctime_ns == state.st_ctime_ns
            and self.inode == state.st_ino & 0xFFFFFFFF
        )


class PlainIndex:
    """An index that is exactly one tree: its files, and the id of each folder with those of the folders in it.

    Where each file's entry is; an entry is read when it is asked for, which is seldom in a large index.
    """

    def __init__(self, data: bytes, places: dict[bytes, int], trees: dict[bytes, Tree], *, has_links: bool) -> None:
        self.data = data
        self.places = places
        self.trees = trees
        #: whether there are submodules
        self.has_links = has_links
        #: the files of each folder, without those of folders in it
        self.files: dict[bytes, list[bytes]] = {folder: [] for folder in trees}
        for path in places:
            self.files[path.rpartition(b"/")[0]].append(path)
        #: the ids of all contents
        start, end = _STATE_BYTES, _STATE_BYTES + _SHA1_BYTES
        self.ids = {data[at + start : at + end] for at in places.values()}

    def entry(self, path: bytes) -> IndexEntry | None:
        at = self.places.get(path)
        return None if at is None else IndexEntry(self.data, at)

    def below(self, folder: bytes) -> Iterator[bytes]:
        """Give the files of a folder, and of all folders in it."""
        yield from self.files.get(folder, ())
        for each in self.trees[folder][1] if folder in self.trees else ():
            yield from self.below(each)


def read_index(data: bytes) -> PlainIndex | None:
    """Return a git index (version 2, SHA-1); None where it is of another kind, or not exactly one tree."""
    magic, version, count = struct.unpack_from(">4sII", data)
    if magic != b"DIRC" or version != 2 or sha1(data[:-20]).digest() != data[-20:]:
        return None
    places: dict[bytes, int] = {}
    has_links = False
    at = 12
    for _ in range(count):
        flags = data[at + _FLAGS_AT]
        if flags & _SPECIAL_FLAGS:
            return None
        if data[at + _TYPE_AT] == _GITLINK_TYPE:
            has_links = True
        length, start = _name_length(data, at), at + _NAME_AT
        end = start + length if length < _LONG_NAME else data.index(b"\0", start)
        places[data[start:end]] = at
        at += (end - at + 8) & ~7
    trees: dict[bytes, Tree] = {}
    while at < len(data) - _SHA1_BYTES:
        name, size = struct.unpack_from(">4sI", data, at)
        if name not in _KNOWN_EXTENSIONS:
            return None
        if name == b"TREE":
            trees = _cached_trees(data[at + 8 : at + 8 + size])
        at += 8 + size
    try:
        return PlainIndex(data, places, trees, has_links=has_links) if b"" in trees else None
    except KeyError:  # a folder whose tree it does not know
        return None


def index_state(path: str) -> list[int]:
    """Return what tells an index from every other that a git of ours writes in its place."""
    state = os.stat(path)
    return [state.st_mtime_ns, state.st_size, state.st_ino]


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of what lies in a folder; that of the workspace itself is empty."""
    return folder + b"/" + name if folder else name


def _cached_trees(data: bytes) -> dict[bytes, Tree]:
    """Read the folders' ids that an index remembers; nothing where one of them is not valid."""
    found: dict[bytes, Tree] = {}
    # folders that are not complete yet, and how many folders in each are still to come
    open_folders: list[bytes] = []
    to_come: list[int] = []
    at = 0
    while at < len(data):
        end = data.index(b"\0", at)
        name = data[at:end]
        line = data.index(b"\n", end)
        count, inner = (int(word) for word in data[end + 1 : line].split(b" "))
        if count < 0:
            return {}
        path = name
        if open_folders:
            path = join(open_folders[-1], name)
            found[open_folders[-1]][1].append(path)
        found[path] = data[line + 1 : line + 21], []
        at = line + 21
        open_folders.append(path)
        to_come.append(inner)
        while to_come and to_come[-1] == 0:
            open_folders.pop()
            to_come.pop()
            if to_come:
                to_come[-1] -= 1
    return found


def index_names(data: bytes) -> list[bytes]:
    """Return the path of each entry; none where the index is of a kind that is not read here."""
    return [name for name, _ in _entries(data)]


def has_states(data: bytes, root: bytes) -> bool:
    """Whether an index speaks of the files of this checkout, not of those that they are copies of."""
    found = list(_entries(data))
    for name, at in found[:: max(1, len(found) // _COMPARED)]:
        state = _lstat(os.path.join(root, name))
        if state is not None and not _is_recorded(data, at, state):
            return False
    return True


def record_states(data: bytes, root: bytes) -> bytes:
    """Return the index with what is true of each file in this checkout, whose contents are those of the index.

    What git leaves alone keeps what was said of it: something else may lie in its place.
    """
    out = bytearray(data)
    found = list(_entries(data))
    for name, at in found:
        state = _lstat(os.path.join(root, name))
        if state is None:
            continue
        mode = struct.unpack_from(">I", data, at + 24)[0]
        fields = (*divmod(state.st_ctime_ns, 1_000_000_000), *divmod(state.st_mtime_ns, 1_000_000_000))
        owner = (state.st_uid & 0xFFFFFFFF, state.st_gid & 0xFFFFFFFF, state.st_size & 0xFFFFFFFF)
        _STATE.pack_into(out, at, *fields, state.st_dev & 0xFFFFFFFF, state.st_ino & 0xFFFFFFFF, mode, *owner)
    if found:
        out[-20:] = sha1(bytes(out[:-20])).digest()
    return bytes(out)


def without_doubtful(data: bytes, root: bytes, since_seconds: int) -> bytes | None:
    """Return the index without the states of files that git would take for unchanged; None where there are none.

    Git compares the time of a file's last change in whole seconds. What changed in the same second as it did before
    looks the same to it if size, modification time and inode are. `since_seconds` is when the agent came: a file that
    changed last before that shows every later change. Git reads the files that have no state.
    """
    out = None
    for name, at in _entries(data):
        if struct.unpack_from(">I", data, at)[0] >= since_seconds:
            state = _lstat(os.path.join(root, name))
            if state is not None and not _is_recorded(data, at, state):
                out = out or bytearray(data)
                out[at : at + 16] = bytes(16)
    if out is None:
        return None
    out[-20:] = sha1(bytes(out[:-20])).digest()
    return bytes(out)


def _entries(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Give each file that git looks at, with the place of its entry, of versions 2 and 3."""
    if len(data) < 32 or data[:4] != b"DIRC" or sha1(data[:-20]).digest() != data[-20:]:
        return
    version, count = struct.unpack_from(">II", data, 4)
    if version not in (2, 3):
        return
    at = 12
    for _ in range(count):
        flags = data[at + _FLAGS_AT]
        start = at + _NAME_AT + (_MORE_FLAGS_BYTES if flags & _EXTENDED else 0)
        end = start + _name_length(data, at)
        if end - start >= _LONG_NAME:
            end = data.index(b"\0", start)
        left_alone = flags & _EXTENDED and data[at + _NAME_AT] & _SKIP_WORKTREE
        if not left_alone and data[at + _TYPE_AT] != _GITLINK_TYPE:
            yield data[start:end], at
        at += (end - at + 8) & ~7


def _name_length(data: bytes, at: int) -> int:
    return (data[at + _FLAGS_AT] & 0x0F) << 8 | data[at + _FLAGS_AT + 1]


def _is_recorded(data: bytes, at: int, state: os.stat_result) -> bool:
    changed, changed_ns, written, written_ns, _, inode, _, user, group, size = _STATE.unpack_from(data, at)
    return (
        (changed, changed_ns) == divmod(state.st_ctime_ns, 1_000_000_000)
        and (written, written_ns) == divmod(state.st_mtime_ns, 1_000_000_000)
        and inode == state.st_ino & 0xFFFFFFFF
        and (user, group) == (state.st_uid & 0xFFFFFFFF, state.st_gid & 0xFFFFFFFF)
        and size == state.st_size & 0xFFFFFFFF
    )


def _lstat(path: bytes) -> os.stat_result | None:
    """Return what lies there; None for a folder, and where there is nothing."""
    try:
        state = os.lstat(path)
    except OSError:
        return None
    return None if stat.S_ISDIR(state.st_mode) else state
