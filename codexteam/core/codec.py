"""Dataclasses as JSON, and back: whatever is stored, and every answer of a role. Older forms stay readable.

Values are written by their types: dataclasses as objects, enums as their values, paths as texts, tuples and frozensets
as lists, mappings as objects. An object says its class under `"type"`, so that a union of dataclasses can be read.
`stored` on a class says where its form differs: another tag, names of former versions, what a missing field means.
JSON objects inside (`JSONObject`) pass as they are.

Reading is strict where a value is there and lenient where one is not: a field of the wrong type is an error that names
its place, one that is missing has its default, an unknown one is left out (a newer version wrote it).
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import TypeVar, Union, cast, get_args, get_origin, get_type_hints

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import StoreError, StoreVersionError

T = TypeVar("T")

_DAMAGED = "it is damaged, or another program wrote it"
_NEWER = "use the codexteam that wrote it, or a newer one"

#: How much of a value that does not fit is shown.
_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class StoredForm:
    """How a class is written, where that is not by its names of today."""

    tag: str = "type"
    """The key that says which class an object is; empty for a class that is never one of several."""
    name: str = ""
    """What stands there; the class's name when empty."""
    aliases: tuple[str, ...] = ()
    """What older versions wrote there."""
    version: int = 0
    """Written with it unless 0; a reader takes its own version and older ones."""
    missing: Mapping[str, JSONValue] = field(default_factory=dict)
    """By names in JSON, what fields mean that an older version did not write, where that is not their default of today."""
    required: tuple[str, ...] = ()
    """Fields that have a default in code and must be there in JSON all the same."""
    optional: tuple[str, ...] = ()
    """Fields that are left out while they are None or empty."""
    derived: tuple[str, ...] = ()
    """Fields that follow from others and are not written."""
    flat: tuple[str, ...] = ()
    """Fields whose own fields stand beside the others instead of in an object of their own."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names in JSON of fields that are called otherwise in code."""
    as_list: bool = False
    """Written as a list of its values, in the order of its fields."""


_PLAIN = StoredForm()
_FORMS: dict[type, StoredForm] = {}


def stored(form: StoredForm) -> Callable[[type[T]], type[T]]:
    """Let a dataclass be written in another form than its own."""

    def note(kind: type[T]) -> type[T]:
        _FORMS[kind] = form
        return kind

    return note


def encode(value: object) -> JSONValue:
    """Return a value as JSON.

    Raises:
        TypeError: it holds something that has no form.
    """
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, Enum):
            return value
        case Enum():
            return str(value.value)
        case Mapping():
            return {str(key.value if isinstance(key, Enum) else key): encode(item) for key, item in value.items()}
        case tuple() | list():
            return [encode(item) for item in value]
        case frozenset():
            return sorted((encode(item) for item in value), key=str)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _encode_dataclass(value)
        case _ if _is_path(type(value)):
            return str(value)
        case _:
            raise TypeError(f"cannot write a {type(value).__name__}")


def encode_object(value: object) -> JSONObject:
    """Return a dataclass as a JSON object.

    Raises:
        TypeError: it is not one, or holds something that has no form.
    """
    encoded = encode(value)
    if not isinstance(encoded, dict):
        raise TypeError(f"cannot write a {type(value).__name__} as an object")
    return encoded


def encode_fields(value: object) -> JSONObject:
    """Return the fields of a dataclass, without its class."""
    kind: type = type(value)
    form = form_of(kind)
    written: JSONObject = {}
    for each in _fields(kind):
        item = getattr(value, each.name)
        if each.name in form.derived or (each.name in form.optional and (item is None or item == ())):
            continue
        if each.name not in form.flat:
            written[form.names.get(each.name, each.name)] = encode(item)
        elif item is not None:
            written |= encode_object(item)
    return written


def decode(kind: type[T], value: JSONValue, where: str) -> T:
    """Return the value back.

    Args:
        kind: What it is.
        value: As `encode` gave it, now or in an older version.
        where: What it is called in errors.

    Raises:
        StoreVersionError: a newer version wrote it.
        StoreError: it cannot be read; says where and why.
    """
    return cast("T", _decode(kind, value, where))


def form_of(kind: type) -> StoredForm:
    """Return how a class is written."""
    return _FORMS.get(kind, _PLAIN)


def _encode_dataclass(value: object) -> JSONValue:
    kind: type = type(value)
    form = form_of(kind)
    if form.as_list:
        return [encode(getattr(value, each.name)) for each in _fields(kind)]
    head: JSONObject = {"version": form.version} if form.version else {}
    if form.tag:
        head[form.tag] = form.name or kind.__name__
    return {**head, **encode_fields(value)}


@lru_cache(maxsize=512)
def _fields(kind: type) -> tuple[Field[object], ...]:
    return fields(kind)


