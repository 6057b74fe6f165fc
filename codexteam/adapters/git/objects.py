"""Reads objects by id from one `git cat-file` process, many requests at a time; writes trees."""

import os
import selectors
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import NamedTuple

from codexteam.adapters.git.runner import GitCall, GitDeadline, GitRunner, GitTimeout
from codexteam.core.ids import TreeId
from codexteam.errors import RepoError

#: Requests that fit into a pipe whole, so that writing them never waits for the answers to be read.
_REQUESTS_AT_ONCE = 400
_READ_BYTES = 1 << 18
#: What is held in memory at once when many objects are read.
_LOAD_BYTES = 32 << 20


def write_tree(
    output: Callable[..., bytes], folder: Path, tree: str, edits: Mapping[bytes, tuple[str, str] | None]
) -> TreeId:
    """Return a tree with some paths changed.

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


class TreeEntry(NamedTuple):
    """One line of a tree."""

    mode: bytes
    """As stored: octal without leading zero."""
    name: bytes
    id: str

    @property
    def is_tree(self) -> bool:
        """Whether it is a folder."""
        return self.mode in {b"40000", b"040000"}


@dataclass(frozen=True, slots=True)
class GitObject:
    """An object's type, size and bytes; no bytes when it is larger than asked for."""

    id: str
    type: str
    size: int
    data: bytes | None


def parse_tree(data: bytes, id_bytes: int) -> list[TreeEntry]:
    """Take a tree object apart.

    Args:
        data: its bytes.
        id_bytes: 20 for SHA-1, 32 for SHA-256.
    """
    entries: list[TreeEntry] = []
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        stop = end + 1 + id_bytes
        entries.append(TreeEntry(data[at:space], data[space + 1 : end], data[end + 1 : stop].hex()))
        at = stop
    return entries


class ObjectReader:
    """A running `cat-file --batch-command`; started at the first use, and again when it has died.

    May be used from several threads: each request and its answer are one step.
    """

    def __init__(self, runner: GitRunner, git_dir: Path) -> None:
        """Take whose objects are read."""
        self._runner = runner
        self._git_dir = git_dir
        self._lock = threading.Lock()
        self._stack: ExitStack | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> "ObjectReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; may be repeated, and reading starts a new one."""
        with self._lock:
            self._stop()

    def read(self, object_id: str, *, limit_bytes: int, deadline: GitDeadline) -> GitObject | None:
        """Return one object, or None when there is none of this id."""
        return next(self.read_many([object_id], limit_bytes=limit_bytes, deadline=deadline))

    def read_many(
        self, object_ids: Sequence[str], *, limit_bytes: int, deadline: GitDeadline
    ) -> Iterator[GitObject | None]:
        """Return the objects of these ids in order; what is larger than the limit comes without its bytes.

        Raises:
            GitTimeout: the deadline passed.
            RepoError: the process ended.
        """
        for start in range(0, len(object_ids), _REQUESTS_AT_ONCE):
            some = object_ids[start : start + _REQUESTS_AT_ONCE]
            for part in _loads(self.describe(some, deadline=deadline), limit_bytes):
                wanted = [known.id for known in part if known is not None and known.size <= limit_bytes]
                contents = iter(self._ask("contents", wanted, deadline, with_data=True))
                for known in part:
                    yield next(contents) if known is not None and known.size <= limit_bytes else known

    def describe(self, object_ids: Sequence[str], *, deadline: GitDeadline) -> list[GitObject | None]:
        """Return type and size of each id, None where there is no such object."""
        answers: list[GitObject | None] = []
        for start in range(0, len(object_ids), _REQUESTS_AT_ONCE):
            answers += self._ask("info", object_ids[start : start + _REQUESTS_AT_ONCE], deadline, with_data=False)
        return answers

    def _ask(self, verb: str, ids: Sequence[str], deadline: GitDeadline, *, with_data: bool) -> list[GitObject | None]:
        if not ids:
            return []
        with self._lock:
            try:
                process = self._started()
                _write(process, b"".join(b"%s %s\n" % (verb.encode(), each.encode()) for each in ids))
                return [self._answer(deadline, with_data=with_data) for _ in ids]
            except BrokenPipeError:
                self._stop()
                raise RepoError("git cat-file ended while it was asked") from None
            except BaseException:
                self._stop()
                raise

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._stack = ExitStack()
            call = GitCall(("cat-file", "--batch-command"), self._git_dir)
            self._process = self._stack.enter_context(self._runner.start(call, stdin=subprocess.PIPE))
        return self._process

    def _stop(self) -> None:
        self._process = None
        self._buffer.clear()
        if self._stack is not None:
            self._stack.close()
            self._stack = None

    def _answer(self, deadline: GitDeadline, *, with_data: bool) -> GitObject | None:
        words = self._take_line(deadline).decode("ascii", "replace").split(" ")
        if len(words) != 3:
            return None  # "<what was asked> missing"
        object_id, kind, size = words[0], words[1], int(words[2])
        if not with_data:
            return GitObject(object_id, kind, size, None)
        data = self._take(size + 1, deadline)[:-1]
        return GitObject(object_id, kind, size, data)

    def _take_line(self, deadline: GitDeadline) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._fill(deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _take(self, count: int, deadline: GitDeadline) -> bytes:
        while len(self._buffer) < count:
            self._fill(deadline)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _fill(self, deadline: GitDeadline) -> None:
        process = self._process
        if process is None or process.stdout is None:
            raise RepoError("git cat-file is not running")
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(min(deadline.left(), 3600.0)):
                raise GitTimeout
        data = os.read(process.stdout.fileno(), _READ_BYTES)
        if not data:
            raise RepoError("git cat-file ended while it was asked")
        self._buffer += data


def _write(process: "subprocess.Popen[bytes]", data: bytes) -> None:
    if process.stdin is None:
        raise RepoError("git cat-file has no input")
    process.stdin.write(data)
    process.stdin.flush()


def _loads(found: Sequence[GitObject | None], limit_bytes: int) -> Iterator[list[GitObject | None]]:
    """Split what is to be read so that no part is much larger than one load."""
    part: list[GitObject | None] = []
    size = 0
    for known in found:
        part.append(known)
        size += known.size if known is not None and known.size <= limit_bytes else 0
        if size >= _LOAD_BYTES:
            yield part
            part, size = [], 0
    yield part
