"""config.example.toml shows every setting of codexteam, and what it shows as a default is the default."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from codexteam.config.codex_schema import CONFIG, USED_KEYS
from codexteam.config.permissions import DEFAULT_MODE
from codexteam.config.schema import Entries, Items, Schema, Table, check
from codexteam.config.settings import (
    BudgetSettings,
    EngineSettings,
    GateSettings,
    LimitSettings,
    ModelSettings,
    ProjectDocSettings,
    SandboxLimits,
    SandboxSettings,
    Settings,
    TeamSettings,
)
from codexteam.config.team_schema import TEAM, build_team
from codexteam.core.usage import Price

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def _text(*, with_comments: bool = False) -> str:
    text = EXAMPLE.read_text()
    # a setting behind a `#`: `# key = value` or `# [table]`
    return re.sub(r"^# ?(?=(\"[^\"]+\"|[a-z_]+) = |\[)", "", text, flags=re.MULTILINE) if with_comments else text


def test_what_it_shows_is_what_counts_without_it() -> None:
    values = tomllib.loads(_text())
    assert build_team(values.pop("codexteam"), Path()) == TeamSettings()
    # Codex's keys would hide what config.toml says, which stands below this file
    assert values == {}


def test_the_defaults_behind_a_comment_are_the_defaults_too() -> None:
    values = tomllib.loads(_text(with_comments=True))
    defaults = {field.name: field.default for field in fields(Settings)}
    assert values["tool_output_token_limit"] == defaults["tool_output_tokens"]
    assert values["project_doc_max_bytes"] == ProjectDocSettings().max_bytes
    assert tuple(values["project_doc_fallback_filenames"]) == ProjectDocSettings().fallback_filenames
    assert values["sandbox_mode"] == DEFAULT_MODE
    assert values["web_search"] == {field.name: field.default for field in fields(ModelSettings)}["web_search"]
    assert values["agents"]["max_concurrent_threads_per_session"] == LimitSettings().max_threads
    assert values["codexteam"]["limits"]["max_threads"] == LimitSettings().max_threads
    assert values["sandbox_workspace_write"]["network_access"] is False


def test_it_is_valid_with_all_its_comments_switched_on() -> None:
    found = check(tomllib.loads(_text(with_comments=True)), CONFIG)
    assert found.problems == []
    assert found.unknown == []


def _keys(schema: Schema, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    match schema:
        case Table():
            return {key for name, inner in schema.keys.items() for key in _keys(inner, (*path, name))}
        case Entries() | Items() if isinstance(schema.of, Table):
            return _keys(schema.of, (*path, "*"))
        case _:
            return {path}


def _shown(value: object, schema: Schema, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    match schema, value:
        case Table(), dict():
            return {key for name, inner in value.items() for key in _shown(inner, schema.keys[name], (*path, name))}
        case (Entries(of=Table() as inner), dict()):
            return {key for item in value.values() for key in _shown(item, inner, (*path, "*"))}
        case (Items(of=Table() as inner), list()):
            return {key for item in value for key in _shown(item, inner, (*path, "*"))}
        case _:
            return {path}


def test_every_setting_of_codexteam_is_shown() -> None:
    shown = _shown(tomllib.loads(_text(with_comments=True))["codexteam"], TEAM)
    # the limits of one role are those of all roles, which are shown in full
    role_limits = ("sandbox", "role_limits", "*")
    assert {key for key in _keys(TEAM) if key[:3] != role_limits} <= shown


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (TeamSettings, ()),
        (BudgetSettings, ("budget",)),
        (LimitSettings, ("limits",)),
        (SandboxSettings, ("sandbox",)),
        (SandboxLimits, ("sandbox", "limits")),
        (GateSettings, ("gates",)),
        (EngineSettings, ("sandbox", "engines")),
        (Price, ("prices",)),
    ],
)
def test_every_field_of_the_settings_has_a_key(settings: type, path: tuple[str, ...]) -> None:
    schema: Schema = TEAM
    for name in path:
        assert isinstance(schema, Table)
        schema = schema.keys[name]
    if isinstance(schema, Items | Entries):
        schema = schema.of
    assert isinstance(schema, Table)
    assert set(schema.keys) == {
        field.name.removesuffix("_bytes") + ("_size" if field.name.endswith("_bytes") else "")
        for field in fields(settings)
    }


def test_every_key_of_codex_that_it_shows_is_used() -> None:
    for key in tomllib.loads(_text(with_comments=True)):
        assert any(used == key or used.startswith(f"{key}.") for used in USED_KEYS), key


def test_it_fits_into_a_terminal() -> None:
    assert max(len(line) for line in EXAMPLE.read_text().splitlines()) <= 120
