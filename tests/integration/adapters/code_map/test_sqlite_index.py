"""The stored index with its real parser: what it knows of files, and what hostile ones cannot do to it."""

import sqlite3
from collections.abc import AsyncIterator
from hashlib import sha1
from pathlib import Path

import pytest

from codexteam.adapters.code_map.languages import DEFINITIONS, language_of
from codexteam.adapters.code_map.parse_process import ParseFailed, ParseProcess
from codexteam.adapters.code_map.sqlite_index import SqliteSymbolIndex
from codexteam.ports.symbol_index import CodeFile, CodePart, IndexedTree

#: A file of each language to the names that it defines, and their lines.
SAMPLES = {
    "a.py": ("class Reader:\n    def load(self):\n        return 1\n", {"Reader": (1, 3), "load": (2, 3)}),
    "a.js": ("const add = (a) => a\nclass Box { open() {} }\n", {"add": (1, 1), "Box": (2, 2), "open": (2, 2)}),
    "a.ts": ("export interface Shape { a: string }\nfunction area() {}\n", {"Shape": (1, 1), "area": (2, 2)}),
    "a.tsx": ("export function App() {\n  return <div/>\n}\n", {"App": (1, 3)}),
    "a.go": ("package a\n\nfunc (s *S) Move(a int) {}\n\ntype S struct {}\n", {"Move": (3, 3), "S": (5, 5)}),
    "a.rs": ("struct Point;\n\nimpl Point {\n    fn norm(&self) {}\n}\n", {"Point": (1, 1), "norm": (4, 4)}),
    "A.java": ("class A {\n  void run() {}\n}\n", {"A": (1, 3), "run": (2, 2)}),
    "a.c": ("int *find(int a)\n{\n  return 0;\n}\n", {"find": (1, 4)}),
    "a.cpp": ("namespace n {\nclass Q { };\n}\nvoid Q::go() {}\n", {"n": (1, 3), "Q": (2, 2)}),
    "a.cs": ("class A {\n  void Run() {}\n}\n", {"A": (1, 3), "Run": (2, 2)}),
    "a.rb": ("module M\n  def go\n  end\nend\n", {"M": (1, 4), "go": (2, 3)}),
    "a.php": ("<?php\nfunction go() {}\nclass A {}\n", {"go": (2, 2), "A": (3, 3)}),
    "a.kt": ("class A {\n  fun go() {}\n}\n", {"A": (1, 3), "go": (2, 2)}),
    "a.swift": ("class A {\n  func go() {}\n}\n", {"A": (1, 3), "go": (2, 2)}),
    "a.scala": ("object A {\n  def go() = 1\n}\n", {"A": (1, 3), "go": (2, 2)}),
    "a.sh": ("go() {\n  echo\n}\n", {"go": (1, 3)}),
    "a.lua": ("function go()\nend\n", {"go": (1, 2)}),
}


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteSymbolIndex]:
    made = SqliteSymbolIndex(tmp_path / "index.sqlite3")
    yield made
    await made.close()


def file(path: str, data: bytes) -> tuple[CodeFile, bytes]:
    return CodeFile(path.encode(), sha1(data, usedforsecurity=False).hexdigest()), data


async def taken(index: SqliteSymbolIndex, files: dict[str, bytes]) -> IndexedTree:
    named = [file(path, data) for path, data in files.items()]
    await index.add(named)
    return await index.tree([each for each, _ in named])


async def parts_of(index: SqliteSymbolIndex, tree: IndexedTree) -> list[CodePart]:
    return await index.parts_of(tree, list(tree.paths))


async def test_definitions_of_every_language_have_their_lines(index: SqliteSymbolIndex) -> None:
    assert {language_of(name.encode()) for name in SAMPLES} == set(DEFINITIONS)
    tree = await taken(index, {name: text.encode() for name, (text, _) in SAMPLES.items()})

    found: dict[str, dict[str, tuple[int, int]]] = {}
    for part in await parts_of(index, tree):
        found.setdefault(part.path.decode(), {}).setdefault(part.name, (part.first_line, part.last_line))
    for name, (_, wanted) in SAMPLES.items():
        assert {key: found[name].get(key) for key in wanted} == wanted, name


