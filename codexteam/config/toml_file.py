"""Reading one TOML file: its values, and where each stands; what is wrong with it as one message."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.config.positions import KeyPath, Position, find_positions
from codexteam.core.json_types import JSONObject
from codexteam.errors import ConfigError

#: A configuration is read whole; one that is larger than this is something else.
MAX_BYTES = 4 << 20

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
        """Give `file:line:column` of a value, of the nearest table around it where it has no place of its own."""
        if not self._positions:
            self._positions.append(find_positions(self.text))
        found = self._positions[0]
        for length in range(len(path), 0, -1):
            position = found.get(path[:length])
            if position:
                return f"{self.source}:{position.line}:{position.column}"
        return self.source


def read_bytes(path: Path) -> bytes | None:
    """Give a file's bytes, or None where there is no such file.

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
    """Give a file's values, or None where there is no such file.

    Raises:
        ConfigError: It cannot be read, is not UTF-8 or not TOML; the message has its line and column.
    """
    content = read_bytes(path)
    return None if content is None else parse_toml(content, str(path))


def parse_toml(content: bytes, source: str) -> TomlText:
    """Give the values of a file's bytes.

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
    if "overwrite a value" in what or "twice" in what:
        what = f"duplicate key: {what[0].lower()}{what[1:]}"
        hint = "remove one of the two"
    else:
        hint = "strings need quotes, keys an equals sign; see https://toml.io"
    shown = lines[number - 1] if 0 < number <= len(lines) else ""
    frame = f"\n  |\n{number} | {shown[:200]}" if shown.strip() else ""
    return ConfigError(f"{source}:{number}:{column}: not TOML: {what[0].lower()}{what[1:]}{frame}", hint=hint)
