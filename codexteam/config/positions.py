"""The position of each value in a TOML text, for error messages: the standard library's parser does not report it.

Only for text that `tomllib` has accepted: the scan trusts its syntax and looks for keys and nothing else.
"""

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys from the top; integers count the tables of an array of tables and the items of an array."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text, both counted from 1; the column in characters."""

    line: int
    column: int


_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*+"""("{0,2})', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|'(?!''))*+'''('{0,2})", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]*")


def find_positions(text: str) -> dict[KeyPath, Position]:
    """Return the place of every value, and of the header of every table that has one."""
    scan = _Scan(text)
    scan.document()
    return scan.found


def find_first_of_repeated(text: str) -> Position | None:
    """Return the first position of the key that the end of a text repeats; None if it repeats none."""
    scan = _Scan(text)
    scan.document()
    return scan.found.get(scan.repeated)


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[KeyPath, Position] = {}
        self.repeated: KeyPath = ()
        self.table: KeyPath = ()
        self.counts: dict[KeyPath, int] = {}
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> None:
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                self.header()
            else:
                self.pair(self.table)
            self.skip(_BLANK)

    def header(self) -> None:
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 2 if is_array else 1
        path = self.resolve(self.keys())
        self.at += 2 if is_array else 1
        if is_array:
            number = self.counts.get(path, -1) + 1
            self.counts[path] = number
            self.note(path, start)
            path = (*path, number)
        self.table = path
        self.note(path, start)

    def resolve(self, keys: list[str]) -> KeyPath:
        """Return the path of a header, with the number of the latest table of each array on the way."""
        path: KeyPath = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            if index < len(keys) - 1 and path in self.counts:
                path = (*path, self.counts[path])
        return path

    def pair(self, table: KeyPath) -> None:
        start = self.at
        keys = self.keys()
        for length in range(1, len(keys)):
            self.note((*table, *keys[:length]), start)
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self.value((*table, *keys))

    def keys(self) -> list[str]:
        """Read a dotted key, up to the equals sign or bracket that follows it."""
        keys = []
        while True:
            self.skip(_SPACE)
            bare = _BARE_KEY.match(self.text, self.at)
            if bare:
                keys.append(bare.group())
                self.at = bare.end()
            else:
                quoted = (_BASIC if self.text.startswith('"', self.at) else _LITERAL).match(self.text, self.at)
                if quoted is None:  # not TOML, whatever the parser said: stop where we are
                    self.at = len(self.text)
                    return keys
                keys.append(str(tomllib.loads(f"k = {quoted.group()}")["k"]))
                self.at = quoted.end()
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def value(self, path: KeyPath) -> None:
        self.note(path, self.at)
        character = self.text[self.at : self.at + 1]
        if character == "[":
            self.items(path)
        elif character == "{":
            self.inline_table(path)
        elif character in {'"', "'"}:
            self.string()
        else:
            self.skip(_SCALAR)

    def items(self, path: KeyPath) -> None:
        self.at += 1
        number = 0
        self.skip(_BLANK)
        while self.at < len(self.text) and self.text[self.at] != "]":
            self.value((*path, number))
            number += 1
            self.comma()
        self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self.skip(_BLANK)
        while self.at < len(self.text) and self.text[self.at] != "}":
            self.pair(path)
            self.comma()
        self.at += 1

    def comma(self) -> None:
        self.skip(_BLANK)
        if self.text.startswith(",", self.at):
            self.at += 1
            self.skip(_BLANK)

    def string(self) -> None:
        rest = self.text[self.at : self.at + 3]
        pattern = {'"""': _LONG_BASIC, "'''": _LONG_LITERAL}.get(rest, _BASIC if rest[0] == '"' else _LITERAL)
        self.skip(pattern, otherwise=len(self.text))

    def skip(self, pattern: re.Pattern[str], otherwise: int | None = None) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        elif otherwise is not None:
            self.at = otherwise

    def note(self, path: KeyPath, offset: int) -> None:
        if path in self.found:
            self.repeated = path
        else:
            line = bisect_right(self.line_starts, offset)
            self.found[path] = Position(line, offset - self.line_starts[line - 1] + 1)
