"""Trees through a reader of objects: what one would expand to, counted before anything walks it, and how two differ.

A pack of 867 bytes can hold a tree of ten billion files. Counting over unique trees takes as many steps as there are
trees, and the count of a tree never changes, so those of the base are remembered.
"""

import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Lock

from codexteam.adapters.git.objects import ObjectReader, TreeEntry, parse_tree
from codexteam.adapters.git.runner import GitDeadline
from codexteam.errors import RepoError
from codexteam.ports.repo import TreeChange

#: A tree of this size has more than 300,000 entries.
_TREE_BYTES = 16 << 20
_REMEMBERED = 200_000


class TreeRefusal(Exception):  # noqa: N818 - an outcome of the walk that its caller turns into a violation
    """The trees cannot be what people made; `str()` says why."""


@dataclass(frozen=True, slots=True)
class TreeSize:
    """What a tree expands to."""

    entries: int
    """Files, links, submodules and folders below it."""
    depth: int
    """Folders in each other, itself included."""


class TreeSizes:
    """Sizes of trees that were taken in, by id. Safe to use from several threads."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, TreeSize] = OrderedDict()
        self._lock = Lock()

    def get(self, tree: str) -> TreeSize | None:
        """Return what is remembered of a tree."""
        with self._lock:
            return self._sizes.get(tree)

    def remember(self, sizes: Iterable[tuple[str, TreeSize]]) -> None:
        """Keep sizes of trees that are in the hub."""
        with self._lock:
            self._sizes.update(sizes)
            while len(self._sizes) > _REMEMBERED:
                self._sizes.popitem(last=False)


@dataclass(frozen=True, slots=True)
class TreeWalk:
    """The result of a walk."""

    size: TreeSize
    trees: dict[str, list[TreeEntry]]
    """The trees that were read, by id: all that were not remembered."""
    sizes: dict[str, TreeSize]
    """The sizes of those."""


def walk_tree(
    reader: ObjectReader,
    root: str,
    sizes: TreeSizes,
    deadline: GitDeadline,
    *,
    max_depth: int | None,
    max_trees: int | None,
) -> TreeWalk:
    """Read every tree below `root` that is not remembered, level by level, and count.

    Args:
        reader: reads the trees.
        root: the id of the tree to begin with.
        sizes: what is known already; not changed.
        deadline: when to give up.
        max_depth: levels of unknown trees that are read before giving up.
        max_trees: unknown trees that are read before giving up.

    Raises:
        TreeRefusal: too deep, too many, too large, missing, or no tree.
    """
    trees: dict[str, list[TreeEntry]] = {}
    level = [root] if sizes.get(root) is None else []
    depth = 0
    while level:
        depth += 1
        if max_depth is not None and depth > max_depth:
            raise TreeRefusal(f"folders lie in each other more than {max_depth} deep")
        if max_trees is not None and len(trees) + len(level) > max_trees:
            raise TreeRefusal(f"more than {max_trees} new folders")
        for tree, found in zip(level, reader.read_many(level, limit_bytes=_TREE_BYTES, deadline=deadline), strict=True):
            if found is None or found.type != "tree":
                raise TreeRefusal(f"the tree {tree} is missing")
            if found.data is None:
                raise TreeRefusal(f"one folder's listing has {found.size} bytes")
            trees[tree] = parse_tree(found.data, len(tree) // 2)
        deadline.check()
        below = dict.fromkeys(entry.id for tree in level for entry in trees[tree] if entry.is_tree)
        level = [tree for tree in below if tree not in trees and sizes.get(tree) is None]
    counted = _count(root, trees, sizes)
    size = sizes.get(root) or counted[root]
    return TreeWalk(size, trees, counted)


def _count(root: str, trees: dict[str, list[TreeEntry]], sizes: TreeSizes) -> dict[str, TreeSize]:
    """Count from the leaves up, without recursion: a hash cannot be in its own tree, so there is no cycle."""
    counted: dict[str, TreeSize] = {}
    waiting = [root] if root in trees else []
    while waiting:
        tree = waiting[-1]
        if tree in counted:
            waiting.pop()
            continue
        below = [entry.id for entry in trees[tree] if entry.is_tree]
        missing = [each for each in below if each not in counted and each in trees]
        if missing:
            waiting += missing
            continue
        known = [counted.get(each) or sizes.get(each) or TreeSize(0, 0) for each in below]
        entries = len(trees[tree]) + sum(size.entries for size in known)
        counted[tree] = TreeSize(entries, 1 + max((size.depth for size in known), default=0))
        waiting.pop()
    return counted


_COMPARED_TREE_BYTES = 64 << 20
_NO_MODE = "000000"
#: Two trees of one path, an empty id for one that is not there.
_Pair = tuple[bytes, str, str]


def tree_changes(reader: ObjectReader, old: str, new: str, deadline: GitDeadline) -> list[TreeChange]:
    """Return the files that differ, by path, as `git diff-tree -r --raw --no-renames` lists them.

    Args:
        reader: reads objects of both.
        old: the earlier tree.
        new: the later one.
        deadline: when to give up.

    Raises:
        RepoError: a tree is missing or too large.
        GitTimeout: the deadline passed.
    """
    changes: list[TreeChange] = []
    level: list[_Pair] = [(b"", old, new)] if old != new else []
    while level:
        wanted = dict.fromkeys(tree for _, *pair in level for tree in pair if tree)
        found = reader.read_many(list(wanted), limit_bytes=_COMPARED_TREE_BYTES, deadline=deadline)
        trees: dict[str, dict[bytes, TreeEntry]] = {"": {}}
        for tree, read in zip(wanted, found, strict=True):
            if read is None or read.type != "tree" or read.data is None:
                raise RepoError(f"the tree {tree} is missing or too large")
            trees[tree] = {entry.name: entry for entry in parse_tree(read.data, len(tree) // 2)}
        below: list[_Pair] = []
        for start, before, after in level:
            for name in trees[before].keys() | trees[after].keys():
                pair = trees[before].get(name), trees[after].get(name)
                if pair[0] == pair[1]:
                    continue
                one, other = (entry.id if entry is not None and entry.is_tree else "" for entry in pair)
                if one != other:
                    below.append((start + name + b"/", one, other))
                changes += _change(start + name, *pair, id_chars=len(old))
        level = below
    return sorted(changes, key=lambda change: change.path)


def _change(path: bytes, before: TreeEntry | None, after: TreeEntry | None, *, id_chars: int) -> Iterator[TreeChange]:
    old = None if before is None or before.is_tree else before
    new = None if after is None or after.is_tree else after
    old_mode, new_mode = _mode(old), _mode(new)
    old_id, new_id = (entry.id if entry is not None else "0" * id_chars for entry in (old, new))
    if (old_mode, old_id) == (new_mode, new_id):
        return
    if old is None:
        status = "A"
    elif new is None:
        status = "D"
    else:
        status = "T" if old_mode[:3] != new_mode[:3] else "M"
    yield TreeChange(path, status, old_mode, new_mode, old_id, new_id)


def _mode(entry: TreeEntry | None) -> str:
    """Return a mode as git shows it, whatever an old tree has stored."""
    if entry is None:
        return _NO_MODE
    stored = int(entry.mode, 8)
    if stat.S_ISREG(stored):
        return "100755" if stored & stat.S_IXUSR else "100644"
    return "120000" if stat.S_ISLNK(stored) else "160000"
