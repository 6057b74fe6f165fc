"""A small language for what a table of configuration may hold, and the check of a value against it."""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from codexteam.config.toml_file import KeyPath
from codexteam.core.ids import JSONValue


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    may_be_empty: bool = True


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, or with `fraction` any number, within bounds that both count."""

    low: float = -(2**63)
    high: float = 2**63 - 1
    fraction: bool = False


@dataclass(frozen=True, slots=True)
class SizeKind:
    """A number of bytes as a string with a unit, such as `4GiB`."""


@dataclass(frozen=True, slots=True)
class ChoiceKind:
    """One of some words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """An array, all of one kind."""

    of: "Schema"


@dataclass(frozen=True, slots=True)
class Entries:
    """A table whose keys are the user's own names."""

    of: "Schema"


@dataclass(frozen=True, slots=True)
class TableKind:
    """A table of known keys; with `others`, unknown keys are names whose values are of that kind."""

    keys: Mapping[str, "Schema"]
    others: "Schema | None" = None
    required: tuple[str, ...] = ()
    closed: bool = False
    """An unknown key is an error, not a warning."""
    unknown: "Schema | None" = None
    """What an unknown key must hold all the same; None is anything."""
    misplaced: frozenset[str] | None = None
    """Of a closed table that newer programs may know more of: the unknown keys that are an error all the same."""


@dataclass(frozen=True, slots=True)
class Either:
    """Any of some kinds; a table is held against the table among them."""

    options: tuple["Schema", ...]


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever TOML can say."""


UNKNOWN_KEY: Final = "unknown key"

Schema: TypeAlias = Text | Flag | Number | SizeKind | ChoiceKind | Items | Entries | TableKind | Either | Anything


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one value."""

    path: KeyPath
    found: str
    allowed: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """What a check found."""

    problems: list[Problem] = field(default_factory=list)
    unknown: list[Problem] = field(default_factory=list)
    """Unknown keys, each with a guess at what was meant."""


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text: long lists of keys read best as prose."""
    return tuple(text.split())


def check(value: JSONValue, schema: Schema, path: KeyPath = ()) -> SchemaCheck:
    """Check a value against a schema."""
    result = SchemaCheck()
    _check(value, schema, path, result)
    return result


def dotted(path: KeyPath) -> str:
    """Return a path as TOML writes it: `a.b`, `servers[0].name`, `projects."/tmp/x"`."""
    shown = ""
    for key in path:
        if isinstance(key, int):
            shown += f"[{key}]"
        else:
            bare = key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key)
            shown += ("." if shown else "") + (key if bare else f'"{key}"')
    return shown


def describe(value: object) -> str:
    """Return a value as a message shows it: its kind, and itself where it is short."""
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f'the string "{value[:60]}{"..." if len(value) > 60 else ""}"'
    if isinstance(value, list):
        return f"an array of {len(value)}"
    return "a table" if isinstance(value, dict) else f"the date or time {value}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean ...?` for the nearest known word, or the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else ""


def allowed(schema: Schema) -> str:
    """Say what a schema allows, in a few words."""
    match schema:
        case Text():
            return "a string" if schema.may_be_empty else "a string that is not empty"
        case Flag():
            return "true or false"
        case Number():
            return _number(schema)
        case SizeKind():
            return "a size such as `512MiB` or `4GiB`"
        case ChoiceKind():
            return _one_of([f"`{word}`" for word in schema.words])
        case Items():
            return f"an array, each item {allowed(schema.of)}"
        case Entries() | TableKind():
            return "a table"
        case Either():
            return " or ".join(dict.fromkeys(allowed(option) for option in schema.options))
        case Anything():
            return "anything"


def _number(schema: Number) -> str:
    kind = "a number" if schema.fraction else "an integer"
    if schema.low > -(2**31) and schema.high < 2**31 - 1:
        return f"{kind} from {schema.low:g} to {schema.high:g}"
    return f"{kind}, at least {schema.low:g}" if schema.low > -(2**31) else kind


def _one_of(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"


def _check(value: JSONValue, schema: Schema, path: KeyPath, result: SchemaCheck) -> None:
    match schema:
        case Items() if isinstance(value, list):
            for number, item in enumerate(value):
                _check(item, schema.of, (*path, number), result)
        case Entries() if isinstance(value, dict):
            for key, item in value.items():
                _check(item, schema.of, (*path, key), result)
        case TableKind() if isinstance(value, dict):
            _check_table(value, schema, path, result)
        case Either():
            _check_either(value, schema, path, result)
        case _ if not _fits(value, schema):
            hint = (
                did_you_mean(value, schema.words) if isinstance(schema, ChoiceKind) and isinstance(value, str) else ""
            )
            result.problems.append(Problem(path, describe(value), allowed(schema), hint))
        case _:
            pass


def _check_table(value: dict[str, JSONValue], schema: TableKind, path: KeyPath, result: SchemaCheck) -> None:
    for key, item in value.items():
        known = schema.keys.get(key, schema.others)
        if known is not None:
            _check(item, known, (*path, key), result)
            continue
        unknown = Problem((*path, key), UNKNOWN_KEY, "a known key", did_you_mean(key, schema.keys))
        refused = schema.closed and (schema.misplaced is None or key in schema.misplaced)
        (result.problems if refused else result.unknown).append(unknown)
        if schema.unknown is not None:
            _check(item, schema.unknown, (*path, key), result)
    result.problems.extend(
        Problem(path, f"no key `{key}`", f"a table with `{key}`") for key in schema.required if key not in value
    )


def _check_either(value: JSONValue, schema: Either, path: KeyPath, result: SchemaCheck) -> None:
    attempts = []
    for option in schema.options:
        attempt = SchemaCheck()
        _check(value, option, path, attempt)
        if not attempt.problems:
            result.unknown.extend(attempt.unknown)
            return
        if isinstance(option, TableKind | Entries) and isinstance(value, dict):
            attempts.append(attempt)
    if attempts:
        result.problems.extend(attempts[0].problems)
    else:
        choices = [word for option in schema.options if isinstance(option, ChoiceKind) for word in option.words]
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        result.problems.append(Problem(path, describe(value), allowed(schema), hint))


def _fits(value: JSONValue, schema: Schema) -> bool:
    match schema:
        case Text():
            return isinstance(value, str) and (schema.may_be_empty or bool(value))
        case Flag():
            return isinstance(value, bool)
        case Number():
            return _is_number(value, schema)
        case SizeKind():
            return isinstance(value, str) and parse_size(value) is not None
        case ChoiceKind():
            return isinstance(value, str) and value in schema.words
        case Anything():
            return True
        case _:
            return False


def _is_number(value: JSONValue, schema: Number) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, float) and not (schema.fraction and math.isfinite(value)):
        return False
    return schema.low <= value <= schema.high


_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def parse_size(text: str) -> int | None:
    """Return the bytes that a size such as `512MiB` means, or None where it is not a size above zero."""
    number = text.rstrip("BKMGTi")
    unit = text[len(number) :]
    digits = number.strip()
    if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS or len(digits) > 15:
        return None
    return int(digits) * _UNITS[unit] or None


def leaves(value: JSONValue, path: KeyPath = ()) -> Iterator[tuple[KeyPath, JSONValue]]:
    """Return every value that is not a table, with its path; arrays are values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value
