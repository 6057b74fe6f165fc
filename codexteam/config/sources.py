"""From files, environment and flags to layers, in Codex's order, with notices for the user."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.config.codex_rare_schema import FLAGS, TABLES
from codexteam.config.codexteam_schema import FORBIDDEN_TO_PROJECTS
from codexteam.config.layers import Layer, LayerKind, MergedLayers, merge, set_dotted
from codexteam.config.locations import codex_home, project_folders, project_root, repository_root, trust_level
from codexteam.config.request import LoadRequest
from codexteam.config.schema import did_you_mean
from codexteam.config.toml_file import TomlText, read_toml
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import ConfigError

#: Codex's file, and the one beside it that is codexteam's own.
CODEX_FILE = "config.toml"
TEAM_FILE = "codexteam.config.toml"

#: The top-level keys that Codex takes from no project.
_FORBIDDEN_TO_PROJECTS = (
    "openai_base_url",
    "chatgpt_base_url",
    "apps_mcp_product_sku",
    "responses_api_metadata",
    "model_provider",
    "model_providers",
    "notify",
    "profile",
    "profiles",
    "experimental_realtime_webrtc_call_base_url",
    "experimental_realtime_ws_base_url",
    "otel",
)

_PROFILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

#: The models that Codex asks of a local server when nobody names one.
_LOCAL_MODELS = {"ollama": "gpt-oss:20b", "lmstudio": "openai/gpt-oss-20b"}


@dataclass(frozen=True, slots=True)
class ConfigSources:
    """All layers, lowest first, and what was found on the way."""

    layers: tuple[Layer, ...]
    merged: MergedLayers
    requirements: TomlText | None
    codex_home: Path
    project_root: Path
    repository: Path
    trusted: bool | None
    projects: JSONObject
    notices: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What most likely is a mistake."""


def read_sources(request: LoadRequest) -> ConfigSources:
    """Read every layer that counts for a request.

    Raises:
        ConfigError: A file cannot be read or is not TOML; a flag or profile name is invalid.
    """
    home = codex_home(request.environment)
    notices: list[str] = []
    warnings: list[str] = []
    layers = [*_machine_and_user(request, home, warnings)]
    user = merge(layers)
    markers = user.texts("project_root_markers") if user.get("project_root_markers") is not None else (".git",)
    root = project_root(request.cwd, markers)
    trusted = False if request.untrusted else trust_level(user.table("projects"), request.cwd, root)
    layers += _project(request, home, root, trusted=trusted, notices=notices)
    for said in request.earlier:
        layers += _command_line(_without_gone_features(said, notices), merge(layers))
    layers += _command_line(request, merge(layers))
    managed = _file_layer(LayerKind.MANAGED, request.system_folder / "managed_config.toml")
    layers += [managed] if managed else []
    return ConfigSources(
        layers=tuple(layers),
        merged=merge(layers),
        requirements=read_toml(request.system_folder / "requirements.toml"),
        codex_home=home,
        project_root=root,
        repository=repository_root(request.cwd),
        trusted=trusted,
        projects={} if request.untrusted else user.table("projects"),
        notices=tuple(notices),
        warnings=tuple(warnings),
    )


def _file_layer(kind: LayerKind, path: Path, agents_folder: Path | None = None) -> Layer | None:
    file = read_toml(path)
    if file is None and (agents_folder is None or not agents_folder.is_dir()):
        return None
    return Layer(kind, str(path), path.parent, file.values if file else {}, file, agents_folder)


def _machine_and_user(request: LoadRequest, home: Path, warnings: list[str]) -> Iterator[Layer]:
    system = request.system_folder
    found = [
        _file_layer(LayerKind.SYSTEM, system / CODEX_FILE, system / "agents"),
        _file_layer(LayerKind.USER, home / CODEX_FILE, home / "agents"),
        _file_layer(LayerKind.TEAM, home / TEAM_FILE),
    ]
    if request.profile is not None:
        found.append(_profile(request.profile, home, found, warnings))
    yield from (layer for layer in found if layer)


def _profile(name: str, home: Path, below: list[Layer | None], warnings: list[str]) -> Layer | None:
    if not _PROFILE_NAME.fullmatch(name):
        raise ConfigError(
            f"-p/--profile: found `{name}`, a plain name is allowed", hint=f"`-p work` reads {home}/work.config.toml"
        )
    path = home / f"{name}.config.toml"
    for layer in below:
        legacy = layer.values.get("profiles") if layer else None
        if layer and (layer.values.get("profile") == name or (isinstance(legacy, dict) and name in legacy)):
            raise ConfigError(
                f"{layer.place(('profile',) if layer.values.get('profile') == name else ('profiles', name))}: "
                f'--profile {name} cannot be used while the file has `profile = "{name}"` or `[profiles.{name}]`',
                hint=f"move those settings to {path} and remove them here",
            )
    found = _file_layer(LayerKind.PROFILE, path)
    if found is None:
        here = sorted(known.name.removesuffix(".config.toml") for known in home.glob("*.config.toml"))
        guess = did_you_mean(name, here)
        warnings.append(
            f"-p/--profile {name}: there is no {path}; no profile is used" + (f"; {guess}" if guess else "")
        )
    return found


