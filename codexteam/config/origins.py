"""Where an effective value comes from: a place counts as its origin only if it contains that very value. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from codexteam.config.layers import LayerKind, MergedLayers
from codexteam.config.settings import StatedValue
from codexteam.config.toml_file import KeyPath
from codexteam.core.ids import JSONObject, JSONValue

BUILT_IN = LayerKind.BUILT_IN.value

Place = Callable[[KeyPath], str]
"""Says where a value stands."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from."""

    place: str = BUILT_IN
    asked: StatedValue | None = None
    """What was asked for in other words, as by the name of a tier, or asked for in vain."""
    capped_by: StatedValue | None = None
    """What keeps what was asked for from counting."""


def trace(value: str | None, said: StatedValue | None, cap: StatedValue | None = None) -> Origin:
    """Return the origin of a value, given the place that asked for it and the one that may have capped it."""
    if cap is not None:
        return Origin(cap.place if cap.value == value else BUILT_IN, said, cap)
    if said is None:
        return Origin()
    return Origin(said.place) if said.value == value else Origin(asked=said)


def stated(values: JSONObject, path: tuple[str, ...], place: Place) -> StatedValue | None:
    """Return a table's value of a key and its place; None if it is missing or empty."""
    inner: JSONValue = values
    for key in path:
        inner = inner.get(key) if isinstance(inner, dict) else None
    if inner is None or inner == "" or isinstance(inner, dict):
        return None
    return StatedValue(".".join(path), words(inner), place(path))


def stated_by(merged: MergedLayers, *path: str) -> StatedValue | None:
    """Return the merged layers' value of a key and its place."""
    return stated(merged.values, path, merged.place)


def words(value: JSONValue) -> str:
    """Return a value as a line of TOML has it, without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(words(item) for item in value) if isinstance(value, list) else str(value)
