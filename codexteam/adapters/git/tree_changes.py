"""Compares two trees through a reader of objects: as many trees are read as differ."""

import stat
from collections.abc import Iterator

from codexteam.adapters.git.objects import ObjectReader, TreeEntry, parse_tree
from codexteam.adapters.git.runner import GitDeadline
from codexteam.errors import RepoError
from codexteam.ports.repo import TreeChange

_TREE_BYTES = 64 << 20
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
        found = reader.read_many(list(wanted), limit_bytes=_TREE_BYTES, deadline=deadline)
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
