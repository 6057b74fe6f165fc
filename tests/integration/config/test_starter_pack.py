"""A Codex home as users of its multi-agent mode have it: roles registered by file, files without a name, full access."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.config.load import load_settings
from codexteam.config.receipt import receipt
from codexteam.config.request import LoadRequest
from codexteam.config.settings import NetworkKind, NetworkPolicy, SandboxMode
from codexteam.errors import ConfigError
from tests.integration.config.receipts import lies

PACK = Path(__file__).parents[2] / "data" / "starter_pack"
REGISTERED = frozenset(path.stem for path in (PACK / "agents").iterdir()) - {"security_reviewer"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copytree(PACK, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def request_(home: Path, tmp_path: Path) -> LoadRequest:
    (tmp_path / "project" / ".git").mkdir(parents=True)
    return LoadRequest(
        cwd=tmp_path / "project",
        environment={"CODEX_HOME": str(home), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        system_folder=tmp_path / "system",
    )


def prepend(home: Path, line: str) -> None:
    config = home / "config.toml"
    config.write_text(f"{line}\n{config.read_text()}")


def register_the_eighth(home: Path) -> None:
    config = home / "config.toml"
    lines = config.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if "[agents.security_reviewer]" in line)
    config.write_text("\n".join([*lines[:start], *(line.removeprefix("# ") for line in lines[start:])]) + "\n")


def test_it_loads_with_one_warning_of_the_file_nobody_registered(request_: LoadRequest, home: Path) -> None:
    settings = load_settings(request_)
    [warning] = settings.warnings
    assert warning.startswith(f"{home}/agents/security_reviewer.toml: ")
    assert [notice for notice in settings.notices if "security_reviewer.toml" in notice] == [warning]
    assert settings.roles["security_reviewer"].source == "built-in"
    assert {name for name, role in settings.roles.items() if role.source != "built-in"} == REGISTERED
    assert load_settings(replace(request_, strict=True)).warnings == settings.warnings


def test_with_the_eighth_role_registered_nothing_is_warned_of(request_: LoadRequest, home: Path) -> None:
    register_the_eighth(home)
    settings = load_settings(request_)
    assert settings.warnings == ()
    assert settings.roles["security_reviewer"].source == str(home / "agents" / "security_reviewer.toml")


def test_full_access_counts_where_nobody_caps_it_and_is_explained_once(request_: LoadRequest) -> None:
    settings = load_settings(request_)
    for name in REGISTERED:
        role = settings.roles[name]
        assert role.sandbox_mode is SandboxMode.DANGER_FULL_ACCESS
        assert role.network == NetworkPolicy(NetworkKind.OPEN)
        assert role.origins["sandbox_mode"].endswith(f"agents/{name}.toml:4:16")
        assert role.capped_by == {}
    assert settings.roles["documentation"].sandbox_mode is SandboxMode.WORKSPACE_WRITE
    [notice] = [notice for notice in settings.notices if "danger-full-access" in notice]
    assert "inside a sandbox of its own" in notice


def test_a_cap_by_name_is_said_once_with_the_places_of_both(request_: LoadRequest, home: Path) -> None:
    prepend(home, 'sandbox_mode = "workspace-write"')
    settings = load_settings(request_)
    [notice] = [notice for notice in settings.notices if "danger-full-access" in notice]
    assert f"as {home}/config.toml:1:16 says sandbox_mode = workspace-write" in notice
    for name in REGISTERED:
        role = settings.roles[name]
        assert role.sandbox_mode is SandboxMode.WORKSPACE_WRITE
        assert role.network == NetworkPolicy()
        assert f"{name} ({home}/agents/{name}.toml:4:16)" in notice
        assert receipt(role, settings)["sandbox"] == {
            "value": "workspace-write",
            "origin": f"{home}/config.toml:1:16",
            "asked": {
                "key": "sandbox_mode",
                "value": "danger-full-access",
                "origin": f"{home}/agents/{name}.toml:4:16",
            },
            "capped_by": {
                "key": "sandbox_mode",
                "value": "workspace-write",
                "origin": f"{home}/config.toml:1:16",
            },
        }


def test_a_permissions_profile_caps_too_and_is_named(request_: LoadRequest, home: Path) -> None:
    prepend(home, 'default_permissions = ":workspace"')
    role = load_settings(request_).roles["reviewer"]
    assert role.sandbox_mode is SandboxMode.WORKSPACE_WRITE
    assert role.origins["sandbox_mode"] == "built-in"
    assert role.capped_by["sandbox_mode"].key == "default_permissions"
    assert role.capped_by["sandbox_mode"].place == f"{home}/config.toml:1:23"


def test_named_hosts_cap_the_network_of_full_access(request_: LoadRequest, home: Path) -> None:
    (home / "codexteam.config.toml").write_text('[codexteam.sandbox]\nallow_hosts = ["pypi.org"]\n')
    settings = load_settings(request_)
    role = settings.roles["implementer"]
    assert role.sandbox_mode is SandboxMode.DANGER_FULL_ACCESS
    assert role.network == NetworkPolicy(NetworkKind.ALLOWLIST, ("pypi.org",))
    assert role.capped_by["sandbox_workspace_write"].place == f"{home}/codexteam.config.toml:2:15"
    assert any("allow_hosts = pypi.org" in notice for notice in settings.notices)


@pytest.mark.parametrize("caps", ["", 'sandbox_mode = "danger-full-access"'])
def test_the_machines_requirements_cap_every_role(request_: LoadRequest, home: Path, caps: str) -> None:
    request_.system_folder.mkdir()
    requirements = request_.system_folder / "requirements.toml"
    requirements.write_text('allowed_sandbox_modes = ["read-only", "workspace-write"]\n')
    prepend(home, caps)
    settings = load_settings(request_)
    role = settings.roles["implementer"]
    assert role.sandbox_mode is SandboxMode.WORKSPACE_WRITE
    assert role.origins["sandbox_mode"] == f"{requirements}:1:39"
    assert role.asked["sandbox_mode"].value == "danger-full-access"


def trusted(request: LoadRequest, home: Path) -> Path:
    config = home / "config.toml"
    config.write_text(f'{config.read_text()}\n[projects."{request.cwd}"]\ntrust_level = "trusted"\n')
    agents = request.cwd / ".codex" / "agents"
    agents.mkdir(parents=True)
    return agents


ROLE = 'name = "theirs"\ndescription = "d"\ndeveloper_instructions = "i"\nsandbox_mode = "danger-full-access"\n'


def test_a_projects_role_stays_below_the_runs_mode_and_that_is_said(request_: LoadRequest, home: Path) -> None:
    agents = trusted(request_, home)
    (agents / "theirs.toml").write_text(ROLE + "[sandbox_workspace_write]\nnetwork_access = true\n")
    settings = load_settings(request_)
    role = settings.roles["theirs"]
    assert (role.sandbox_mode, role.network) == (SandboxMode.WORKSPACE_WRITE, NetworkPolicy())
    assert role.asked["sandbox_mode"].place == f"{agents}/theirs.toml:4:16"
    assert any("a project's role gets no more than the run" in notice for notice in settings.notices)


def test_words_of_the_user_about_a_projects_role_do_not_make_it_theirs(request_: LoadRequest, home: Path) -> None:
    (trusted(request_, home) / "theirs.toml").write_text(ROLE)
    settings = load_settings(replace(request_, overrides=('agents.theirs={description="Fine."}',)))
    assert settings.roles["theirs"].description == "Fine."
    assert settings.roles["theirs"].sandbox_mode is SandboxMode.WORKSPACE_WRITE


def test_a_projects_words_about_a_role_of_the_user_leave_it_theirs(request_: LoadRequest, home: Path) -> None:
    trusted(request_, home)
    (request_.cwd / ".codex" / "config.toml").write_text('[agents.implementer]\ndescription = "Ours."\n')
    assert load_settings(request_).roles["implementer"].sandbox_mode is SandboxMode.DANGER_FULL_ACCESS


@pytest.mark.parametrize(
    ("flag", "file", "text"),
    [
        ("sandbox_mode=danger-full-access", "requirements.toml", 'allowed_sandbox_modes = ["read-only"]\n'),
        ("web_search=live", "requirements.toml", 'allowed_web_search_modes = ["cached"]\n'),
        ("sandbox_mode=danger-full-access", "managed_config.toml", 'sandbox_mode = "read-only"\n'),
    ],
)
def test_a_flag_that_the_machine_caps_is_one_error_with_both(
    request_: LoadRequest, flag: str, file: str, text: str
) -> None:
    request_.system_folder.mkdir()
    (request_.system_folder / file).write_text(text)
    key, value = flag.split("=")
    with pytest.raises(ConfigError) as caught:
        load_settings(replace(request_, overrides=(flag,)))
    message = str(caught.value)
    assert message.startswith(f"-c {key}: found `{value}`, but {request_.system_folder / file}:1:")
    assert "\n" not in message


def test_a_role_registered_twice_is_one_error_with_both_places(request_: LoadRequest, home: Path) -> None:
    (home / "agents" / "second.toml").write_text('name = "reviewer"\n')
    config = home / "config.toml"
    lines = config.read_text().count("\n")
    config.write_text(config.read_text() + '[agents.second]\ndescription = "d"\nconfig_file = "agents/second.toml"\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(request_)
    first = config.read_text()[: config.read_text().index("[agents.reviewer]")].count("\n") + 1
    assert str(caught.value) == (
        f"{config}:{lines + 1}:1: the role `reviewer` is registered a second time, the first is at {config}:{first}:1"
    )


def test_a_broken_file_stops_a_run_only_where_its_role_is_needed(request_: LoadRequest, home: Path) -> None:
    register_the_eighth(home)
    broken = home / "agents" / "security_reviewer.toml"
    broken.write_text("model = true\n")
    with pytest.raises(ConfigError, match=r"security_reviewer\.toml:1:9: model: found the boolean true"):
        load_settings(request_)
    three = 'codexteam.gates.enabled=["ci_runner", "reviewer", "qa_test_author"]'
    settings = load_settings(replace(request_, overrides=(three,)))
    assert settings.roles["security_reviewer"].source == "built-in"
    assert [notice for notice in settings.notices if str(broken) in notice]


@pytest.mark.parametrize("text", ["not toml", "model = true\n", "\xff\xfe", '[name]\na = 1\nb = "'])
def test_a_broken_file_without_a_name_that_nobody_registered_is_a_warning(
    request_: LoadRequest, home: Path, text: str
) -> None:
    (home / "agents" / "implementer-old.toml").write_bytes(text.encode("latin-1"))
    settings = load_settings(request_)
    assert [warning for warning in settings.warnings if "implementer-old.toml" in warning]


@pytest.mark.parametrize(
    "line",
    [
        "",
        'sandbox_mode = "read-only"',
        'default_permissions = ":workspace"',
        'model = "deep"\nmodel_reasoning_effort = "ultra"\nweb_search = "live"',
        'sandbox_workspace_write = { network_access = true }\nsandbox_mode = "workspace-write"',
    ],
)
def test_no_receipt_of_the_pack_names_a_line_without_the_value(request_: LoadRequest, home: Path, line: str) -> None:
    prepend(home, line)
    (home / "codexteam.config.toml").write_text('[codexteam.models]\ndeep = "big"\nfast = "small"\n')
    (home / "agents" / "own.toml").write_text(
        'name = "own"\ndescription = "d"\ndeveloper_instructions = "i"\nmodel = "fast"\nmodel_reasoning_effort = "ultra"\n'
        'web_search = "live"\nmodel_verbosity = ""\ndefault_permissions = ":danger-full-access"\n'
        "[features]\nshell_tool = true\n[skills]\ninclude_instructions = true\n"
    )
    settings = load_settings(replace(request_, overrides=("features.shell_tool=false",)))
    for role in settings.roles.values():
        assert lies(receipt(role, settings)) == []
