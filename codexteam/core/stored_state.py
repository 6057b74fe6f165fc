"""Events and states of a run as they are stored, by `core.codec`. What an older version wrote stays readable."""

from collections.abc import Mapping
from typing import get_args

from codexteam.core.codec import decode, encode_fields
from codexteam.core.events import Event
from codexteam.core.ids import JSONObject
from codexteam.core.plan_graph import graph_of
from codexteam.core.state import RunState
from codexteam.core.transition import Transition
from codexteam.errors import StoreError, StoreVersionError

#: The version of a checkpoint; a reader refuses newer ones.
SCHEMA_VERSION = 1

#: One line for each version, oldest first: what changed, and how older values are read.
SCHEMA_HISTORY = {1: "the first"}

_EVENTS: Mapping[str, type[Event]] = {event.__name__: event for event in get_args(Event)}


def encode_event(event: Event) -> tuple[str, JSONObject]:
    """Return an event's kind and its fields."""
    return type(event).__name__, encode_fields(event)


def decode_event(kind: str, payload: JSONObject) -> Event:
    """Return the event back.

    Raises:
        StoreError: there is no such kind, or its fields are not as they must be.
    """
    try:
        event_type = _EVENTS[kind]
    except KeyError:
        raise StoreError(f"state: unknown event {kind!r}", hint="was it written by a newer codexteam?") from None
    return decode(event_type, payload, f"state: {kind}")


def encode_state(state: RunState) -> JSONObject:
    """Return a state as a checkpoint."""
    return {"schema": SCHEMA_VERSION, "state": encode_fields(state)}


def decode_state(checkpoint: JSONObject) -> RunState:
    """Return the state back.

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
    state = decode(RunState, checkpoint.get("state"), "state")
    transition = Transition.open(state)
    transition.set(graph=graph_of([known.task for known in state.tasks.values()]))
    transition.count_dependencies()
    return transition.close()[0]
