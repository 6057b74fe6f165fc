"""Layers of configuration and their merge, in which every value keeps its origin."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from codexteam.config.toml_file import KeyPath, TomlText
from codexteam.core.ids import JSONObject, JSONValue


class LayerKind(StrEnum):
    """What a layer is, lowest first."""

    BUILT_IN = "built-in"
    SYSTEM = "system"
    USER = "user"
    TEAM = "codexteam"
    """`codexteam.config.toml` of the user."""
    PROFILE = "profile"
    PROJECT = "project"
    OVERRIDE = "override"
    """`-c`."""
    FLAG = "flag"
    MANAGED = "managed"


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of values."""

    kind: LayerKind
    name: str
    """A path, or the flag as typed."""
    base: Path
    """What relative paths in its values start from."""
    values: JSONObject = field(default_factory=dict)
    file: TomlText | None = field(default=None, repr=False)
    agents_folder: Path | None = None
    """Where this layer's role files are found."""

    def place(self, path: KeyPath) -> str:
        """Return `file:line:column` of a value, or the layer's name."""
        return self.file.place(path) if self.file else self.name


@dataclass(frozen=True, slots=True)
class MergedLayers:
    """The values of all layers, and where each comes from."""

    values: JSONObject
    origins: Mapping[KeyPath, Layer]
    """By the path of a value that is not a table."""

    def get(self, *path: str) -> JSONValue:
        """Return a value, or None where nobody set it."""
        found: JSONValue = self.values
        for key in path:
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return found

    def table(self, *path: str) -> JSONObject:
        """Return a table, empty where nobody set it."""
        found = self.get(*path)
        return found if isinstance(found, dict) else {}

    def text(self, *path: str) -> str | None:
        """Return a string, or None where nobody set it."""
        found = self.get(*path)
        return found if isinstance(found, str) else None

    def texts(self, *path: str) -> tuple[str, ...]:
        """Return an array of strings, empty where nobody set it."""
        found = self.get(*path)
        return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()

    def integer(self, *path: str) -> int | None:
        """Return an integer, or None where nobody set it."""
        found = self.get(*path)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def flag(self, *path: str, default: bool) -> bool:
        """Return a boolean."""
        found = self.get(*path)
        return found if isinstance(found, bool) else default

    def origin(self, path: KeyPath) -> Layer | None:
        """Return the layer of a value; of a table, the highest that set anything in it."""
        for length in range(len(path), 0, -1):
            layer = self.origins.get(path[:length])
            if layer:
                return layer
        inside = [layer for key, layer in self.origins.items() if key[: len(path)] == path]
        return inside[-1] if inside else None

    def place(self, path: KeyPath) -> str:
        """Return `file:line:column` of a value."""
        layer = self.origin(path)
        return layer.place(path) if layer else LayerKind.BUILT_IN.value

    def file_path(self, *path: str) -> Path | None:
        """Return a path that a value names, relative to the folder of the file that set it."""
        value = self.text(*path)
        layer = self.origin(path)
        if value is None or layer is None:
            return None
        return resolve_path(value, layer.base)


def resolve_path(value: str, base: Path) -> Path:
    """Return the path that a value means: `~/` is the home folder, relative paths start from `base`."""
    path = Path(value)
    if value == "~" or value.startswith("~/"):
        path = path.expanduser()
    return base / path


def merge(layers: Iterable[Layer]) -> MergedLayers:
    """Merge layers, lowest first: tables key by key, everything else is replaced whole."""
    values: JSONObject = {}
    origins: dict[KeyPath, Layer] = {}
    for layer in layers:
        _merge_into(values, layer.values, (), layer, origins)
    return MergedLayers(values, origins)


def _merge_into(
    target: JSONObject, source: JSONObject, path: KeyPath, layer: Layer, origins: dict[KeyPath, Layer]
) -> None:
    for key, value in source.items():
        here = (*path, key)
        if isinstance(value, dict):
            below = target.get(key)
            if not isinstance(below, dict):
                origins.pop(here, None)
                below = target[key] = {}
            _merge_into(below, value, here, layer, origins)
            if not value:
                origins.setdefault(here, layer)
        else:
            if isinstance(target.get(key), dict):
                for gone in [known for known in origins if known[: len(here)] == here]:
                    del origins[gone]
            target[key] = value
            origins[here] = layer


def set_dotted(values: JSONObject, keys: list[str], value: JSONValue) -> None:
    """Set a value under a dotted key; anything in the way that is not a table is replaced."""
    for key in keys[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    values[keys[-1]] = value