async def test_every_line_belongs_to_a_part_whatever_the_file(index: SqliteSymbolIndex) -> None:
    tree = await taken(index, {"notes.md": b"# Title\n\nwords\n" * 40, "setup.cfg": b"[a]\nb = 1\n"})

    parts = await parts_of(index, tree)
    assert [(part.name, part.kind) for part in parts] == [("", "lines")] * len(parts)
    assert sum(part.last_line - part.first_line + 1 for part in parts) == 122


async def test_words_are_found_by_stem_and_names_first(index: SqliteSymbolIndex) -> None:
    tree = await taken(
        index,
        {
            "a.py": b"def parse_rows(text):\n    return text\n",
            "b.py": b"def other(text):\n    # parsing of a row is elsewhere\n    return text\n",
        },
    )

    found = [part.name for part, _ in await index.matching(tree, ["parsed", "row"], most=5)]
    assert found == ["parse_rows", "other"]
    assert await index.matching(tree, ['"', "a*b"], most=5) == []


async def test_only_new_contents_are_missing_and_only_a_commits_are_found(index: SqliteSymbolIndex) -> None:
    old, new = file("a.py", b"def old(): pass\n"), file("a.py", b"def new(): pass\n")
    moved = CodeFile(b"lib/a.py", old[0].blob)
    await index.add([old])

    assert await index.missing([moved, new[0]]) == [new[0]]
    await index.add([new])
    tree = await index.tree([new[0]])
    assert [part.name for part in await index.defined(tree, ["old", "new"])] == ["new"]


async def test_what_is_no_text_or_too_large_is_not_asked_for_again(index: SqliteSymbolIndex) -> None:
    image, huge = file("a.png", b"\x89PNG\0\0"), file("b.py", b"x")
    await index.add([image, (huge[0], None)])

    assert await index.missing([image[0], huge[0]]) == []
    assert await parts_of(index, await index.tree([image[0], huge[0]])) == []


async def test_files_made_to_hurt_a_parser_cost_only_themselves(index: SqliteSymbolIndex) -> None:
    tree = await taken(
        index,
        {
            "deep.js": b"[\n" * 100_000,
            "braces.cpp": b"{\n" * 100_000,
            "bad.py": b"\xff\xfe" * 1_000 + b"\ndef broken(:\n",
            "one_line.js": b"function a() {}" * 1_000,
            "good.py": b"def good(): pass\n",
        },
    )

    assert [part.path for part in await index.defined(tree, ["good"])] == [b"good.py"]


def test_a_parser_that_dies_or_takes_too_long_is_replaced() -> None:
    process = ParseProcess(seconds_per_file=30)
    hasty = ParseProcess(seconds_per_file=0)
    try:
        # the parser's own library ends the process on a language that it does not know
        died = process.ask({"do": "find", "language": "none", "pattern": "a"}, b"a")
        assert died == ParseFailed("the parser ended while it read it")
        assert isinstance(process.ask({"do": "parts", "language": "python"}, b"def a(): pass\n"), list)
        late = hasty.ask({"do": "parts", "language": "python"}, b"x = 1\n" * 50_000)
        assert late == ParseFailed("it took too long")
    finally:
        process.close()
        hasty.close()


async def test_structure_is_found_whatever_the_spacing(index: SqliteSymbolIndex) -> None:
    files = [
        file("a.py", b"x = open( 'f',\n  'w' )\n"),
        file("b.py", b"open('g')\n"),
        file("c.md", b"open('f', 'w')\n"),
    ]

    found = await index.find_pattern("open($PATH, 'w')", files)
    assert not isinstance(found, str)
    assert [(match.path, match.first_line, match.last_line) for match in found] == [(b"a.py", 1, 2)]


@pytest.mark.parametrize("content", [b"no database", b""])
async def test_a_file_that_is_no_index_is_made_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "index.sqlite3"
    path.write_bytes(content)
    index = SqliteSymbolIndex(path)
    try:
        tree = await taken(index, {"a.py": b"def a(): pass\n"})
        assert len(await index.defined(tree, ["a"])) == 1
    finally:
        await index.close()


async def test_an_index_of_another_version_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    first = SqliteSymbolIndex(path)
    one = file("a.py", b"def a(): pass\n")
    await first.add([one])
    await first.close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE made_by SET version = '0'")
    connection.close()

    again = SqliteSymbolIndex(path)
    try:
        assert await again.missing([one[0]]) == [one[0]]
    finally:
        await again.close()
