"""Events and states as JSON, and back. What was written by an older version stays readable.

Values are written by their types: dataclasses as objects, enums as their values, tuples and frozensets as lists,
mappings as objects. Where a type is a union of dataclasses, the object says which one under `"type"`.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Union, cast, get_args, get_origin, get_type_hints

from codexteam.core.draft import Draft
from codexteam.core.events import Event
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.core.plan_graph import graph_of
from codexteam.core.state import RunState
from codexteam.errors import StoreError, StoreVersionError

#: The version of what is written; a reader refuses newer ones.
SCHEMA_VERSION = 1

#: One line for each version, oldest first: what changed, and how older values are read.
SCHEMA_HISTORY = {1: "the first"}

#: Fields of RunState that follow from others.
_DERIVED = frozenset({"graph", "missing", "ready"})

_EVENTS: Mapping[str, type[Event]] = {event.__name__: event for event in get_args(Event)}


def encode_event(event: Event) -> tuple[str, JSONObject]:
    """Give an event's kind and its fields."""
    return type(event).__name__, _encode_fields(event)


def decode_event(kind: str, payload: JSONObject) -> Event:
    """Give the event back.

    Raises:
        StoreError: there is no such kind, or its fields are not as they must be.
    """
    try:
        event_type = _EVENTS[kind]
    except KeyError:
        raise StoreError(f"state: unknown event {kind!r}", hint="was it written by a newer codexteam?") from None
    return cast("Event", _decode(event_type, payload, kind))


def encode_state(state: RunState) -> JSONObject:
    """Give a state as a checkpoint."""
    body = {name: value for name, value in _encode_fields(state).items() if name not in _DERIVED}
    return {"schema": SCHEMA_VERSION, "state": body}


def decode_state(checkpoint: JSONObject) -> RunState:
    """Give the state back.

    Raises:
        StoreVersionError: it was written by a newer version.
        StoreError: it is not a checkpoint.
    """
    schema = checkpoint.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema not in SCHEMA_HISTORY:
        raise StoreVersionError(
            f"state: checkpoint of schema {schema}; this version reads up to {SCHEMA_VERSION}",
            hint="resume with the codexteam that wrote it, or a newer one",
        )
    state = cast("RunState", _decode(RunState, checkpoint.get("state"), "state"))
    draft = Draft.open(state)
    draft.set(graph=graph_of([known.task for known in state.tasks.values()]))
    draft.count_dependencies()
    return draft.close()[0]


def encode(value: object) -> JSONValue:
    """Give any value of the core as JSON."""
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
            return {"type": type(value).__name__, **_encode_fields(value)}
        case _:
            raise TypeError(f"cannot write a {type(value).__name__}")


def _encode_fields(value: object) -> JSONObject:
    return {field.name: encode(getattr(value, field.name)) for field in fields(value)}  # type: ignore[arg-type]  # dataclasses only


@lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _decode(kind: object, value: JSONValue, where: str) -> object:
    origin, args = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return _decode_union(args, value, where)
    if origin is tuple:
        items = _list(value, where)
        inner = [args[0]] * len(items) if args[-1] is Ellipsis else list(args)
        return tuple(
            _decode(item, given, f"{where}[{n}]") for n, (item, given) in enumerate(zip(inner, items, strict=True))
        )
    if origin is frozenset:
        return frozenset(_decode(args[0], item, where) for item in _list(value, where))
    if origin is not None and issubclass(origin, Mapping):
        table = _object(value, where)
        return {_decode(args[0], key, where): _decode(args[1], item, f"{where}.{key}") for key, item in table.items()}
    supertype = getattr(kind, "__supertype__", None)
    if supertype is not None:
        return _decode(supertype, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise StoreError(f"state: {where}: {value!r} is no {kind.__name__}") from None
    if isinstance(kind, type) and is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise StoreError(f"state: {where}: {value!r} is not of the type {kind}")


def _decode_dataclass(kind: type, value: JSONValue, where: str) -> object:
    table = _object(value, where)
    hints = _hints(kind)
    known = {field.name for field in fields(kind)} - (_DERIVED if kind is RunState else frozenset())
    given = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in table.items() if name in known}
    try:
        return kind(**given)
    except TypeError as error:
        raise StoreError(f"state: {where}: {error}") from error


def _decode_union(args: tuple[object, ...], value: JSONValue, where: str) -> object:
    if value is None and NoneType in args:
        return None
    choices = [arg for arg in args if arg is not NoneType]
    if len(choices) == 1:
        return _decode(choices[0], value, where)
    name = _object(value, where).get("type")
    for choice in choices:
        if getattr(choice, "__name__", None) == name:
            return _decode(choice, value, where)
    raise StoreError(f"state: {where}: unknown type {name!r}")


def _list(value: JSONValue, where: str) -> list[JSONValue]:
    if not isinstance(value, list):
        raise StoreError(f"state: {where}: a list is wanted, found {value!r}")
    return value


def _object(value: JSONValue, where: str) -> JSONObject:
    if not isinstance(value, dict):
        raise StoreError(f"state: {where}: an object is wanted, found {value!r}")
    return value
