"""The process that takes files apart: `python -m codexteam.adapters.code_map.parse_worker`.

It is a process of its own since what it reads is foreign and its parsers are C: a file that crashes one, or keeps it busy for
ever, costs this process and that file's definitions, and nothing else. It starts nothing, opens nothing, and has limits
on memory and on what it may write.

For each file it gets a line of JSON (`language`, `bytes`, `do`, `pattern`) and then the bytes; it answers with a line of JSON.
"""

import json
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, BinaryIO

from codexteam.adapters.code_map.languages import DEFINITIONS
from codexteam.core.code_words import counted_words
from codexteam.core.ids import JSONObject, JSONValue

if TYPE_CHECKING:
    from ast_grep_py import SgNode

_MEMORY_BYTES = 2 << 30
#: A process whose parent was killed does not work on for ever; the parent itself waits less.
_LONGEST_SECONDS = 60
#: Definitions of one file at most; what is behind them is lines.
_MOST_DEFINITIONS = 3_000
_MOST_MATCHES = 200
#: Lines that belong to no definition are taken in blocks of so many at most.
_BLOCK_LINES = 40
_SIGNATURE_CHARACTERS = 100
_WORDS_CHARACTERS = 40_000
#: A file with a line of so many characters was written by a program.
_LONGEST_LINE = 4_000

#: Nodes that a name is, where a definition has no field that says so.
_NAMES = frozenset(
    {"identifier", "type_identifier", "simple_identifier", "field_identifier", "property_identifier", "constant"}
)
#: What may be between a definition in C and the name in it.
_DECLARATORS = frozenset(
    {
        "function_declarator",
        "pointer_declarator",
        "reference_declarator",
        "parenthesized_declarator",
        "array_declarator",
        "qualified_identifier",
    }
)
#: A variable is a definition only if one of these is its value.
_FUNCTION_VALUES = frozenset({"arrow_function", "function_expression", "function", "class", "generator_function"})


@dataclass(slots=True)
class _Definition:
    name: str
    kind: str
    first: int
    last: int
    """Both counted from 0, and part of it."""
    signature: str
    own: list[int] = field(default_factory=list)
    """The lines that belong to no definition inside it."""


def has_parser() -> bool:
    """Return whether definitions can be read at all."""
    return find_spec("ast_grep_py") is not None


def take_apart(language: str, text: str) -> list[JSONValue]:
    """Return the parts of a file: `[name, kind, first line, last line, signature, words]`, lines counted from 1."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    definitions = [] if max(map(len, lines), default=0) > _LONGEST_LINE else _definitions(language, text)
    owners: list[_Definition | None] = [None] * len(lines)
    for one in definitions:  # outer ones come first
        last = min(one.last, len(lines) - 1)
        owners[one.first : last + 1] = [one] * (last + 1 - one.first)
    blocks: list[_Definition] = []
    for number, owner in enumerate(owners):
        if owner is not None:
            owner.own.append(number)
        elif blocks and blocks[-1].last == number - 1 and number - blocks[-1].first < _BLOCK_LINES:
            blocks[-1].last = number
            blocks[-1].own.append(number)
        else:
            blocks.append(_Definition("", "lines", number, number, "", [number]))
    parts: list[JSONValue] = []
    for one in sorted([*definitions, *blocks], key=lambda one: (one.first, -one.last)):
        own = "\n".join(lines[number] for number in one.own)[:_WORDS_CHARACTERS]
        if one.kind == "lines":
            if not own.strip():
                continue
            one.signature = _clipped(next(line for line in own.split("\n") if line.strip()))
        parts.append([one.name, one.kind, one.first + 1, one.last + 1, one.signature, counted_words(own)])
    return parts


def _definitions(language: str, text: str) -> list[_Definition]:
    kinds = DEFINITIONS.get(language, ())
    if not kinds or not has_parser():
        return []
    from ast_grep_py import SgRoot

    root = SgRoot(text, language).root()
    found = []
    for node in root.find_all({"rule": {"any": [{"kind": kind} for kind in kinds]}}):
        kind = node.kind()
        if kind == "variable_declarator" and not _is_function(node):
            continue
        name = _name_of(node)
        if name:
            place = node.range()
            found.append(_Definition(name, kind, place.start.line, place.end.line, _signature(node)))
            if len(found) >= _MOST_DEFINITIONS:
                break
    return sorted(found, key=lambda one: (one.first, -one.last))


def _is_function(node: "SgNode") -> bool:
    value = node.field("value")
    return value is not None and value.kind() in _FUNCTION_VALUES


def _name_of(node: "SgNode") -> str:
    named = node.field("name") or (node.field("type") if node.kind() == "impl_item" else None)
    if named is not None:
        return _clipped(named.text())
    at = node.field("declarator")
    while at is not None and at.kind() in _DECLARATORS:
        at = at.field("declarator") or at.field("name") or next(iter(at.named_children()), None)
    if at is not None:
        return _clipped(at.text())
    return next((_clipped(child.text()) for child in node.children() if child.kind() in _NAMES), "")


def _signature(node: "SgNode") -> str:
    line = node.text()[: 4 * _SIGNATURE_CHARACTERS].split("\n", 1)[0]
    return _clipped(line.rstrip(" {:"))


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SIGNATURE_CHARACTERS else line[: _SIGNATURE_CHARACTERS - 3] + "..."


def find_pattern(language: str, text: str, pattern: str) -> list[JSONValue]:
    """Return where a pattern such as `open($PATH, 'w')` matches: `[first line, last line, text]`, lines counted from 1."""
    from ast_grep_py import SgRoot

    found: list[JSONValue] = []
    for node in SgRoot(text, language).root().find_all(pattern=pattern):
        place = node.range()
        found.append([place.start.line + 1, place.end.line + 1, _clipped(node.text()[: 4 * _SIGNATURE_CHARACTERS])])
        if len(found) >= _MOST_MATCHES:
            break
    return found


def _confine() -> None:
    limits: Sequence[tuple[int, int]] = (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    )
    for kind, most in limits:
        resource.setrlimit(kind, (most, most))


def _serve(asked: BinaryIO, answers: BinaryIO) -> None:
    while line := asked.readline():
        order: JSONObject = json.loads(line)
        text = asked.read(int(str(order["bytes"]))).decode("utf-8", "replace")
        language = str(order["language"])
        signal.alarm(_LONGEST_SECONDS)
        try:
            if order["do"] == "find":
                answer: JSONValue = find_pattern(language, text, str(order["pattern"]))
            else:
                answer = take_apart(language, text)
        except (RuntimeError, ValueError, RecursionError, MemoryError) as error:
            answer = {"problem": f"{type(error).__name__}: {error}"[:300]}
        signal.alarm(0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _confine()
    _serve(sys.stdin.buffer, sys.stdout.buffer)
