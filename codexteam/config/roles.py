"""Roles resolved: what an agent of each would really be started with, and where each part of it comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from codexteam.config.codex_schema import refuse
from codexteam.config.layers import LayerKind, MergedLayers, resolve_path
from codexteam.config.locations import bundled_role_file
from codexteam.config.model_tiers import model_of, tier_of
from codexteam.config.origins import BUILT_IN, Origin, Place, stated, stated_by, trace
from codexteam.config.provider_settings import build_server, place_of
from codexteam.config.role_files import RoleDefinition
from codexteam.config.role_reach import RoleReach, RunReach, role_reach
from codexteam.config.schema import did_you_mean
from codexteam.config.semantics import mcp_problems
from codexteam.config.settings import (
    McpServerSettings,
    ModelSettings,
    ModelTiers,
    RoleSettings,
    SkillOverride,
    SkillSettings,
    StatedValue,
)
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import ConfigError

#: What Codex 0.169 uses where nobody names a model.
DEFAULT_MODEL = "gpt-6.1-sol"


def run_model(merged: MergedLayers, max_output_tokens: int) -> ModelSettings:
    """Return what a role without settings of its own asks of its model."""
    base = ModelSettings(
        provider_id="openai",
        model=DEFAULT_MODEL,
        context_window_tokens=merged.integer("model_context_window"),
        auto_compact_tokens=merged.integer("model_auto_compact_token_limit"),
        max_output_tokens=max_output_tokens,
    )
    return with_values(base, merged.values, {*KEYS, "model_provider", "web_search"})


#: The keys of a role file that change what it asks of its model; two more need a look at the run's limits.
KEYS = frozenset(("model", "model_reasoning_effort", "model_reasoning_summary", "model_verbosity", "service_tier"))

_FIELDS = {
    "model": "model",
    "model_provider": "provider_id",
    "model_reasoning_effort": "effort",
    "model_reasoning_summary": "summary",
    "model_verbosity": "verbosity",
    "service_tier": "service_tier",
    "web_search": "web_search",
}


def with_values(base: ModelSettings, values: JSONObject, keys: set[str]) -> ModelSettings:
    """Return the settings with those of `keys` that a table of configuration sets."""
    changes = {_FIELDS[key]: value for key in keys if isinstance(value := values.get(key), str) and value}
    if changes.get("effort") == "ultra":
        changes["effort"] = "xhigh"  # as Codex sends it; what else `ultra` means there, delegation, a team has anyway
    return replace(base, **changes)  # type: ignore[arg-type]  # strings into the fields that `_FIELDS` names


def with_model(role: RoleSettings, *, model: str, effort: str, place: str) -> RoleSettings:
    """Return a role that uses what is asked for at one place, such as a command; empty words leave what it has."""
    said = {key: text for key, text in (("model", model), ("model_reasoning_effort", effort)) if text}
    if not said:
        return role
    settings = with_values(role.model, {**said}, {*said})
    others = {name: value for name, value in role.asked.items() if name not in said}
    caps = {name: value for name, value in role.capped_by.items() if name not in said}
    return replace(
        role, model=settings, origins={**role.origins, **dict.fromkeys(said, place)}, asked=others, capped_by=caps
    )


def run_skills(merged: MergedLayers, fallback: Path) -> SkillSettings:
    """Return the settings of the `[skills]` tables; relative paths start from the highest that there is."""
    table, layer = merged.table("skills"), merged.origin(("skills",))
    return SkillSettings(
        include_instructions=table.get("include_instructions") is not False,
        bundled_enabled=_bundled(table) is not False,
        overrides=tuple(_overrides(table, layer.base if layer else fallback, merged.place)),
    )


def role_skills(run: SkillSettings, table: JSONObject, base: Path, place: Place) -> SkillSettings:
    """Return the run's settings with what a role switches off; a role cannot switch on."""
    return SkillSettings(
        include_instructions=run.include_instructions and table.get("include_instructions") is not False,
        bundled_enabled=run.bundled_enabled and _bundled(table) is not False,
        overrides=(*run.overrides, *(override for override in _overrides(table, base, place) if not override.enabled)),
    )


def _bundled(table: JSONObject) -> JSONValue:
    bundled = table.get("bundled")
    return bundled.get("enabled") if isinstance(bundled, dict) else None


def _overrides(table: JSONObject, base: Path, place: Place) -> list[SkillOverride]:
    entries = table.get("config")
    found = []
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            name, path = entry.get("name"), entry.get("path")
            found.append(
                SkillOverride(
                    name=name if isinstance(name, str) else None,
                    path=resolve_path(path, base) if isinstance(path, str) else None,
                    enabled=entry.get("enabled") is True,
                    place=place(("skills", "config", number)),
                )
            )
    return found


#: A role from a project's file may not choose who is called with the user's key.
_NOT_FROM_PROJECTS = ("model_provider",)

