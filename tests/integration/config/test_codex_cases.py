"""Every case of the corpus gets the verdict that the real Codex CLI gave on it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from codexteam.config.layers import LayerKind
from codexteam.config.load import load_layers, load_settings
from codexteam.config.receipt import receipt
from codexteam.config.request import LoadRequest
from codexteam.config.role_files import RoleDefinition
from codexteam.config.settings import Settings
from codexteam.core.ids import JSONObject
from codexteam.errors import ConfigError
from tests.integration.config.receipts import lies

CASES = Path(__file__).parents[2] / "data" / "codex_config_cases"
NAMES = sorted(case.name for case in CASES.iterdir() if case.is_dir())

PORT = "8123"


@dataclass(frozen=True)
class World:
    """A case laid out as the measuring run had it."""

    request: LoadRequest
    project: Path
    verdict: JSONObject


def lay_out(name: str, root: Path, *, strict: bool = False) -> World:
    source = CASES / name
    case = json.loads((source / "case.json").read_text())
    verdict = json.loads((source / "verdict.json").read_text())
    home, project, system = root / "home", root / "project", root / "system"
    for folder in (home, project, system):
        folder.mkdir()
    for file in sorted(source.rglob("*")):
        inside = file.relative_to(source)
        if not file.is_file() or inside.name in {"case.json", "verdict.json"}:
            continue
        target = project / inside.relative_to("project") if inside.parts[0] == "project" else home / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes().replace(b"$PROJECT", str(project).encode()).replace(b"$PORT", PORT.encode())
        target.write_bytes(content)
    (project / ".git").mkdir(exist_ok=True)
    overrides = []
    if case["provider"] == "harness":
        overrides = [
            'model_provider="harness"',
            f'model_providers.harness={{name="harness",base_url="http://127.0.0.1:{PORT}/v1"}}',
        ]
    profile = model = None
    arguments = list(case["args"])
    while arguments:
        flag, value = arguments.pop(0), arguments.pop(0)
        match flag:
            case "-c":
                overrides.append(value)
            case "-m":
                model = value
            case "-p":
                profile = value
            case _:
                raise AssertionError(f"a flag that the test does not know: {flag}")
    request = LoadRequest(
        cwd=project / case["cwd"],
        environment={"CODEX_HOME": str(home), "HOME": str(root), "PATH": "/usr/bin:/bin", **case["env"]},
        profile=profile,
        overrides=tuple(overrides),
        model=model,
        strict=strict,
        # as Codex does it: a broken role stops nobody; what differs is the next test's
        required_roles=frozenset(),
        system_folder=system,
    )
    return World(request, project, verdict)


def load(world: World) -> Settings | None:
    try:
        return load_settings(world.request)
    except ConfigError as error:
        print(error, error.hint)
        return None


#: A server's program is one of the sandbox's: that a required one is missing shows when its first agent starts.
LOOKED_FOR_LATER = {"070-mcp-missing-required-server"}


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_accepted_exactly_where_codex_accepts_it(name: str, tmp_path: Path) -> None:
    world = lay_out(name, tmp_path)
    assert (load(world) is not None) == (world.verdict["accepted"] or name in LOOKED_FOR_LATER)


#: A profile without a file is a mistake for who asks for strictness; Codex takes it even then.
STRICTER_ON_PURPOSE = {"171-profile-file-missing"}


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_accepted_strictly_exactly_where_codex_accepts_it_so(name: str, tmp_path: Path) -> None:
    world = lay_out(name, tmp_path, strict=True)
    strict = world.verdict["strict"]
    assert isinstance(strict, dict)
    accepted = strict["accepted"] or name in LOOKED_FOR_LATER
    assert (load(world) is not None) == (accepted and name not in STRICTER_ON_PURPOSE)


def _accepted(name: str) -> bool:
    return bool(json.loads((CASES / name / "verdict.json").read_text())["accepted"])


#: Roles that differ on purpose.
ROLES_ON_PURPOSE = {
    # Codex drops every role of a file with both spellings of the thread limit; the limit's spelling is not a fault of
    # theirs, so they are kept, and which limit won is said
    "085-agents-max-threads-both": {"helper"},
    # Codex ignores a role's provider, even one that does not exist; here it counts, so the role cannot be used
    "140-role-layer-provider-ignored": {"reviewer"},
}


def _ships(role: RoleDefinition) -> bool:
    return role.layer is not None and role.layer.kind is LayerKind.BUILT_IN and not role.registered_at


@pytest.mark.parametrize("name", [name for name in NAMES if _accepted(name)])
def test_a_case_has_the_users_roles_that_codex_offers(name: str, tmp_path: Path) -> None:
    world = lay_out(name, tmp_path)
    measured = world.verdict["user_roles"]
    if measured is None:
        pytest.skip("not measured")
    roles = load_layers(world.request).roles.definitions
    assert isinstance(measured, dict)
    settings = load_settings(world.request)
    ours = {name: role.description for name, role in roles.items() if name in settings.roles and not _ships(role)}
    codexs = {name: entry["description"] for name, entry in measured.items() if isinstance(entry, dict)}
    differing = {role for role in {*ours, *codexs} if ours.get(role) != codexs.get(role)}
    assert differing == ROLES_ON_PURPOSE.get(name, set())
    measured = {role: entry for role, entry in measured.items() if role not in differing}
    for role, entry in measured.items():
        assert isinstance(entry, dict)
        model = settings.roles[role].model
        assert entry.get("locked_model", model.model) == model.model
        assert entry.get("locked_reasoning_effort", model.effort) == model.effort


@pytest.mark.parametrize("name", [name for name in NAMES if _accepted(name)])
def test_a_case_has_codexs_effective_values(name: str, tmp_path: Path) -> None:
    world = lay_out(name, tmp_path)
    measured = world.verdict["effective"]
    assert isinstance(measured, dict)
    merged = load_layers(world.request).merged
    settings = load_settings(world.request)
    assert settings.model.model == measured["model"]
    reasoning = measured["reasoning"] or {}
    assert isinstance(reasoning, dict)
    if settings.model.effort is not None:  # else the model's own default, which is the service's to know
        assert settings.model.effort == reasoning["effort"]
    if merged.get("sandbox_mode") is not None or merged.get("default_permissions") is not None:
        assert settings.sandbox_mode == measured["sandbox_mode"]
    else:
        # on purpose: Codex writes in the user's own tree and so starts read-only; here every agent has a copy of its own
        assert settings.sandbox_mode == "workspace-write"
    if merged.get("model_verbosity") is not None:
        assert settings.model.verbosity == measured["verbosity"]


#: A broken definition of a role that a run needs stops it before any spend; Codex drops the role and continues.
STOPPED_BY_A_BROKEN_ROLE = {
    "115-role-file-blank-description",
    "116-role-file-missing-developer-instructions",
    "117-role-file-blank-developer-instructions",
    "120-role-file-syntax",
    "121-role-file-bad-enum",
    "122-role-file-tools-string",
    "131-nicknames-empty-list",
    "132-nicknames-blank",
    "140-role-layer-provider-ignored",
}


@pytest.mark.parametrize("name", [name for name in NAMES if _accepted(name)])
def test_a_run_is_stopped_by_a_broken_role_that_it_needs_alone(name: str, tmp_path: Path) -> None:
    world = lay_out(name, tmp_path)
    request = replace(world.request, required_roles=LoadRequest(Path(), {}).required_roles)
    if name in STOPPED_BY_A_BROKEN_ROLE:
        with pytest.raises(ConfigError, match=r"reviewer\.toml"):
            load_settings(request)
    else:
        assert set(load_settings(request).roles) >= request.required_roles


@pytest.mark.parametrize("name", [name for name in NAMES if _accepted(name)])
def test_no_receipt_of_a_case_names_a_line_without_the_value(name: str, tmp_path: Path) -> None:
    settings = load_settings(lay_out(name, tmp_path).request)
    for role in settings.roles.values():
        assert lies(receipt(role, settings)) == []


def test_the_corpus_is_whole() -> None:
    assert len(NAMES) == 110
