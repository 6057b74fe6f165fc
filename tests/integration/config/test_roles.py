"""Roles: where they come from, which one counts, and that none gets more than the run allows."""

from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.locations import BUNDLED_ROLES, bundled_role_file
from codexteam.config.request import LoadRequest
from codexteam.config.settings import NetworkKind, RoleSettings, SandboxMode
from codexteam.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


@pytest.fixture
def request_(tmp_path: Path) -> LoadRequest:
    (tmp_path / "home" / "agents").mkdir(parents=True)
    (tmp_path / "project" / ".git").mkdir(parents=True)
    return LoadRequest(
        cwd=tmp_path / "project",
        environment={"CODEX_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        system_folder=tmp_path / "system",
    )


def role_of(request: LoadRequest, text: str, *overrides: str, name: str = "mine") -> RoleSettings:
    """Give a user's role whose file has `text` after the three keys that it needs."""
    head = f'name = "{name}"\ndescription = "d"\n' + (
        "" if "developer_instructions" in text else 'developer_instructions = "i"\n'
    )
    (request.cwd.parent / "home" / "agents" / "file.toml").write_text(head + text)
    return load_settings(replace(request, overrides=overrides)).roles[name]


def test_the_ten_roles_ship_and_say_so(request_: LoadRequest) -> None:
    roles = load_settings(request_).roles
    assert set(roles) == set(BUNDLED_ROLES)
    for role in roles.values():
        assert role.source == "built-in"
        assert len(role.source_hash) == 64
        assert role.instructions
    assert roles["implementer"].sandbox_mode is SandboxMode.WORKSPACE_WRITE
    assert roles["explorer"].sandbox_mode is SandboxMode.READ_ONLY


def test_the_users_model_counts_for_shipped_roles_and_not_for_their_own(request_: LoadRequest) -> None:
    own = role_of(request_, 'model = "own"', 'model="general"')
    assert own.model.model == "own"
    settings = load_settings(replace(request_, model="flag"))
    assert settings.roles["mine"].model.model == "own"
    shipped = settings.roles["orchestrator"]
    assert shipped.model.model == "flag"
    assert shipped.model.effort == "xhigh"
    assert shipped.origins["model"] == "-m/--model"
    assert shipped.origins["model_reasoning_effort"].startswith("built-in:orchestrator.toml:")


def test_the_agents_default_counts_where_neither_role_nor_file_says_more(request_: LoadRequest) -> None:
    overrides = ("agents.default_subagent_model=sub", "agents.default_subagent_reasoning_effort=low", "model=main")
    role = role_of(request_, "", *overrides)
    assert (role.model.model, role.model.effort) == ("sub", "low")
    assert role.origins["model"] == "-c agents.default_subagent_model"
    assert role_of(request_, 'model = "own"', *overrides).model.model == "own"


def test_a_role_of_the_user_replaces_the_one_that_ships(request_: LoadRequest) -> None:
    role = role_of(request_, 'developer_instructions = "Mine."\n', name="reviewer")
    assert role.instructions == "Mine."
    assert role.source.endswith("agents/file.toml")


def test_the_example_with_the_role_files_is_loaded_without_a_notice(request_: LoadRequest) -> None:
    home = request_.cwd.parent / "home"
    (home / "config.toml").write_bytes(EXAMPLE.read_bytes())
    for name in BUNDLED_ROLES:
        (home / "agents" / f"{name}.toml").write_bytes(bundled_role_file(name).read_bytes())
    settings = load_settings(replace(request_, strict=True))
    assert settings.notices == ()
    assert settings.team.limits.max_threads == 12
    assert {role.source for role in settings.roles.values()} == {
        str(home / "agents" / f"{name}.toml") for name in BUNDLED_ROLES
    }


def test_a_table_with_a_description_alone_keeps_the_file_that_ships(request_: LoadRequest) -> None:
    settings = load_settings(replace(request_, overrides=('agents.reviewer={description="Ours."}',)))
    role = settings.roles["reviewer"]
    assert role.description == "Ours."
    assert role.source == "built-in"
    assert "review a change" in role.instructions
    assert load_settings(request_).roles["reviewer"].source_hash == role.source_hash


@pytest.mark.parametrize(
    ("run", "wanted", "gets"),
    [
        ("workspace-write", "read-only", "read-only"),
        ("workspace-write", "danger-full-access", "workspace-write"),
        ("read-only", "workspace-write", "read-only"),
        ("danger-full-access", "workspace-write", "workspace-write"),
    ],
)
def test_a_roles_sandbox_counts_and_is_never_wider_than_the_runs(
    request_: LoadRequest, run: str, wanted: str, gets: str
) -> None:
    assert role_of(request_, f'sandbox_mode = "{wanted}"', f"sandbox_mode={run}").sandbox_mode == gets


def test_a_roles_network_counts_up_to_what_the_configuration_names(request_: LoadRequest) -> None:
    text = "[sandbox_workspace_write]\nnetwork_access = "
    on = ("sandbox_workspace_write.network_access=true", "sandbox_mode=workspace-write")
    off = ("sandbox_workspace_write.network_access=false",)
    assert role_of(request_, "").network.kind is NetworkKind.NONE
    assert role_of(request_, text + "true").network.kind is NetworkKind.OPEN
    assert role_of(request_, text + "true", *off).network.kind is NetworkKind.NONE
    assert role_of(request_, text + "false", *on).network.kind is NetworkKind.NONE
    assert role_of(request_, "", *on).network.kind is NetworkKind.OPEN
    assert role_of(request_, 'sandbox_mode = "read-only"', *on).network.kind is NetworkKind.NONE
    hosts = (*on, 'codexteam.sandbox.allow_hosts=["a.example"]')
    assert role_of(request_, 'sandbox_mode = "danger-full-access"', *hosts).network.kind is NetworkKind.ALLOWLIST


@pytest.mark.parametrize(
    ("run", "wanted", "gets"),
    [
        (None, "cached", "cached"),
        (None, "live", "live"),
        ("cached", "live", "cached"),
        ("disabled", "cached", "disabled"),
        ("live", "live", "live"),
        ("live", None, "live"),
    ],
)
def test_a_roles_web_search_counts_up_to_the_runs(
    request_: LoadRequest, run: str | None, wanted: str | None, gets: str
) -> None:
    overrides = (f"web_search={run}",) if run else ()
    assert role_of(request_, f'web_search = "{wanted}"' if wanted else "", *overrides).model.web_search == gets


def test_a_roles_servers_add_to_the_runs_and_switch_them_off(request_: LoadRequest) -> None:
    overrides = (
        'mcp_servers.a={command="true"}',
        'mcp_servers.b={command="true"}',
        'mcp_servers.c={command="x",enabled=false}',
    )
    text = '[mcp_servers.a]\nenabled = false\n[mcp_servers.b]\nenabled_tools = ["t"]\n[mcp_servers.own]\ncommand = "true"\n'
    assert role_of(request_, "", *overrides).mcp_servers == ("a", "b")
    role = role_of(request_, text, *overrides)
    assert role.mcp_servers == ("mine:b", "mine:own")
    servers = load_settings(replace(request_, overrides=overrides)).mcp_servers
    assert (servers["mine:b"].id, servers["mine:b"].command, servers["mine:b"].enabled_tools) == ("b", "true", ("t",))
    assert servers["b"].enabled_tools is None
    assert "file.toml:" in role.origins["mcp_servers.a"]


def test_a_roles_provider_counts(request_: LoadRequest) -> None:
    role = role_of(request_, 'model_provider = "p"', 'model_providers.p={name="P",base_url="http://127.0.0.1:1/v1"}')
    assert role.model.provider_id == "p"


def test_a_role_switches_off_and_not_on(request_: LoadRequest) -> None:
    off = role_of(request_, "[features]\nshell_tool = false\n[skills]\ninclude_instructions = false\n")
    assert not off.shell_tool
    assert not off.skills.include_instructions
    on = role_of(
        request_,
        "[features]\nshell_tool = true\n[skills]\ninclude_instructions = true\n",
        "features.shell_tool=false",
        "skills.include_instructions=false",
    )
    assert not on.shell_tool
    assert not on.skills.include_instructions


def test_a_broken_role_the_run_needs_stops_it_and_another_is_a_warning(request_: LoadRequest) -> None:
    with pytest.raises(ConfigError, match=r"file\.toml:4:9: model: found the boolean true"):
        role_of(request_, "model = true\n", name="reviewer")
    with pytest.raises(KeyError):
        role_of(request_, "model = true\n")
    [warning] = load_settings(request_).warnings
    assert warning.startswith("role `")
    assert "is ignored: " in warning
    assert "file.toml:4:9" in warning
    needs = replace(request_, required_roles=frozenset({"mine"}))
    with pytest.raises(ConfigError, match=r"file\.toml:4:9"):
        load_settings(needs)


@pytest.mark.parametrize(
    ("step", "role"),
    [
        ("scouts", "explorer"),
        ("analyst", "requirement_analyst"),
        ("documentation", "documentation"),
        ("release", "release_manager"),
    ],
)
def test_the_role_of_a_step_that_is_off_is_not_needed(request_: LoadRequest, step: str, role: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.toml:4:9"):
        role_of(request_, "model = true\n", name=role)
    off = replace(request_, overrides=(*request_.overrides, f'codexteam.steps.{step}="off"'))
    assert any("file.toml:4:9" in notice for notice in load_settings(off).notices)


def test_an_unknown_key_costs_a_role_unless_the_run_needs_it(
    request_: LoadRequest,
) -> None:
    role = role_of(request_, 'shell = true\nmodel = "m"\n', name="reviewer")
    assert role.model.model == "m"
    notices = load_settings(request_).notices
    assert any("file.toml:4:9" in notice and "`shell` is not known and ignored" in notice for notice in notices)
    with pytest.raises(ConfigError, match="shell"):
        load_settings(replace(request_, strict=True))
    with pytest.raises(KeyError):
        role_of(request_, "shell = true\n")
    assert any("is ignored: " in warning and "shell" in warning for warning in load_settings(request_).warnings)


def test_a_role_that_is_needed_and_nowhere_defined_is_an_error(request_: LoadRequest) -> None:
    with pytest.raises(ConfigError, match="unknown role: nobody; known are"):
        load_settings(replace(request_, required_roles=frozenset({"nobody"})))


@pytest.mark.parametrize("registered", [False, True])
def test_an_unreadable_role_file_stops_a_run_if_it_is_registered(request_: LoadRequest, registered: bool) -> None:
    folder = request_.cwd.parent / "home" / "agents" / "reviewer.toml"
    folder.mkdir()
    if registered:
        (folder.parents[1] / "config.toml").write_text('[agents.reviewer]\nconfig_file = "agents/reviewer.toml"\n')
        with pytest.raises(ConfigError, match=r"reviewer\.toml: found a directory"):
            load_settings(request_)
    else:
        [warning] = load_settings(request_).warnings
        assert "reviewer.toml: found a directory" in warning


def test_a_projects_role_cannot_choose_who_is_called(request_: LoadRequest) -> None:
    home, project = request_.cwd.parent / "home", request_.cwd
    (home / "config.toml").write_text(
        f'[projects."{project}"]\ntrust_level = "trusted"\n[model_providers.p]\nname = "P"\nbase_url = "http://x"\n'
    )
    (project / ".codex" / "agents").mkdir(parents=True)
    (project / ".codex" / "agents" / "r.toml").write_text(
        'name = "theirs"\ndescription = "d"\ndeveloper_instructions = "i"\nmodel_provider = "p"\n'
    )
    settings = load_settings(request_)
    assert settings.roles["theirs"].model.provider_id == "openai"
    assert any("may not set model_provider" in notice for notice in settings.notices)


def test_a_role_in_a_sub_folder_and_one_by_link_count_once(request_: LoadRequest) -> None:
    agents = request_.cwd.parent / "home" / "agents"
    (agents / "sub").mkdir()
    text = 'name = "mine"\ndescription = "d"\ndeveloper_instructions = "i"\nnickname_candidates = ["Ada", " Grace "]\n'
    (agents / "sub" / "deep.toml").write_text(text)
    (agents / "sub" / "notes.md").write_text("not a role")
    assert load_settings(request_).roles["mine"].nicknames == ("Ada", "Grace")


def test_ultra_is_sent_as_xhigh(request_: LoadRequest) -> None:
    assert role_of(request_, 'model_reasoning_effort = "ultra"').model.effort == "xhigh"


def test_bundled_files_are_the_lowest_layer() -> None:
    assert all(bundled_role_file(name).is_file() for name in BUNDLED_ROLES)


def _models(request: LoadRequest, *overrides: str, **more: object) -> dict[str, str]:
    settings = load_settings(replace(request, overrides=overrides, **more))  # type: ignore[arg-type]  # its own fields
    return {name: role.model.model for name, role in settings.roles.items()}


TIERS = '[codexteam.models]\ndeep = "big"\nfast = "small"\n'


def test_the_tiers_are_the_one_place_to_change_models(request_: LoadRequest) -> None:
    assert set(_models(request_).values()) == {"gpt-5.4"}
    home = request_.cwd.parent / "home"
    (home / "config.toml").write_text('model = "gpt-5.4"\n')
    (home / "codexteam.config.toml").write_text(TIERS)
    own = role_of(request_, "", name="mine")
    assert own.model.model == "big"
    models = _models(request_)
    assert {name for name, model in models.items() if model == "small"} == {"explorer", "ci_runner"}
    assert set(models.values()) == {"big", "small"}
    roles = load_settings(request_).roles
    assert roles["explorer"].origins["model"].startswith(f"{home}/codexteam.config.toml:3")
    assert roles["reviewer"].origins["model"].startswith(f"{home}/codexteam.config.toml:2")


def test_a_role_may_name_a_tier_or_a_model(request_: LoadRequest) -> None:
    (request_.cwd.parent / "home" / "codexteam.config.toml").write_text(TIERS)
    assert role_of(request_, 'model = "fast"').model.model == "small"
    assert role_of(request_, 'model = "deep"', "model=x").model.model == "big"
    assert role_of(request_, 'model = "else"').model.model == "else"


def test_a_tier_without_a_model_is_what_all_use(request_: LoadRequest) -> None:
    assert role_of(request_, 'model = "fast"').model.model == "gpt-5.4"
    assert role_of(request_, 'model = "fast"', "model=x").model.model == "x"
    assert role_of(request_, 'model = "fast"', "codexteam.models.deep=y").model.model == "y"


def test_a_model_of_a_higher_layer_counts_over_the_tiers_and_may_name_one(request_: LoadRequest) -> None:
    (request_.cwd.parent / "home" / "codexteam.config.toml").write_text(TIERS)
    assert set(_models(request_, model="flag").values()) == {"flag"}
    assert set(_models(request_, model="fast").values()) == {"small"}
    assert set(_models(request_, "agents.default_subagent_model=sub").values()) == {"sub"}
    assert _models(request_, "codexteam.models.fast=tiny", "model=x")["explorer"] == "x"
