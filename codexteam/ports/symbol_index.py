"""What is defined where in a repository's files, and which words stand there: kept by content, asked by commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from codexteam.core.ids import CommitId


class CodeFile(NamedTuple):
    """One file of a commit."""

    path: bytes
    blob: str


@dataclass(frozen=True, slots=True)
class CodePart:
    """A definition, or lines that belong to none."""

    id: int
    file: int
    """The number of its content in the index."""
    path: bytes
    name: str
    """Empty for lines."""
    kind: str
    first_line: int
    last_line: int
    """Counted from 1, and part of it."""
    signature: str
    """Its first line; foreign text."""


@dataclass(frozen=True, slots=True)
class CodeMatch:
    """Where a structural pattern matches."""

    path: bytes
    first_line: int
    last_line: int
    text: str


@dataclass(frozen=True, slots=True)
class IndexedTree:
    """The files of one commit that the index holds."""

    paths: Mapping[int, bytes]
    """The number of a content to a path that has it."""
    blobs: Mapping[int, str]
    total: int
    """Files of the commit, those that are not indexed included."""
    waiting: int = 0
    """Of these, those that nobody has looked at yet."""


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What an index holds."""

    files: int
    parts: int
    symbols: int
    size_bytes: int
    parser: str
    """What definitions are read with; empty: nothing, and there are words and paths alone."""


class CodeSource(Protocol):
    """Gives the files of commits: the hub (`Repo`), or a repository as it is."""

    async def list_files(self, commit: CommitId) -> tuple[tuple[bytes, str, str], ...]:
        """Return (path, mode, blob id) of every file at a commit."""
        ...

    async def read_blobs(self, blobs: Sequence[str], *, limit_bytes: int) -> list[bytes | None]:
        """Return the bytes of blobs by their ids, in order; None for one that is larger than the limit, or not there."""
        ...


class SymbolIndex(Protocol):
    """An index over contents; every version of a file is in it once."""

    async def drop_old(self, files: Sequence[CodeFile]) -> None:
        """Begin again where most of what it holds is old contents, that none of these files has; before anything else."""
        ...

    async def missing(self, files: Sequence[CodeFile]) -> list[CodeFile]:
        """Return the files whose content it does not hold."""
        ...

    async def add(self, files: Sequence[tuple[CodeFile, bytes | None]]) -> None:
        """Take files in; None stands for bytes that are too many to be looked at."""
        ...

    async def tree(self, files: Sequence[CodeFile]) -> IndexedTree:
        """Return what it holds of a commit's files."""
        ...

    async def matching(self, tree: IndexedTree, words: Sequence[str], *, most: int) -> list[tuple[CodePart, float]]:
        """Return parts in which any of the words stand, and how well they match, best first."""
        ...

    async def defined(self, tree: IndexedTree, names: Sequence[str]) -> list[CodePart]:
        """Return the definitions of these names."""
        ...

    async def parts_of(self, tree: IndexedTree, files: Sequence[int]) -> list[CodePart]:
        """Return all parts of some files, in order."""
        ...

    async def find_pattern(self, pattern: str, files: Sequence[tuple[CodeFile, bytes]]) -> list[CodeMatch] | str:
        """Return where a structural pattern matches in files of languages that it can read; else why it cannot be used."""
        ...

    async def size(self) -> IndexSize:
        """Return what it holds."""
        ...

    async def close(self) -> None:
        """Let go of processes, threads and the file."""
        ...