#: The keys of `[agents]` that stand in for what a role does not say.
_SUBAGENT_DEFAULTS = {
    "model": "default_subagent_model",
    "model_reasoning_effort": "default_subagent_reasoning_effort",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What the run gives every role, and its limits."""

    merged: MergedLayers
    model: ModelSettings
    reach: RunReach
    skills: SkillSettings
    servers: Mapping[str, McpServerSettings]
    provider_ids: frozenset[str]
    tiers: ModelTiers = field(default_factory=ModelTiers)
    """The tiers as they are configured, for roles that name one."""
    role_tiers: ModelTiers = field(default_factory=ModelTiers)
    """The tiers that count for roles that name no model."""
    own_servers: dict[str, McpServerSettings] = field(default_factory=dict)
    """Servers that roles define for themselves, by `role:id`; filled as roles are resolved."""
    notices: list[str] = field(default_factory=list)


def resolve_role(role: RoleDefinition, run: Run) -> RoleSettings:
    """Return a role as the run would use it.

    Raises:
        ConfigError: It names a provider that is not defined, or an MCP server without a transport.
    """
    values = _allowed_values(role, run)
    reach = role_reach(values, lambda path: _place(role, *path), run.reach, of_project=_is_of_project(role))
    instructions = values.get("developer_instructions")
    model = replace(_model(role, values, run), web_search=reach.web_search)
    skills = role_skills(run.skills, _table(values, "skills"), _base(role), lambda path: _place(role, *path))
    shell_tool = (
        run.merged.flag("features", "shell_tool", default=True)
        and _table(values, "features").get("shell_tool") is not False
    )
    settings = RoleSettings(
        name=role.name,
        description=role.description or "",
        instructions=instructions if isinstance(instructions, str) else run.merged.text("developer_instructions") or "",
        model=model,
        sandbox_mode=reach.mode,
        network=reach.network,
        mcp_servers=tuple(_servers(role, values, run)),
        skills=skills,
        shell_tool=shell_tool,
        nicknames=role.nicknames,
        source=_source(role),
        source_hash=role.digest,
    )
    origins = dict(_origins(role, values, run, settings, reach))
    return replace(
        settings,
        origins={key: origin.place for key, origin in origins.items()},
        asked={key: origin.asked for key, origin in origins.items() if origin.asked is not None},
        capped_by={key: origin.capped_by for key, origin in origins.items() if origin.capped_by is not None},
    )


def _is_of_project(role: RoleDefinition) -> bool:
    return role.layer is not None and role.layer.kind is LayerKind.PROJECT


def _allowed_values(role: RoleDefinition, run: Run) -> JSONObject:
    if not _is_of_project(role):
        return role.values
    removed = [key for key in _NOT_FROM_PROJECTS if key in role.values]
    if removed:
        run.notices.append(f"{_source(role)}: a project's role may not set {', '.join(removed)}: ignored")
    return {key: value for key, value in role.values.items() if key not in removed}


def _model(role: RoleDefinition, values: JSONObject, run: Run) -> ModelSettings:
    keys = set(KEYS)
    if _yields_model(role, run):
        keys.discard("model")
    defaults: JSONObject = {key: run.merged.get("agents", name) for key, name in _SUBAGENT_DEFAULTS.items()}
    model = with_values(with_values(run.model, defaults, {*KEYS}), values, keys)
    provider = values.get("model_provider")
    if isinstance(provider, str):
        if provider not in run.provider_ids:
            known = ", ".join(sorted(run.provider_ids))
            raise ConfigError(
                f"{_place(role, 'model_provider')}: model_provider: found `{provider}`, which is not defined; "
                f"allowed: {known}",
                hint=did_you_mean(provider, run.provider_ids) or f"define [model_providers.{provider}] in config.toml",
            )
        model = with_values(model, values, {"model_provider"})
    tier = _silent_tier(role, values, run)
    return replace(model, model=model_of(tier or model.model, run.tiers))


def _yields_model(role: RoleDefinition, run: Run) -> bool:
    """Whether the file that ships names a model and the user names another: the user's word counts."""
    return _is_shipped(role) and (
        _has_tier(role, run)
        or any(run.merged.get(*key) is not None for key in (("model",), ("agents", "default_subagent_model")))
    )


def _has_tier(role: RoleDefinition, run: Run) -> bool:
    """Return whether the user names a model for the kind of work that a role does."""
    return (run.role_tiers.fast if tier_of(role.name) == "fast" else run.role_tiers.deep) is not None


def _silent_tier(role: RoleDefinition, values: JSONObject, run: Run) -> str:
    """Return the tier that a role gets which names no model of its own; empty where it names one, or none counts."""
    names_one = isinstance(values.get("model"), str) and not _yields_model(role, run)
    return "" if names_one or not _has_tier(role, run) else tier_of(role.name)


def _is_shipped(role: RoleDefinition) -> bool:
    return role.path is not None and role.path.parent == bundled_role_file("reviewer").parent


def _servers(role: RoleDefinition, values: JSONObject, run: Run) -> Iterator[str]:
    own = _table(values, "mcp_servers")
    for name, server in run.servers.items():
        if name not in own and server.enabled:
            yield name
    for name, changes in own.items():
        table = {**run.merged.table("mcp_servers", name), **(changes if isinstance(changes, dict) else {})}
        problems = list(mcp_problems(("mcp_servers", name), table))
        if problems:
            raise refuse([(_place(role, "mcp_servers", name), problem) for problem in problems])
        place = None if _is_of_project(role) else place_of(name, run.merged)
        server = build_server(name, table, _base(role), place=place)
        if not server.enabled:
            continue
        if server == run.servers.get(name):
            yield name
        else:
            key = f"{role.name}:{name}"
            run.own_servers[key] = server
            yield key


def _origins(
    role: RoleDefinition, values: JSONObject, run: Run, settings: RoleSettings, reach: RoleReach
) -> Iterator[tuple[str, Origin]]:
    """Return where each part of a role comes from, by the keys that its receipt goes by."""

    def said(*path: str) -> StatedValue | None:
        return _said(role, values, run, path)

    model, skills = settings.model, settings.skills
    yield "developer_instructions", Origin(_text_place(said("developer_instructions")))
    yield "model_provider", trace(model.provider_id, said("model_provider"))
    yield "model", _model_origin(role, values, run, model)
    yield "model_reasoning_effort", trace(model.effort, said("model_reasoning_effort"))
    yield "model_reasoning_summary", trace(model.summary, said("model_reasoning_summary"))
    yield "model_verbosity", trace(model.verbosity, said("model_verbosity"))
    yield "service_tier", trace(model.service_tier, said("service_tier"))
    yield "web_search", reach.search_origin
    yield "sandbox_mode", reach.mode_origin
    yield "sandbox_workspace_write", reach.network_origin
    yield "features.shell_tool", _switch(role, values, run, ("features", "shell_tool"), counts=settings.shell_tool)
    yield (
        "skills.include_instructions",
        _switch(role, values, run, ("skills", "include_instructions"), counts=skills.include_instructions),
    )
    yield (
        "skills.bundled.enabled",
        _switch(role, values, run, ("skills", "bundled", "enabled"), counts=skills.bundled_enabled),
    )
    yield "tools.update_plan", Origin(_text_place(stated_by(run.merged, "tools", "update_plan", "enabled")))
    for name in {**run.servers, **_table(values, "mcp_servers")}:
        own = name in _table(values, "mcp_servers")
        path = ("mcp_servers", name)
        yield f"mcp_servers.{name}", Origin(_place(role, *path) if own else run.merged.place(path))


def _text_place(said: StatedValue | None) -> str:
    """Return the place of something too long to be compared with what its line says."""
    return said.place if said is not None else BUILT_IN


def _said(role: RoleDefinition, values: JSONObject, run: Run, path: tuple[str, ...]) -> StatedValue | None:
    """Return what says a value of a role: its file, the default for agents, or the configuration."""
    own = stated(values, path, lambda found: _place(role, *found))
    default = _SUBAGENT_DEFAULTS.get(path[0])
    return own or (stated_by(run.merged, "agents", default) if default else None) or stated_by(run.merged, *path)


def _switch(role: RoleDefinition, values: JSONObject, run: Run, path: tuple[str, ...], *, counts: bool) -> Origin:
    """Return the origin of what a role may switch off, and may not switch on where it is off."""
    own = stated(values, path, lambda found: _place(role, *found))
    general = stated_by(run.merged, *path)
    value = "true" if counts else "false"
    if own is None or own.value == value:
        return trace(value, own or general)
    return trace(value, own, general)


def _model_origin(role: RoleDefinition, values: JSONObject, run: Run, model: ModelSettings) -> Origin:
    if tier := _silent_tier(role, values, run):
        return trace(model.model, _tier_said(tier, model.model, run))
    named = {key: value for key, value in values.items() if key != "model"} if _yields_model(role, run) else values
    said = _said(role, named, run, ("model",))
    if said is None or said.value == model.model:
        return trace(model.model, said)
    by_tier = _tier_said(said.value, model.model, run)  # what is said is the name of a tier
    return Origin(trace(model.model, by_tier).place, asked=said)


def _tier_said(tier: str, model: str, run: Run) -> StatedValue | None:
    """Return the line that names the model of a tier: its own, that of the deep one, or `model`."""
    lines = (
        stated_by(run.merged, "codexteam", "models", tier),
        stated_by(run.merged, "codexteam", "models", "deep"),
        stated_by(run.merged, "model"),
    )
    return next((line for line in lines if line is not None and line.value == model), None)


def _source(role: RoleDefinition) -> str:
    if role.path is None:
        return role.layer.name if role.layer else LayerKind.BUILT_IN.value
    return LayerKind.BUILT_IN.value if _is_shipped(role) else str(role.path)


def _place(role: RoleDefinition, *path: str | int) -> str:
    if role.file is None:
        return _source(role)
    place = role.file.place(path)
    return (
        place.replace(str(role.path), LayerKind.BUILT_IN.value + f":{role.name}.toml", 1)
        if _is_shipped(role)
        else place
    )


def _base(role: RoleDefinition) -> Path:
    """Return what relative paths in a role start from."""
    if role.path is not None:
        return role.path.parent
    return role.layer.base if role.layer else Path()


def _table(values: JSONObject, key: str) -> JSONObject:
    value = values.get(key)
    return value if isinstance(value, dict) else {}
