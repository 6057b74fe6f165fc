"""config.example.toml registers the roles, shows every setting of codexteam, and what it calls a default is one."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from codexteam.config.codex_schema import CONFIG, USED_KEYS
from codexteam.config.codexteam_schema import TEAM, build_team
from codexteam.config.locations import BUNDLED_ROLES
from codexteam.config.permissions import DEFAULT_MODE
from codexteam.config.schema import Entries, Items, Schema, TableKind, check
from codexteam.config.settings import (
    EngineSettings,
    GateSettings,
    LimitSettings,
    ModelSettings,
    ModelTiers,
    ProjectDocSettings,
    SandboxLimits,
    SandboxSettings,
    Settings,
    TeamSettings,
)
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import Price

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


#: A setting behind a `#`: `# key = value` or `# [table]`.
_SETTING = re.compile(r"^# ?(?=(\"[^\"]+\"|[a-z0-9_]+) = |\[)", re.MULTILINE)
_EXAMPLE_MARK = "  # example"


def _text(*, with_comments: bool = False, with_examples: bool = True) -> str:
    text = EXAMPLE.read_text()
    if not with_examples:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(_EXAMPLE_MARK))
    return _SETTING.sub("", text) if with_comments else text


def test_as_it_is_it_registers_the_roles_and_sets_the_threads() -> None:
    values = tomllib.loads(_text())
    assert set(values) == {"features", "agents"}
    agents = values["agents"]
    assert agents.pop("max_threads") == 12
    assert list(agents) == list(BUNDLED_ROLES)
    for name, table in agents.items():
        assert table == {"description": table["description"], "config_file": f"agents/{name}.toml"}
        assert table["description"].endswith(".")


def test_what_is_shown_without_a_mark_is_the_default() -> None:
    values = tomllib.loads(_text(with_comments=True, with_examples=False))
    assert build_team(values.pop("codexteam"), Path()) == TeamSettings()
    defaults = {field.name: field.default for field in fields(Settings)}
    assert values["tool_output_token_limit"] == defaults["tool_output_tokens"]
    assert values["project_doc_max_bytes"] == ProjectDocSettings().max_bytes
    assert tuple(values["project_doc_fallback_filenames"]) == ProjectDocSettings().fallback_filenames
    assert values["sandbox_mode"] == DEFAULT_MODE
    assert values["web_search"] == {field.name: field.default for field in fields(ModelSettings)}["web_search"]
    assert values["sandbox_workspace_write"]["network_access"] is False
    assert values["features"] == {"shell_tool": True}


def test_it_is_valid_with_all_its_comments_switched_on() -> None:
    found = check(tomllib.loads(_text(with_comments=True)), CONFIG)
    assert found.problems == []
    assert found.unknown == []


def _keys(schema: Schema, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    match schema:
        case TableKind():
            return {key for name, inner in schema.keys.items() for key in _keys(inner, (*path, name))}
        case Entries() | Items() if isinstance(schema.of, TableKind):
            return _keys(schema.of, (*path, "*"))
        case _:
            return {path}


def _shown(value: object, schema: Schema, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    match schema, value:
        case TableKind(), dict():
            return {key for name, inner in value.items() for key in _shown(inner, schema.keys[name], (*path, name))}
        case (Entries(of=TableKind() as inner), dict()):
            return {key for item in value.values() for key in _shown(item, inner, (*path, "*"))}
        case (Items(of=TableKind() as inner), list()):
            return {key for item in value for key in _shown(item, inner, (*path, "*"))}
        case _:
            return {path}


def test_every_setting_of_codexteam_is_shown() -> None:
    shown = _shown(tomllib.loads(_text(with_comments=True))["codexteam"], TEAM)
    # the limits of one role are those of all roles, which are shown in full
    role_limits = ("sandbox", "role_limits", "*")
    # and the hooks of one event are written as those of another
    other_hooks = {key for key in _keys(TEAM) if key[0] == "hooks" and key[1:2] != ("PreMerge",)}
    assert {key for key in _keys(TEAM) if key[:3] != role_limits} - other_hooks <= shown


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        (TeamSettings, ()),
        (BudgetLimits, ("budget",)),
        (LimitSettings, ("limits",)),
        (ModelTiers, ("models",)),
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
        assert isinstance(schema, TableKind)
        schema = schema.keys[name]
    if isinstance(schema, Items | Entries):
        schema = schema.of
    assert isinstance(schema, TableKind)
    assert set(schema.keys) == {
        field.name.removesuffix("_bytes") + ("_size" if field.name.endswith("_bytes") else "")
        for field in fields(settings)
    }


def test_every_key_of_codex_that_it_shows_is_used() -> None:
    for key in tomllib.loads(_text(with_comments=True)):
        assert any(used == key or used.startswith(f"{key}.") for used in USED_KEYS), key


def test_it_fits_into_a_terminal() -> None:
    assert max(len(line) for line in EXAMPLE.read_text().splitlines()) <= 120
