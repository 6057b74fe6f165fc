"""The table `[codexteam]`: what it may hold, and the settings it becomes. Both follow from `TeamSettings` alone.

A key is a field, and its type says what the key may hold: `Annotated` adds bounds or choices (`core.limits`), a tuple is
an array, a mapping is a table of the user's own names, a dataclass a table of known keys. A field `..._bytes` is the key
`..._size`, written with a unit (`memory_size = "4GiB"`), instead of a long number. A new setting is a field in
`config/settings.py`, a line in `config.example.toml` and what it does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from codexteam.config.schema import (
    ChoiceKind,
    Either,
    Entries,
    Flag,
    Items,
    Number,
    Schema,
    SizeKind,
    TableKind,
    Text,
    parse_size,
)
from codexteam.config.settings import TeamSettings
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.limits import Between, OneOf, Revocable

_T = TypeVar("_T")

#: Takes back a limit that another layer or an earlier command line sets.
_NO_LIMIT: Final = "none"


def table_of(kind: type) -> TableKind:
    """Return the schema of a table whose settings are this dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    required = tuple(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    keys = {
        _key_of(field.name): SizeKind() if field.name.endswith("_bytes") else _schema_of(hints[field.name])
        for field in fields(kind)
    }
    return TableKind(keys, required=required, closed=True)


def _key_of(name: str) -> str:
    return f"{name.removesuffix('_bytes')}_size" if name.endswith("_bytes") else name


def _schema_of(kind: object, notes: Sequence[object] = ()) -> Schema:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _schema_of(args[0], args[1:])
    if origin in {Union, UnionType}:  # with None, which is the key left out
        inner = _schema_of(_without_none(args), notes)
        return Either((inner, ChoiceKind((_NO_LIMIT,)))) if Revocable() in notes else inner
    if origin is tuple:
        return Items(_schema_of(args[0]))
    if origin is Mapping:
        return Entries(_schema_of(args[1]))
    for note in notes:
        match note:
            case OneOf(words):
                return ChoiceKind(words)
            case Between(low, high):
                return Number(low, high, fraction=kind is float)
            case _:
                continue
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ChoiceKind(tuple(kind))
    if isinstance(kind, type) and is_dataclass(kind):
        return table_of(kind)
    if kind in {str, Path}:
        return Text(may_be_empty=False)
    if kind is bool:
        return Flag()
    raise TypeError(f"a setting of type {kind} needs bounds or choices: Annotated[..., Between(...)]")


def _without_none(args: tuple[object, ...]) -> object:
    (kind,) = (arg for arg in args if arg is not NoneType)
    return kind


TEAM = table_of(TeamSettings)

#: What a project's file may not set: it would send the user's secrets or work somewhere else.
FORBIDDEN_TO_PROJECTS = (
    ("sandbox", "engines"),
    ("sandbox", "kubernetes"),
    ("sandbox", "environment"),
    ("sandbox", "proxy_secrets"),
    ("sandbox", "setup_secrets"),
    ("sandbox", "runtime"),
    ("sandbox", "require_runtime"),
    ("executor",),
    ("access",),
    ("allow_guarded",),
    ("deploy",),
    ("mcp_servers",),
    ("notifications",),
    ("repos",),
    ("record_file",),
    ("replay_file",),
)


def build_team(table: JSONObject, base: Path) -> TeamSettings:
    """Return the settings of a `[codexteam]` table that `TEAM` has accepted.

    Args:
        table: The merged table.
        base: What relative paths of files start from.
    """
    team = _built(TeamSettings, table, base)
    sandbox = table.get("sandbox")
    own = sandbox.get("role_limits") if isinstance(sandbox, dict) else None
    if not isinstance(own, dict):
        return team
    # what a role's table leaves out is as it is for all roles
    limits = {role: _changed(team.sandbox.limits, cast("JSONObject", own[role]), base) for role in own}
    return replace(team, sandbox=replace(team.sandbox, role_limits=limits))


def _built(kind: type[_T], table: JSONObject, base: Path) -> _T:
    return kind(**_values(kind, table, base))


def _changed(default: _T, table: JSONObject, base: Path) -> _T:
    return cast("_T", replace(cast("Any", default), **_values(type(default), table, base)))


def _values(kind: type, table: JSONObject, base: Path) -> dict[str, Any]:
    """Return the fields that a table sets; the schema has checked their types."""
    hints = get_type_hints(kind, include_extras=True)
    given = {field.name: table[key] for field in fields(kind) if (key := _key_of(field.name)) in table}
    return {
        name: parse_size(str(value)) if name.endswith("_bytes") else _value(hints[name], value, base)
        for name, value in given.items()
        if not (value == _NO_LIMIT and Revocable() in getattr(hints[name], "__metadata__", ()))
    }


def _value(kind: object, value: JSONValue, base: Path) -> object:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _value(args[0], value, base)
    if origin in {Union, UnionType}:
        return _value(_without_none(args), value, base)
    match value:
        case list():
            return tuple(_value(args[0], item, base) for item in value)
        case dict() if origin is Mapping:
            return {name: _value(args[1], item, base) for name, item in value.items()}
        case dict():
            return _built(cast("type[object]", kind), value, base)
        case _ if kind is float:  # a whole number stands for a fraction too: 5 is 5.0
            return float(cast("float", value))
        case str() if kind is Path:
            return base / Path(value).expanduser()
        case _ if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value)
        case _:
            return value