def _project(
    request: LoadRequest, home: Path, root: Path, *, trusted: bool | None, notices: list[str]
) -> Iterator[Layer]:
    folders = [folder for folder in project_folders(root, request.cwd) if folder != home and folder.is_dir()]
    if trusted is not True:
        if any((folder / name).exists() for folder in folders for name in (CODEX_FILE, TEAM_FILE, "agents")):
            to_do = f'to trust it, add to {home / CODEX_FILE}: [projects."{root}"] trust_level = "trusted"'
            notices.append(
                f"{root}: the project's own configuration and roles are not used, as it is not trusted; "
                + (f"with --ci only those in {home} are" if request.untrusted else to_do)
            )
        return
    for folder in folders:
        for name, agents in ((CODEX_FILE, folder / "agents"), (TEAM_FILE, None)):
            layer = _file_layer(LayerKind.PROJECT, folder / name, agents)
            if layer:
                yield _without_forbidden(layer, notices)


def _without_forbidden(layer: Layer, notices: list[str]) -> Layer:
    removed = [key for key in _FORBIDDEN_TO_PROJECTS if key in layer.values]
    values = {key: value for key, value in layer.values.items() if key not in removed}
    team = values.get("codexteam")
    if isinstance(team, dict):
        values["codexteam"] = team = _copy(team)
        for path in FORBIDDEN_TO_PROJECTS:
            holder: JSONValue = team if len(path) == 1 else team.get(path[0])
            if isinstance(holder, dict) and holder.pop(path[-1], None) is not None:
                removed.append(".".join(("codexteam", *path)))
    if not removed:
        return layer
    notices.append(
        f"{layer.name}: a project may not set {', '.join(removed)}: ignored; set it in your own config.toml if you mean it"
    )
    return Layer(layer.kind, layer.name, layer.base, values, layer.file, layer.agents_folder)


def _copy(table: JSONObject) -> JSONObject:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in table.items()}


def _command_line(request: LoadRequest, below: MergedLayers) -> Iterator[Layer]:
    for override in request.overrides:
        key, values = _parse_override(override)
        yield Layer(LayerKind.OVERRIDE, f"-c {key}", request.cwd, values)
    for names, flag, on in ((request.enable, "--enable", True), (request.disable, "--disable", False)):
        for name in names:
            if name not in FLAGS | TABLES:
                raise ConfigError(f"{flag} {name}: there is no such feature", hint=did_you_mean(name, FLAGS | TABLES))
            yield Layer(LayerKind.FLAG, f"{flag} {name}", request.cwd, {"features": {name: on}})
    if request.oss:
        named = request.flags.get("oss_provider")
        provider = str(named) if named else below.text("oss_provider") or "ollama"
        if provider not in _LOCAL_MODELS:
            raise ConfigError(f"--oss: found the provider `{provider}`; allowed: {', '.join(_LOCAL_MODELS)}")
        local: JSONObject = {"model_provider": provider, "model": _LOCAL_MODELS[provider]}
        yield Layer(LayerKind.FLAG, "--oss", request.cwd, local)
    if request.model is not None:
        yield Layer(LayerKind.FLAG, "-m/--model", request.cwd, {"model": request.model})
    for dotted_key, value in request.flags.items():
        flag_values: JSONObject = {}
        set_dotted(flag_values, dotted_key.split("."), value)
        yield Layer(LayerKind.FLAG, "command line", request.cwd, flag_values)


def _without_gone_features(said: LoadRequest, notices: list[str]) -> LoadRequest:
    """Remove features that no longer exist: nothing said now could take them back."""
    known = FLAGS | TABLES
    for names, flag in ((said.enable, "--enable"), (said.disable, "--disable")):
        notices += [
            f"{flag} {name}, which an earlier command line of this run said: there is no such feature any more; ignored"
            for name in names
            if name not in known
        ]
    return replace(
        said,
        enable=tuple(name for name in said.enable if name in known),
        disable=tuple(name for name in said.disable if name in known),
    )


def _parse_override(override: str) -> tuple[str, JSONObject]:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        what = "there is no `=`" if not equals else "the key is empty"
        raise ConfigError(f"-c {override}: {what}", hint='write -c key=value, such as -c model="gpt-5.4"')
    try:
        value: JSONValue = tomllib.loads(f"value = {text.strip()}\n")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    values: JSONObject = {}
    set_dotted(values, key.split("."), value)
    return key, values
