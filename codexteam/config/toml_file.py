"""Reading one TOML file: its values, and where each stands; what is wrong with it as one message."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.config.positions import KeyPath, Position, find_first_of_repeated, find_positions
from codexteam.core.ids import JSONObject
from codexteam.errors import ConfigError

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
