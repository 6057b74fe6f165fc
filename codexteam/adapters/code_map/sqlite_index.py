"""The symbol index over SQLite: definitions in a table, words in its full-text search, both by the content of files.

It is a cache: a file that another version made, that is broken, or that holds more old contents than living ones is
made again. One thread owns the connection; files are taken apart by processes beside it.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from codexteam.adapters.code_map.languages import DEFINITIONS, language_of
from codexteam.adapters.code_map.parse_process import ParseFailed, ParseProcess, ParseResult
from codexteam.adapters.code_map.parse_worker import has_parser
from codexteam.core.code_words import words_of
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import StoreError
from codexteam.ports.symbol_index import CodeFile, CodeMatch, CodePart, IndexedTree, IndexSize

_Result = TypeVar("_Result")

#: Grows when what is in the file changes its meaning.
_FORMAT = 1
_SCHEMA = """
CREATE TABLE made_by (version TEXT);
CREATE TABLE files (id INTEGER PRIMARY KEY, blob TEXT NOT NULL, language TEXT NOT NULL, problem TEXT NOT NULL,
                    UNIQUE (blob, language));
CREATE TABLE parts (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
                    first INTEGER NOT NULL, last INTEGER NOT NULL, signature TEXT NOT NULL);
CREATE INDEX parts_name ON parts (name) WHERE name != '';
CREATE INDEX parts_file ON parts (file);
CREATE VIRTUAL TABLE words USING fts5 (name, body, content='', detail=column, tokenize='porter unicode61');
"""
#: A word in a definition's name counts for so many in its body.
_NAME_WEIGHT = 4.0
_MOST_PROCESSES = 4
_SECONDS_PER_FILE = 5.0
_NUL_LOOK_BYTES = 8_000
#: Values in one statement.
_AT_ONCE = 500
#: Old contents that are kept beside those of a commit, as a multiple of these, before the file is made again.
_MOST_OLD = 4
_FEW_FILES = 2_000


class SqliteSymbolIndex:
    """A `SymbolIndex` in a file. Closed by who made it."""

    def __init__(self, path: Path) -> None:
        """Take where the file is, or will be; nothing is touched before the first call."""
        self._path = path
        self._parser = f"ast-grep {importlib.metadata.version('ast-grep-py')}" if has_parser() else ""
        self._owner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="codexteam-index")
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        workers = min(_MOST_PROCESSES, len(os.sched_getaffinity(0)))
        self._workers = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="codexteam-parse")
        self._idle: SimpleQueue[ParseProcess] = SimpleQueue()
        self._processes = [ParseProcess(seconds_per_file=_SECONDS_PER_FILE) for _ in range(workers)]
        for process in self._processes:
            self._idle.put(process)

    async def drop_old(self, files: Sequence[CodeFile]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            (stored,) = connection.execute("SELECT count(*) FROM files").fetchone()
            if stored > _FEW_FILES and stored > _MOST_OLD * max(1, len(_numbers(connection, files))):
                self._begin_again()

        await self._do(work)

    async def missing(self, files: Sequence[CodeFile]) -> list[CodeFile]:
        def work(connection: sqlite3.Connection) -> list[CodeFile]:
            known = _numbers(connection, files)
            return [file for file in files if (file.blob, language_of(file.path)) not in known]

        return await self._do(work)

    async def add(self, files: Sequence[tuple[CodeFile, bytes | None]]) -> None:
        once = {(file.blob, language_of(file.path)): data for file, data in files}
        loop = asyncio.get_running_loop()
        apart = await asyncio.gather(
            *(
                loop.run_in_executor(self._workers, self._take_apart, language, data)
                for (_, language), data in once.items()
            )
        )

        def work(connection: sqlite3.Connection) -> None:
            with connection:
                for (blob, language), parts in zip(once, apart, strict=True):
                    _insert(connection, blob, language, parts)

        await self._do(work)

    def _take_apart(self, language: str, data: bytes | None) -> ParseResult:
        if data is None:
            return ParseFailed("too large")
        if b"\0" in data[:_NUL_LOOK_BYTES]:
            return ParseFailed("not text")
        answer = self._ask({"do": "parts", "language": language}, data)
        if isinstance(answer, ParseFailed) and language:  # its words are known without its definitions
            words = self._ask({"do": "parts", "language": ""}, data)
            return words if isinstance(words, ParseFailed) else [answer.reason, *_listed(words)]
        return answer

    def _ask(self, order: JSONObject, data: bytes) -> ParseResult:
        process = self._idle.get()
        try:
            return process.ask(order, data)
        finally:
            self._idle.put(process)

    async def tree(self, files: Sequence[CodeFile]) -> IndexedTree:
        def work(connection: sqlite3.Connection) -> IndexedTree:
            known = _numbers(connection, files)
            paths: dict[int, bytes] = {}
            blobs: dict[int, str] = {}
            waiting = 0
            for path, blob in files:
                number = known.get((blob, language_of(path)))
                if number is None:
                    waiting += 1
                else:
                    paths[number] = path
                    blobs[number] = blob
            return IndexedTree(paths, blobs, len(files), waiting)

        return await self._do(work)

    async def matching(self, tree: IndexedTree, words: Sequence[str], *, most: int) -> list[tuple[CodePart, float]]:
        asked = " OR ".join(f'"{word}"' for word in words if word.isalnum())

        def work(connection: sqlite3.Connection) -> list[tuple[CodePart, float]]:
            rows = connection.execute(
                f"SELECT {_PART}, score FROM (SELECT rowid AS found, bm25(words, {_NAME_WEIGHT}, 1.0) AS score"  # noqa: S608
                "  FROM words WHERE words MATCH ?) JOIN parts ON parts.id = found ORDER BY score, parts.id",
                (asked,),
            )
            matches: list[tuple[CodePart, float]] = []
            for *part, score in rows:
                if (path := tree.paths.get(part[1])) is not None:
                    matches.append((_part(part, path), -float(score)))
                    if len(matches) >= most:
                        break
            return matches

        return await self._do(work) if asked else []

    async def defined(self, tree: IndexedTree, names: Sequence[str]) -> list[CodePart]:
        return await self._parts(tree, "name", [name for name in names if name])

    async def parts_of(self, tree: IndexedTree, files: Sequence[int]) -> list[CodePart]:
        return await self._parts(tree, "file", files)

    async def _parts(self, tree: IndexedTree, column: str, values: Sequence[str | int]) -> list[CodePart]:
        def work(connection: sqlite3.Connection) -> list[CodePart]:
            found = []
            for some in _in_pieces(values):
                marks = ",".join("?" * len(some))
                named = "AND name != ''" if column == "name" else ""
                rows = connection.execute(
                    f"SELECT {_PART} FROM parts WHERE {column} IN ({marks}) {named} ORDER BY file, first, last DESC",  # noqa: S608
                    some,
                )
                found += [_part(row, path) for row in rows if (path := tree.paths.get(row[1])) is not None]
            return found

        return await self._do(work)

    async def find_pattern(self, pattern: str, files: Sequence[tuple[CodeFile, bytes]]) -> list[CodeMatch] | str:
        if not self._parser:
            return "structural search needs the package ast-grep-py: pip install 'codexteam[map]'"
        loop = asyncio.get_running_loop()
        known = [(file, data) for file, data in files if language_of(file.path) in DEFINITIONS]

        def ask(file: CodeFile, data: bytes) -> ParseResult:
            return self._ask({"do": "find", "language": language_of(file.path), "pattern": pattern}, data)

        answers = await asyncio.gather(*(loop.run_in_executor(self._workers, ask, *one) for one in known))
        failed = [answer for answer in answers if isinstance(answer, ParseFailed)]
        if failed and len(failed) == len(answers):
            return failed[0].reason
        return [
            CodeMatch(file.path, int(first), int(last), str(text))
            for (file, _), answer in zip(known, answers, strict=True)
            if not isinstance(answer, ParseFailed)
            for first, last, text in _rows(answer)
        ]

    async def size(self) -> IndexSize:
        def work(connection: sqlite3.Connection) -> IndexSize:
            (files,) = connection.execute("SELECT count(*) FROM files").fetchone()
            (parts,) = connection.execute("SELECT count(*) FROM parts").fetchone()
            (symbols,) = connection.execute("SELECT count(*) FROM parts WHERE name != ''").fetchone()
            return IndexSize(files, parts, symbols, self._path.stat().st_size, self._parser)

        return await self._do(work)

    async def close(self) -> None:
        """End processes and threads, after calls that have begun; may be repeated."""
        await asyncio.to_thread(self._workers.shutdown, wait=True, cancel_futures=True)
        for process in self._processes:
            process.close()

        def work() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._owner, work)
            self._owner.shutdown()

    async def _do(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._owner, lambda: work(self._opened()))
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path}: the index of the code cannot be used: {error}",
                hint="Remove the file; it is made again.",
            ) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = self._connect()
            try:
                made_by = connection.execute("SELECT version FROM made_by").fetchone()
            except sqlite3.DatabaseError:
                made_by = None
            if made_by is None or made_by[0] != self._version:
                self._begin_again(connection)
            else:
                self._connection = connection
        assert self._connection is not None
        return self._connection

    @property
    def _version(self) -> str:
        return f"{_FORMAT} {self._parser}"

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, timeout=30)
        with contextlib.suppress(sqlite3.DatabaseError):  # of a broken file, which is made again
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # it is a cache
        return connection

    def _begin_again(self, connection: sqlite3.Connection | None = None) -> None:
        for old in (connection, self._connection):
            if old is not None:
                old.close()
        for name in (self._path.name, f"{self._path.name}-wal", f"{self._path.name}-shm"):
            self._path.with_name(name).unlink(missing_ok=True)
        self._connection = self._connect()
        self._connection.executescript(_SCHEMA)
        with self._connection:
            self._connection.execute("INSERT INTO made_by VALUES (?)", (self._version,))


_PART = "parts.id, parts.file, parts.name, parts.kind, parts.first, parts.last, parts.signature"


def _part(row: Sequence[object], path: bytes) -> CodePart:
    number, file, name, kind, first, last, signature = row
    return CodePart(
        int(str(number)), int(str(file)), path, str(name), str(kind), int(str(first)), int(str(last)), str(signature)
    )


def _numbers(connection: sqlite3.Connection, files: Iterable[CodeFile]) -> dict[tuple[str, str], int]:
    blobs = list({file.blob for file in files})
    known: dict[tuple[str, str], int] = {}
    for some in _in_pieces(blobs):
        marks = ",".join("?" * len(some))
        rows = connection.execute(f"SELECT blob, language, id FROM files WHERE blob IN ({marks})", some)  # noqa: S608
        known.update({(blob, language): number for blob, language, number in rows})
    return known


def _insert(connection: sqlite3.Connection, blob: str, language: str, parts: ParseResult) -> None:
    failed = isinstance(parts, ParseFailed)
    listed = [] if isinstance(parts, ParseFailed) else _listed(parts)
    problem = (
        parts.reason if isinstance(parts, ParseFailed) else next((one for one in listed if isinstance(one, str)), "")
    )
    added = connection.execute(
        "INSERT OR IGNORE INTO files (blob, language, problem) VALUES (?, ?, ?)", (blob, language, problem)
    )
    if failed or not added.rowcount:
        return
    number = added.lastrowid
    for name, kind, first, last, signature, words in _rows([one for one in listed if not isinstance(one, str)]):
        part = connection.execute(
            "INSERT INTO parts (file, name, kind, first, last, signature) VALUES (?, ?, ?, ?, ?, ?)",
            (number, name, kind, first, last, signature),
        )
        connection.execute(
            "INSERT INTO words (rowid, name, body) VALUES (?, ?, ?)",
            (part.lastrowid, " ".join(words_of(str(name))), words),
        )


def _listed(answer: JSONValue) -> list[JSONValue]:
    return answer if isinstance(answer, list) else []


def _rows(answer: JSONValue) -> Iterator[list[str]]:
    for row in _listed(answer):
        if isinstance(row, list):
            yield [str(one) for one in row]


def _in_pieces(values: Sequence[_Result]) -> Iterator[Sequence[_Result]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
