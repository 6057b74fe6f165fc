"""Reading one TOML file: its values, where each stands, and what is wrong with it as one message.

The standard library's parser does not report the position of a value.
"""

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from codexteam.core.ids import JSONObject
from codexteam.errors import ConfigError

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


#: A configuration is read whole; one that is larger than this is something else.
MAX_BYTES = 4 << 20

#: As much of a line is shown in a message.
_SHOWN_CHARS = 120

_SYNTAX = re.compile(
    r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class TomlText:
    """The values of a TOML text, and the text itself, to say where a value stands."""

    source: str
    """What messages call it: a path, or the flag that it came from."""
    text: str
    values: JSONObject
    _positions: list[dict[KeyPath, Position]] = field(default_factory=list, repr=False, compare=False)

    def place(self, path: KeyPath) -> str:
        """Return `file:line:column` of a value, of the nearest table around it where it has no place of its own."""
        if not self._positions:
            self._positions.append(find_positions(self.text))
        found = self._positions[0]
        for length in range(len(path), 0, -1):
            position = found.get(path[:length])
            if position:
                return f"{self.source}:{position.line}:{position.column}"
        return self.source


def read_bytes(path: Path) -> bytes | None:
    """Return a file's bytes, or None where there is no such file.

    Raises:
        ConfigError: It is a directory, cannot be read, or is far too large.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: found a directory, a file is expected", hint=f"move the directory {path} away")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{path}: found {size} bytes, at most {MAX_BYTES} are allowed")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}", hint="check the file's owner and mode") from error


def read_toml(path: Path) -> TomlText | None:
    """Return a file's values, or None where there is no such file.

    Raises:
        ConfigError: It cannot be read, is not UTF-8 or not TOML; the message has its line and column.
    """
    content = read_bytes(path)
    return None if content is None else parse_toml(content, str(path))


def parse_toml(content: bytes, source: str) -> TomlText:
    """Return the values of a file's bytes.

    Raises:
        ConfigError: It is not UTF-8 or not TOML.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise ConfigError(
            f"{source}:{line}:{column}: found the byte 0x{content[error.start]:02x}, UTF-8 is expected",
            hint="save the file as UTF-8",
        ) from error
    text = text.removeprefix("\ufeff")  # a byte order mark, as Windows editors write it; one alone, as TOML allows
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(source, text, str(error)) from error
    except RecursionError as error:
        raise ConfigError(f"{source}: its arrays or tables are nested too deep") from error
    except ValueError as error:  # an impossible date, an integer of a million digits
        raise ConfigError(f"{source}: {error}", hint="see https://toml.io for what TOML allows") from error
    return TomlText(source, text.replace("\r\n", "\n"), values)


def _syntax_error(source: str, text: str, message: str) -> ConfigError:
    match = _SYNTAX.match(message)
    what = match["what"] if match else message
    lines = text.replace("\r\n", "\n").split("\n")
    if match and match["line"]:
        number, column = int(match["line"]), int(match["column"])
    else:
        number, column = len(lines), len(lines[-1]) + 1
    # the parser shows keys as Python tuples
    what = re.sub(
        r"\('.*'\)|\('.*',\)", lambda keys: "`" + ".".join(re.findall(r"'([^']*)'", keys.group())) + "`", what
    )
    shown = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    excerpt = f", in `{shown[:_SHOWN_CHARS]}`" if shown else ""
    repeated = "overwrite a value" in what or "twice" in what
    what = f"{what[0].lower()}{what[1:]}{excerpt}"
    hint = "strings need quotes, keys an equals sign; see https://toml.io"
    if repeated:
        first = find_first_of_repeated("\n".join(lines[:number]))
        what = f"duplicate key: {what}" + (f"; the first is at {source}:{first.line}:{first.column}" if first else "")
        hint = "remove one of the two"
    return ConfigError(f"{source}:{number}:{column}: not TOML: {what}", hint=hint)
