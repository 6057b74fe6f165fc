"""Writes trees without a work tree, through an index file of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from codexteam.core.ids import TreeId


def write_tree(
    output: Callable[..., bytes], folder: Path, tree: str, edits: Mapping[bytes, tuple[str, str] | None]
) -> TreeId:
    """Give a tree with some paths changed.

    Args:
        output: runs git on a repository that has all objects, and gives its output.
        folder: where the index may be written for a moment.
        tree: what to start from.
        edits: path to mode and blob id, or None to remove it.
    """
    with TemporaryDirectory(prefix="index-", dir=folder) as scratch:
        environment = {"GIT_INDEX_FILE": f"{scratch}/index"}
        output("read-tree", tree, environment=environment)
        nothing = ("0", "0" * len(tree))
        removed = b"".join(_line(path, *nothing) for path, edit in edits.items() if edit is None)
        # what is removed goes first, so that a file can take a folder's place and the other way round
        written = b"".join(_line(path, *edit) for path, edit in edits.items() if edit is not None)
        output("update-index", "-z", "--index-info", stdin=removed + written, environment=environment)
        return TreeId(output("write-tree", environment=environment).decode().strip())


def _line(path: bytes, mode: str, object_id: str) -> bytes:
    return f"{mode} {object_id}\t".encode() + path + b"\0"
