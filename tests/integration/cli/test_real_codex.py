"""The real Codex CLI takes what ships: the ten roles, the starter pack, the example configuration."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.locations import BUNDLED_ROLES, bundled_role_file
from codexteam.config.request import LoadRequest
from codexteam.config.starter import Tier, starter_pack
from codexteam.core.ids import JSONValue
from tests.conftest import codex_binary
from tests.scripted_api import ScriptedApi, message
from tests.scripted_api.server import serve_in_thread

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"

pytestmark = pytest.mark.codex

PACK = Path(__file__).parents[2] / "data" / "starter_pack"


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with serve_in_thread(lambda _: [message("hello yourself")]) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "codex-home"
    (folder / "agents").mkdir(parents=True)
    return folder


def codex_exec(home: Path, api: ScriptedApi, *more: str) -> tuple[list[str], str]:
    """Run one turn; give the warnings in its events and the text of `spawn_agent`, which lists the roles."""
    project = home.parent / "project"
    project.mkdir(exist_ok=True)
    binary = codex_binary()
    assert binary is not None
    provider = f'{{name="scripted",base_url="{api.base_url}"}}'
    done = subprocess.run(
        [
            *(binary, "exec", "--skip-git-repo-check", "--json", "--ephemeral", *more),
            # without a forced generation the model decides, and only the second lists roles for a known model
            *("--enable", "multi_agent_v2", "-m", "gpt-5.5"),
            *("-c", 'model_provider="scripted"', "-c", f"model_providers.scripted={provider}", "hello"),
        ],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(home.parent), "CODEX_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert api.requests, done.stderr
    items = [json.loads(line).get("item", {}) for line in done.stdout.splitlines()]
    warnings = sorted({item["message"] for item in items if item.get("type") == "error"})
    return warnings, spawn_text(api.requests[-1].call.body["tools"])


def spawn_text(tools: JSONValue) -> str:
    """Give the definition of `spawn_agent`, which may stand inside a namespace."""
    if not isinstance(tools, list):
        return ""
    for tool in tools:
        if isinstance(tool, dict):
            if tool.get("name") == "spawn_agent":
                return json.dumps(tool)
            found = spawn_text(tool.get("tools"))
            if found:
                return found
    return ""


def assert_all_roles_offered(text: str) -> None:
    assert [name for name in BUNDLED_ROLES if f"\\n{name}: {{" not in text] == []


def test_all_ten_roles_are_offered_and_none_is_complained_of(home: Path, api: ScriptedApi) -> None:
    for name in BUNDLED_ROLES:
        (home / "agents" / f"{name}.toml").write_bytes(bundled_role_file(name).read_bytes())

    warnings, text = codex_exec(home, api)

    assert warnings == []
    assert_all_roles_offered(text)
    assert text.count("This role's model is set to `gpt-5.4`") == len(BUNDLED_ROLES)


def test_a_role_with_a_key_codex_does_not_know_would_be_noticed(home: Path, api: ScriptedApi) -> None:
    broken = bundled_role_file("explorer").read_text(encoding="utf-8") + "max_turn = 3\n"
    (home / "agents" / "explorer.toml").write_text(broken)

    warnings, text = codex_exec(home, api)

    assert "unknown field `max_turn`" in " ".join(warnings)
    assert bundled_description("explorer") not in text


@pytest.mark.parametrize("tier", list(Tier))
def test_the_starter_pack_is_accepted(tier: Tier, home: Path, api: ScriptedApi) -> None:
    for file in starter_pack(tier):
        (home / file.name).write_text(file.text)

    warnings, text = codex_exec(home, api, "--strict-config")

    assert warnings == []
    assert_all_roles_offered(text)


@pytest.mark.parametrize("strict", [(), ("--strict-config",)])
def test_the_example_is_taken_by_both_programs_without_a_word(
    strict: tuple[str, ...], home: Path, api: ScriptedApi
) -> None:
    (home / "config.toml").write_bytes(EXAMPLE.read_bytes())
    for name in BUNDLED_ROLES:
        (home / "agents" / f"{name}.toml").write_bytes(bundled_role_file(name).read_bytes())

    warnings, text = codex_exec(home, api, *strict)

    assert warnings == []
    assert_all_roles_offered(text)


def test_the_pack_that_users_have_is_taken_but_for_the_file_without_a_name(home: Path, api: ScriptedApi) -> None:
    shutil.copytree(PACK, home, dirs_exist_ok=True)

    warnings, text = codex_exec(home, api)

    assert len(warnings) == 2
    said = " ".join(warnings)
    assert "multi_agent` is deprecated" in said
    assert f"{home}/agents/security_reviewer.toml must define a non-empty `name`" in said
    assert [name for name in BUNDLED_ROLES if f"\\n{name}: {{" in text] == [
        *("orchestrator", "explorer", "implementer", "ci_runner", "reviewer", "qa_test_author", "release_manager")
    ]
    settings = load_settings(LoadRequest(cwd=home, environment={"CODEX_HOME": str(home)}, system_folder=home / "none"))
    assert {role.name for role in settings.roles.values() if role.source != "built-in"} == {
        name for name in BUNDLED_ROLES if f"\\n{name}: {{" in text
    }


def bundled_description(name: str) -> str:
    import tomllib

    return str(tomllib.loads(bundled_role_file(name).read_text(encoding="utf-8"))["description"])
