"""Roles resolved: what an agent of each would really be started with, never wider than the run allows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.config.bundled import bundled_role_file
from codexteam.config.layers import LayerKind, Merged
from codexteam.config.mcp_settings import build_server
from codexteam.config.model_settings import KEYS, narrower_search, with_values
from codexteam.config.permissions import Reach, resolve_reach
from codexteam.config.role_files import RoleDefinition
from codexteam.config.schema import did_you_mean
from codexteam.config.semantics import mcp_problems
from codexteam.config.settings import (
    McpServerSettings,
    ModelSettings,
    NetworkKind,
    NetworkPolicy,
    RoleSettings,
    SkillSettings,
)
from codexteam.config.skill_settings import role_skills
from codexteam.config.validation import refuse
from codexteam.core.json_types import JSONObject
from codexteam.errors import ConfigError

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

    merged: Merged
    model: ModelSettings
    reach: Reach
    search_limit: str
    hosts: tuple[str, ...]
    network: NetworkPolicy
    skills: SkillSettings
    servers: Mapping[str, McpServerSettings]
    provider_ids: frozenset[str]
    own_servers: dict[str, McpServerSettings] = field(default_factory=dict)
    """Servers that roles define for themselves, by `role:id`; filled as roles are resolved."""
    notices: list[str] = field(default_factory=list)


def resolve_role(role: RoleDefinition, run: Run) -> RoleSettings:
    """Give a role as the run would use it.

    Raises:
        ConfigError: It names a provider that is not defined, or an MCP server without a transport.
    """
    values = _allowed_values(role, run)
    reach = resolve_reach(values, run.reach)
    mode = run.reach.mode.narrower(reach.mode)
    instructions = values.get("developer_instructions")
    return RoleSettings(
        name=role.name,
        description=role.description or "",
        instructions=instructions if isinstance(instructions, str) else run.merged.text("developer_instructions") or "",
        model=_model(role, values, run),
        sandbox_mode=mode,
        network=_narrower_network(Reach(mode, reach.network).policy(run.hosts), run.network),
        mcp_servers=tuple(_servers(role, values, run)),
        skills=role_skills(run.skills, _table(values, "skills"), _base(role)),
        shell_tool=run.merged.flag("features", "shell_tool", default=True)
        and _table(values, "features").get("shell_tool") is not False,
        nicknames=role.nicknames,
        source=_source(role),
        source_hash=role.digest,
        origins=dict(_origins(role, values, run)),
    )


def _allowed_values(role: RoleDefinition, run: Run) -> JSONObject:
    if role.layer is None or role.layer.kind is not LayerKind.PROJECT:
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
                f"{_place(role, 'model_provider')}: model_provider: found `{provider}`, which is not defined, "
                f"allowed is one of {known}",
                hint=did_you_mean(provider, run.provider_ids) or f"define [model_providers.{provider}] in config.toml",
            )
        model = with_values(model, values, {"model_provider"})
    search = values.get("web_search")
    if isinstance(search, str):
        limited: JSONObject = {"web_search": narrower_search(search, run.search_limit)}
        model = with_values(model, limited, {"web_search"})
    return model


def _yields_model(role: RoleDefinition, run: Run) -> bool:
    """Whether the file that ships names a model and the user names another: the user's word counts."""
    return _is_shipped(role) and any(
        run.merged.get(*key) is not None for key in (("model",), ("agents", "default_subagent_model"))
    )


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
        server = build_server(name, table, _base(role))
        if not server.enabled:
            continue
        if server == run.servers.get(name):
            yield name
        else:
            key = f"{role.name}:{name}"
            run.own_servers[key] = server
            yield key


_NETWORKS = (NetworkKind.NONE, NetworkKind.ALLOWLIST, NetworkKind.OPEN)


def _narrower_network(wanted: NetworkPolicy, limit: NetworkPolicy) -> NetworkPolicy:
    return min(limit, wanted, key=lambda policy: _NETWORKS.index(policy.kind))


def _origins(role: RoleDefinition, values: JSONObject, run: Run) -> Iterator[tuple[str, str]]:
    for key in ("developer_instructions", "model_provider", "web_search", "sandbox_mode", *sorted(KEYS)):
        yield key, _origin(role, values, run, (key,))
    yield "sandbox_workspace_write", _origin(role, values, run, ("sandbox_workspace_write", "network_access"))
    yield "skills", _origin(role, values, run, ("skills",))
    yield "mcp_servers", _origin(role, values, run, ("mcp_servers",))
    for name in {**run.servers, **_table(values, "mcp_servers")}:
        yield f"mcp_servers.{name}", _origin(role, values, run, ("mcp_servers", name))
    yield "features.shell_tool", _origin(role, values, run, ("features", "shell_tool"))
    yield "tools.update_plan", _origin(role, {}, run, ("tools", "update_plan"))


def _origin(role: RoleDefinition, values: JSONObject, run: Run, path: tuple[str, ...]) -> str:
    inner: object = values
    for key in path:
        inner = inner.get(key) if isinstance(inner, dict) else None
    yields = path == ("model",) and _yields_model(role, run)
    if inner is not None and not yields:
        return _place(role, *path)
    default = ("agents", _SUBAGENT_DEFAULTS.get(path[0], ""))
    return run.merged.place(default if run.merged.get(*default) is not None else path)


def _source(role: RoleDefinition) -> str:
    if role.path is None:
        return role.layer.name if role.layer else LayerKind.BUILT_IN.value
    return LayerKind.BUILT_IN.value if _is_shipped(role) else str(role.path)


def _place(role: RoleDefinition, *path: str) -> str:
    if role.file is None:
        return _source(role)
    place = role.file.place(path)
    return (
        place.replace(str(role.path), LayerKind.BUILT_IN.value + f":{role.name}.toml", 1)
        if _is_shipped(role)
        else place
    )


def _base(role: RoleDefinition) -> Path:
    """Give what relative paths in a role start from."""
    if role.path is not None:
        return role.path.parent
    return role.layer.base if role.layer else Path()


def _table(values: JSONObject, key: str) -> JSONObject:
    value = values.get(key)
    return value if isinstance(value, dict) else {}
