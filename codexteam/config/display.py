"""The effective values, each with its origin: for people and programs, without secrets."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path

from codexteam.config.codex_schema import UNUSED_KEYS, USED_KEYS
from codexteam.config.layers import LayerKind
from codexteam.config.load import LoadedLayers, thread_limit_path
from codexteam.config.permissions import read_requirements
from codexteam.config.price_list import price_list, rate_json, shipped_prices
from codexteam.config.priced import models_of
from codexteam.config.role_reach import run_reach
from codexteam.config.schema import dotted, leaves
from codexteam.config.settings import Settings
from codexteam.config.toml_file import KeyPath
from codexteam.core.ids import JSONObject, JSONValue

HIDDEN = "[hidden]"

#: Keys whose values may be secrets, and tables all of whose values may be.
_SECRET_KEYS = frozenset(("experimental_bearer_token", "bearer_token", "client_secret", "webhook"))
_SECRET_TABLES = frozenset(("http_headers", "query_params", "env", "set", "headers"))


@dataclass(frozen=True, slots=True)
class ShownValue:
    """One effective value."""

    path: KeyPath
    value: JSONValue
    origin: str
    """`file:line:column`, a flag, or `built-in`."""

    @property
    def key(self) -> str:
        """The path as TOML writes it."""
        return dotted(self.path)


def effective_values(loaded: LoadedLayers, settings: Settings) -> list[ShownValue]:
    """Return every effective value: what layers set, and codexteam's defaults for the rest."""
    merged = loaded.merged
    shown = {
        path: ShownValue(path, _safe(path, value), merged.place(path))
        for path, value in leaves(merged.values)
        if value != {}
    }
    for path, value in _defaults(settings):
        shown.setdefault(path, ShownValue(path, value, LayerKind.BUILT_IN.value))
    for one in _derived(loaded, settings):
        shown[one.path] = one
    for path, value in _listed_prices(settings):
        shown.setdefault(path, ShownValue(path, value, shipped_prices().words))
    return sorted(shown.values(), key=lambda one: (one.path[0] == "codexteam", len(one.path) > 1, one.key))


def _listed_prices(settings: Settings) -> Iterator[tuple[KeyPath, JSONValue]]:
    """Yield the prices that the team's models have from the shipped table."""
    prices = price_list(settings)
    for model in models_of(settings):
        rate = prices.get(model)
        if rate.listed:
            for name, value in rate_json(rate).items():
                yield ("codexteam", "prices", model, name), value


def unused_keys(loaded: LoadedLayers) -> list[ShownValue]:
    """Return the values that Codex knows and codexteam does not use."""
    merged = loaded.merged
    return [
        ShownValue(path, _safe(path, value), merged.place(path))
        for path, value in leaves(merged.values)
        if not _is_used(path) and not _is_unknown(path, loaded)
    ]


def _is_unknown(path: KeyPath, loaded: LoadedLayers) -> bool:
    return any(path[: len(problem.path)] == problem.path for _, problem in loaded.unknown)


def _is_used(path: KeyPath) -> bool:
    prefixes = {".".join(str(key) for key in path[:length]) for length in range(1, len(path) + 1)}
    return bool(prefixes & USED_KEYS) and not prefixes & UNUSED_KEYS


def _safe(path: KeyPath, value: JSONValue) -> JSONValue:
    secret = path[-1] in _SECRET_KEYS or any(key in _SECRET_TABLES for key in path[:-1])
    return HIDDEN if secret else value


def _defaults(settings: Settings) -> Iterator[tuple[KeyPath, JSONValue]]:
    yield ("model",), settings.model.model
    yield ("model_provider",), settings.model.provider_id
    yield ("sandbox_mode",), settings.sandbox_mode.value
    yield ("web_search",), settings.model.web_search
    yield ("tool_output_token_limit",), settings.tool_output_tokens
    yield ("project_doc_max_bytes",), settings.project_doc.max_bytes
    yield ("project_root_markers",), list(settings.project_doc.root_markers)
    yield ("shell_environment_policy", "inherit"), settings.shell_environment.inherit
    yield from leaves(_as_table(settings.team), ("codexteam",))


def _derived(loaded: LoadedLayers, settings: Settings) -> Iterator[ShownValue]:
    """Yield the values that are derived from other keys, or capped."""
    merged, team = loaded.merged, settings.team
    reach = run_reach(merged, read_requirements(loaded.sources.requirements), team.sandbox.allow_hosts)
    if reach.mode_cap is not None:
        yield ShownValue(("sandbox_mode",), reach.mode.value, reach.mode_cap.place)
    if reach.search_cap is not None and reach.search_said is not None:
        yield ShownValue(("web_search",), reach.web_search, reach.search_cap.place)
    threads = thread_limit_path(merged)
    if threads is not None:
        yield ShownValue(("codexteam", "limits", "max_threads"), team.limits.max_threads, merged.place(threads))


def _as_table(value: object) -> JSONObject:
    """Return settings as the equivalent table, without the fields that have no default."""
    table: JSONObject = {}
    for field in fields(value) if is_dataclass(value) else ():
        inner = getattr(value, field.name)
        if inner is None or inner == {}:
            continue
        if field.name.endswith("_bytes"):
            table[field.name.removesuffix("_bytes") + "_size"] = _size(inner)
        else:
            table[field.name] = _as_json(inner)
    return table


def _as_json(value: object) -> JSONValue:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else _as_table(value)


def _size(count: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count % scale == 0:
            return f"{count // scale}{unit}"
    return f"{count}B"
