"""YAML as plain values, for files that strangers wrote.

Values are built from the parser's events, without recursion: a file may be deep, or double itself with aliases, and the
answer is one line. Only `true` and `false` are truth values (YAML 1.2): the key `on` stays a word.
"""

import re
from dataclasses import dataclass, field

import yaml

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 64
#: Values in a file with every alias written out: a thousand times what people write.
_MAX_VALUES = 200_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?\d{1,18}|0x[0-9a-fA-F]{1,15}|0o[0-7]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d{1,3})?")


class UnreadableYamlError(ValueError):
    """A file that is not used; the text is one line."""


def read_yaml(text: str) -> JSONValue:
    """Return the first document of a YAML text.

    Raises:
        UnreadableYamlError: it does not parse, is too large or too deep, or grows too much.
    """
    if len(text) > _MAX_BYTES:
        raise UnreadableYamlError(f"it is larger than {_MAX_BYTES >> 10} KB")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentEndEvent):
                break
            builder.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise UnreadableYamlError(f"{clean_line(str(problem))}{line}") from error
    except RecursionError:
        raise UnreadableYamlError("its values are nested too deeply") from None
    return builder.value


@dataclass(slots=True)
class _Open:
    """A list or mapping that has not ended."""

    value: "list[JSONValue] | JSONObject"
    anchor: str | None
    size: int = 1
    key: str | None = None
    merged: list[JSONObject] = field(default_factory=list)


@dataclass(slots=True)
class _Builder:
    value: JSONValue = None
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, tuple[JSONValue, int]] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                value = _scalar(event)
                self._keep(event.anchor, value, 1)
                self._put(value, 1)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise UnreadableYamlError(
                        f"the alias *{clean_line(str(event.anchor))} refers to itself or to nothing"
                    )
                self._put(*self._anchors[event.anchor])
            case yaml.SequenceStartEvent():
                self._start(_Open([], event.anchor))
            case yaml.MappingStartEvent():
                self._start(_Open({}, event.anchor))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self._open.pop()
                if isinstance(done.value, dict):
                    for merged in done.merged:
                        done.value |= {key: value for key, value in merged.items() if key not in done.value}
                self._keep(done.anchor, done.value, done.size)
                self._put(done.value, done.size)
            case _:
                return

    def _start(self, opened: _Open) -> None:
        if len(self._open) >= _MAX_DEPTH:
            raise UnreadableYamlError(f"its values are nested deeper than {_MAX_DEPTH} levels")
        self._open.append(opened)

    def _keep(self, anchor: str | None, value: JSONValue, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)

    def _put(self, value: JSONValue, size: int) -> None:
        if not self._open:
            self.value = value
            return
        top = self._open[-1]
        top.size += size
        if top.size > _MAX_VALUES:
            raise UnreadableYamlError(f"its aliases make more than {_MAX_VALUES} values of it")
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.key = _key(value)
        elif top.key == "<<":
            parts = value if isinstance(value, list) else [value]
            top.merged += [part for part in parts if isinstance(part, dict)]
            top.key = None
        else:
            top.value[top.key] = value
            top.key = None


def _key(value: JSONValue) -> str:
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case None:
            return ""
        case _:
            raise UnreadableYamlError("a list or mapping is a key in it")


def _scalar(event: yaml.ScalarEvent) -> JSONValue:
    text = str(event.value)
    if event.style in {"'", '"', "|", ">"} or (event.tag or "").endswith(":str"):
        return text
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