@lru_cache(maxsize=512)
def _hints(kind: type) -> dict[str, object]:
    # a module may name only the one of the two that it uses itself
    return get_type_hints(kind, localns={"JSONObject": JSONObject, "JSONValue": JSONValue})


def _is_path(kind: type) -> bool:
    return hasattr(kind, "__fspath__")


def _decode(kind: object, value: JSONValue, where: str) -> object:
    origin = get_origin(kind)
    if origin is not None:
        return _decode_generic(origin, get_args(kind), value, where)
    supertype = getattr(kind, "__supertype__", None)
    if supertype is not None:
        return _decode(supertype, value, where)
    if not isinstance(kind, type):
        raise StoreError(f"{where}: {kind} has no stored form")
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            allowed = ", ".join(str(choice.value) for choice in kind)
            raise _misfit(where, value, f"one of {allowed}") from None
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if _is_path(kind) and isinstance(value, str):
        return cast("Callable[[str], object]", kind)(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _misfit(where, value, _WORDS.get(kind, kind.__name__))


def _decode_generic(origin: object, args: tuple[object, ...], value: JSONValue, where: str) -> object:
    if origin in {Union, UnionType}:
        return _decode_union(args, value, where)
    if origin is dict:
        return _object(value, where)
    if origin is tuple:
        items = _list(value, where)
        inner = [args[0]] * len(items) if args[-1] is Ellipsis else list(args)
        if len(inner) != len(items):
            raise _misfit(where, value, f"a list of {len(inner)}")
        return tuple(
            _decode(item, given, f"{where}[{n}]") for n, (item, given) in enumerate(zip(inner, items, strict=True))
        )
    if origin is frozenset:
        return frozenset(_decode(args[0], item, where) for item in _list(value, where))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        table = _object(value, where)
        return {_decode(args[0], key, where): _decode(args[1], item, f"{where}.{key}") for key, item in table.items()}
    raise StoreError(f"{where}: {origin} has no stored form")


def _decode_dataclass(kind: type, value: JSONValue, where: str) -> object:
    form, hints = form_of(kind), _hints(kind)
    if form.as_list:
        values = _list(value, where)
        value = {each.name: item for each, item in zip(_fields(kind), values, strict=False)}
    table = {**form.missing, **_object(value, where)}
    _check_version((kind,), table, where)
    given: dict[str, object] = {}
    for each in _fields(kind):
        name = form.names.get(each.name, each.name)
        if each.name in form.derived:
            continue
        if each.name in form.flat:
            given[each.name] = _decode_flat(hints[each.name], table, where)
        elif name in table:
            given[each.name] = _decode(hints[each.name], table[name], f"{where}.{name}")
        elif each.name in form.required or (each.default is MISSING and each.default_factory is MISSING):
            raise StoreError(f"{where}: {name} is missing", hint=_DAMAGED)
    return kind(**given)


def _decode_flat(kind: object, table: JSONObject, where: str) -> object:
    args = get_args(kind)
    if NoneType not in args:
        return _decode(kind, table, where)
    (inner,) = (arg for arg in args if arg is not NoneType)
    names = {each.name for each in _fields(cast("type", inner))}
    return _decode(inner, table, where) if names & table.keys() else None


def _decode_union(args: tuple[object, ...], value: JSONValue, where: str) -> object:
    if value is None and NoneType in args:
        return None
    choices = [arg for arg in args if arg is not NoneType]
    if len(choices) == 1:
        return _decode(choices[0], value, where)
    kinds = [choice for choice in choices if isinstance(choice, type)]
    table = _object(value, where)
    _check_version(kinds, table, where)
    for kind in kinds:
        form = form_of(kind)
        if table.get(form.tag) in (form.name or kind.__name__, *form.aliases):
            return _decode(kind, table, where)
    tag = form_of(kinds[0]).tag
    raise StoreError(f"{where}: unknown {tag} {table.get(tag)!r}", hint=_NEWER)


def _check_version(kinds: tuple[type, ...] | list[type], table: JSONObject, where: str) -> None:
    newest = max(form_of(kind).version for kind in kinds)
    found = table.get("version")
    if newest and isinstance(found, int) and found > newest:
        raise StoreVersionError(
            f"{where}: version {found}; this codexteam reads versions up to {newest}",
            hint=_NEWER,
        )


_WORDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
}


def _misfit(where: str, value: JSONValue, wanted: str) -> StoreError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
    return StoreError(f"{where}: expected {wanted}, found {shown}", hint=_DAMAGED)


def _list(value: JSONValue, where: str) -> list[JSONValue]:
    if not isinstance(value, list):
        raise _misfit(where, value, "a list")
    return value


def _object(value: JSONValue, where: str) -> JSONObject:
    if not isinstance(value, dict):
        raise _misfit(where, value, "an object")
    return value
