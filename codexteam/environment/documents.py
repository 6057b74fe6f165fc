"""A repository's files of configuration as values, read once, with one line for each that cannot be read."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass, field

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.environment.repository_view import RepositoryView
from codexteam.environment.yaml_values import UnreadableYamlError, read_yaml


@dataclass(slots=True)
class Documents:
    """Reads files of a view; `problems` has a line for each that was there and could not be read."""

    view: RepositoryView
    problems: list[str] = field(default_factory=list)
    _known: dict[str, JSONValue] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Return whether a file is there."""
        return self.view.read(path) is not None

    def first(self, folder: str, names: Sequence[str]) -> str | None:
        """Return the path of the first of several names that is in a folder."""
        return next((path for name in names if self.has(path := join(folder, name))), None)

    def text(self, path: str) -> str:
        """Return a file's text; empty when it is not there."""
        return self.view.text(path)

    def toml(self, path: str) -> JSONObject:
        """Return the values of a TOML file; none of them when it is not there or does not parse."""
        return self._object(path, "TOML")

    def json(self, path: str) -> JSONObject:
        """Return the values of a JSON file, which may have comments and trailing commas."""
        return self._object(path, "JSON")

    def yaml(self, path: str) -> JSONObject:
        """Return the values of a YAML file."""
        return self._object(path, "YAML")

    def ini(self, path: str) -> ConfigParser:
        """Return the sections of an INI file."""
        parser = ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
        parser.optionxform = lambda optionstr: optionstr.lower().replace("-", "_")  # type: ignore[method-assign]
        try:
            parser.read_string(self.text(path))
        except ConfigParserError as error:
            self.say(f"{path} cannot be read as INI: {clean_line(str(error))[:160]}")
        return parser

    def say(self, line: str) -> None:
        """Keep a line for the user, once."""
        if line not in self.problems:
            self.problems.append(clean_line(line))

    def _object(self, path: str, kind: str) -> JSONObject:
        if path not in self._known:
            self._known[path] = self._parsed(path, kind)
        found = self._known[path]
        return found if isinstance(found, dict) else {}

    def _parsed(self, path: str, kind: str) -> JSONValue:
        data = self.view.read(path)
        if data is None:
            return None
        text = data.decode("utf-8-sig", "replace")
        try:
            match kind:
                case "TOML":
                    # dates are texts here: nothing that is read from these files is one
                    found: JSONValue = json.loads(json.dumps(tomllib.loads(text), default=str))
                case "JSON":
                    found = json.loads(without_comments(text))
                case _:
                    found = read_yaml(text)
        except (UnreadableYamlError, ValueError) as error:
            self.say(f"{path} cannot be read as {kind}, so it is not used: {clean_line(str(error))[:160]}")
            return None
        except RecursionError:
            self.say(f"{path} cannot be read as {kind}, so it is not used: its values are nested too deeply")
            return None
        if not isinstance(found, dict):
            self.say(f"{path} holds no mapping, so it is not used")
        return found


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder, which is empty for the root."""
    return f"{folder}/{name}" if folder else name


def dig(value: JSONValue, *keys: str) -> JSONValue:
    """Return what stands under nested keys; None where one is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def mapping(value: JSONValue) -> JSONObject:
    """Return a mapping; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def strings(value: JSONValue) -> list[str]:
    """Return the texts of a list, or the one text as a list."""
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def texts_below(value: JSONValue) -> Iterator[str]:
    """Return every text in a value, nested ones too."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case list() as found:
                waiting += found
            case dict() as found:
                waiting += found.values()
            case _:
                continue


def without_comments(text: str) -> str:
    """Return JSON out of JSON with comments and trailing commas; positions in lines stay."""
    pattern = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    plain = pattern.sub(lambda match: match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0]), text)
    comma = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
    return comma.sub(lambda match: match[0] if match[0].startswith('"') else " ", plain)
