"""Configuration loaded: from a request to settings, or to the merged values with their origins.

Codex's rules decide what is accepted. What differs on purpose: a role's sandbox, servers, provider and web search
count; a broken role that the run needs stops it; writing is the default, as every agent has a copy of its own.
"""

from dataclasses import dataclass, replace

from codexteam.config.layers import Layer, Merged
from codexteam.config.mcp_settings import build_server, refuse_missing_command
from codexteam.config.model_settings import run_model
from codexteam.config.permissions import DEFAULT_MODE, Reach, resolve_reach
from codexteam.config.provider_settings import build_providers, find_credentials
from codexteam.config.request import LoadRequest
from codexteam.config.requirements import read_requirements
from codexteam.config.role_files import RoleDefinition, RoleProblem, Roles, find_roles
from codexteam.config.roles import Run, resolve_role
from codexteam.config.rule_files import check_rules
from codexteam.config.schema import Problem, did_you_mean
from codexteam.config.semantics import check_meaning, read_named_file
from codexteam.config.settings import (
    McpServerSettings,
    ProjectDocSettings,
    ProviderSettings,
    RoleSettings,
    SandboxMode,
    Settings,
    ShellEnvironmentSettings,
    TeamSettings,
)
from codexteam.config.skill_settings import run_skills
from codexteam.config.sources import Sources, read_sources
from codexteam.config.team_schema import build_team
from codexteam.config.validation import check_types, refuse, unknown_keys, unknown_notice
from codexteam.errors import ConfigError

__all__ = ["LoadRequest", "LoadedLayers", "load_layers", "load_settings"]


@dataclass(frozen=True, slots=True)
class LoadedLayers:
    """The layers of a configuration, checked and merged."""

    sources: Sources
    roles: Roles
    unknown: tuple[tuple[str, Problem], ...]
    """Keys that neither Codex nor codexteam knows, with their places."""
    notices: tuple[str, ...]

    @property
    def merged(self) -> Merged:
        """The values of all layers, and where each comes from."""
        return self.sources.merged

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, lowest first."""
        return self.sources.layers


def load_layers(request: LoadRequest) -> LoadedLayers:
    """Read, check and merge all layers.

    Raises:
        ConfigError: A file, a flag or a value cannot be used, or with `strict` a key is not known.
    """
    sources = read_sources(request)
    unknown = unknown_keys(sources.layers)
    if request.strict and unknown:
        raise refuse(unknown)
    if request.strict:
        _refuse_two_spellings(sources)
    check_types(sources.merged)
    check_meaning(sources.merged)
    check_rules([sources.codex_home, *(layer.base for layer in sources.layers if layer.kind.value == "project")])
    roles = find_roles(sources.layers)
    return LoadedLayers(
        sources=sources,
        roles=roles,
        unknown=tuple(unknown),
        notices=(*sources.notices, *(unknown_notice(place, problem) for place, problem in unknown)),
    )


def load_settings(request: LoadRequest) -> Settings:
    """Load everything that a run needs to know.

    Raises:
        ConfigError: Something cannot be used; the message has file, line, key, what was found and what is allowed.
    """
    loaded = load_layers(request)
    merged, sources = loaded.merged, loaded.sources
    notices = list(loaded.notices)
    team = _team(merged, request, notices)
    requirements = read_requirements(sources.requirements)
    reach = requirements.limit_reach(resolve_reach(merged.values, Reach(DEFAULT_MODE, network=False)), notices)
    model = run_model(merged, team.limits.max_output_tokens)
    search_limit = merged.text("web_search") or ("live" if reach.mode is SandboxMode.DANGER_FULL_ACCESS else "cached")
    search_limit = requirements.limit_search(search_limit, notices)
    model = replace(model, web_search=search_limit if merged.text("web_search") else model.web_search)
    credentials = find_credentials(request.environment, sources.codex_home)
    providers = build_providers(merged, request.environment, credentials, team.replay_file)
    _refuse_unusable(merged, model.provider_id, providers)
    servers = _servers(merged, request)
    skills_layer = merged.origin(("skills",))
    run = Run(
        merged=merged,
        model=model,
        reach=reach,
        search_limit=search_limit,
        hosts=team.sandbox.allow_hosts,
        network=reach.policy(team.sandbox.allow_hosts),
        skills=run_skills(merged.table("skills"), skills_layer.base if skills_layer else sources.codex_home),
        servers=servers,
        provider_ids=frozenset(providers),
        notices=notices,
    )
    roles = _roles(loaded.roles, run, request)
    _refuse_unknown_roles(merged, roles)
    if credentials.notice and any(
        providers[provider_id].requires_openai_auth
        for provider_id in {model.provider_id, *(role.model.provider_id for role in roles.values())}
        if provider_id in providers
    ):
        notices.append(credentials.notice)
    return Settings(
        repository=sources.repository,
        codex_home=sources.codex_home,
        trusted=sources.trusted,
        model=model,
        sandbox_mode=reach.mode,
        network=run.network,
        providers=providers,
        roles=roles,
        mcp_servers={**servers, **run.own_servers},
        skills=run.skills,
        shell_environment=_shell_environment(merged),
        project_doc=_project_doc(merged),
        team=team,
        tool_output_tokens=_or(merged.integer("tool_output_token_limit"), 10_000),
        developer_instructions=merged.text("developer_instructions"),
        compact_prompt=merged.text("compact_prompt") or read_named_file(merged, "experimental_compact_prompt_file"),
        update_plan_tool=merged.flag("tools", "update_plan", "enabled", default=False),
        notices=tuple(dict.fromkeys(notices)),
    )


def _team(merged: Merged, request: LoadRequest, notices: list[str]) -> TeamSettings:
    engines = merged.origin(("codexteam", "sandbox", "engines"))
    team = build_team(merged.table("codexteam"), engines.base if engines else request.cwd)
    for key in ("record_file", "replay_file"):
        path = merged.file_path("codexteam", key)
        if path is not None:
            team = replace(team, **{key: path})  # type: ignore[arg-type]  # both fields are paths
    threads = _threads(merged, notices)
    if threads is not None:
        team = replace(team, limits=replace(team.limits, max_threads=threads))
    return team


_SPELLINGS = (
    ("codexteam", "limits", "max_threads"),
    ("agents", "max_concurrent_threads_per_session"),
    ("agents", "max_threads"),
)


def _threads(merged: Merged, notices: list[str]) -> int | None:
    """Give the thread limit: codexteam's own word, else the newer of Codex's two spellings, or the higher layer's."""
    found = [path for path in _SPELLINGS if merged.get(*path) is not None]
    if not found:
        return None
    order = list(dict.fromkeys(id(layer) for layer in merged.origins.values()))
    first = found[0]
    if first[0] == "agents" and len(found) > 1:
        old, new = merged.origin(found[1]), merged.origin(found[0])
        if old is not new and old is not None and new is not None and order.index(id(old)) > order.index(id(new)):
            first = found[1]
    if len(found) > 1:
        others = ", ".join(f"{'.'.join(path)} = {merged.get(*path)}" for path in found if path != first)
        notices.append(
            f"{merged.place(first)}: the thread limit is {'.'.join(first)} = {merged.get(*first)}; {others} is not used"
        )
    return merged.integer(*first)


def _refuse_two_spellings(sources: Sources) -> None:
    for layer in sources.layers:
        agents = layer.values.get("agents")
        if isinstance(agents, dict) and {"max_threads", "max_concurrent_threads_per_session"} <= agents.keys():
            problem = Problem(
                ("agents", "max_threads"), "a second spelling of `max_concurrent_threads_per_session`", "one of the two"
            )
            raise refuse([(layer.place(problem.path), problem)])


def _refuse_unusable(merged: Merged, provider_id: str, providers: dict[str, ProviderSettings]) -> None:
    if provider_id in providers:
        return
    place = f"{merged.place(('model_provider',))}: model_provider: found `{provider_id}`"
    if provider_id == "replay":
        raise ConfigError(
            f"{place}, but no recording", hint="name it with [codexteam] replay_file, or use --replay FILE"
        )
    raise ConfigError(
        f"{place}, which codexteam cannot speak to", hint="name a provider that serves the Responses API with a key"
    )


def _servers(merged: Merged, request: LoadRequest) -> dict[str, McpServerSettings]:
    servers = {}
    for name in merged.table("mcp_servers"):
        layer = merged.origin(("mcp_servers", name))
        server = build_server(name, merged.table("mcp_servers", name), layer.base if layer else request.cwd)
        refuse_missing_command(server, request.environment, merged.place(("mcp_servers", name)))
        servers[name] = server
    return servers


def _roles(found: Roles, run: Run, request: LoadRequest) -> dict[str, RoleSettings]:
    problems = list(found.problems)
    roles = {}
    for role in found.definitions.values():
        settings = _resolved(role, run, problems)
        if settings is not None:
            roles[role.name] = settings
    fatal = [problem for problem in problems if problem.name in request.required_roles]
    if fatal:
        more = [f"\n{problem.error}" for problem in fatal[1:]]
        raise ConfigError(
            f"{fatal[0].error}{''.join(more)}",
            hint=fatal[0].error.hint or f"the run needs the role `{fatal[0].name}`: mend its definition or remove it",
        )
    missing = request.required_roles - roles.keys()
    if missing:
        known = ", ".join(sorted(roles))
        raise ConfigError(f"unknown role: {', '.join(sorted(missing))}; known are {known}")
    run.notices.extend(f"role ignored: {problem.error}" for problem in problems)
    return roles


def _refuse_unknown_roles(merged: Merged, roles: dict[str, RoleSettings]) -> None:
    problems = [
        Problem(
            (*path, name), "a role that does not exist", f"one of {', '.join(sorted(roles))}", did_you_mean(name, roles)
        )
        for path in (("codexteam", "budget", "role_tokens"), ("codexteam", "sandbox", "role_limits"))
        for name in merged.table(*path)
        if name not in roles
    ]
    if problems:
        raise refuse([(merged.place(problem.path), problem) for problem in problems])


def _resolved(role: RoleDefinition, run: Run, problems: list[RoleProblem]) -> RoleSettings | None:
    try:
        return resolve_role(role, run)
    except ConfigError as error:
        problems.append(RoleProblem(role.name, error))
        return None


def _shell_environment(merged: Merged) -> ShellEnvironmentSettings:
    table = merged.table("shell_environment_policy")
    values = table.get("set")
    return ShellEnvironmentSettings(
        inherit=merged.text("shell_environment_policy", "inherit") or ShellEnvironmentSettings().inherit,
        exclude=merged.texts("shell_environment_policy", "exclude"),
        include_only=merged.texts("shell_environment_policy", "include_only"),
        set={name: str(value) for name, value in values.items()} if isinstance(values, dict) else {},
    )


def _project_doc(merged: Merged) -> ProjectDocSettings:
    default = ProjectDocSettings()
    return ProjectDocSettings(
        max_bytes=_or(merged.integer("project_doc_max_bytes"), default.max_bytes),
        # Codex ignores what is no plain file name
        fallback_filenames=tuple(name for name in merged.texts("project_doc_fallback_filenames") if "/" not in name),
        root_markers=merged.texts("project_root_markers")
        if merged.get("project_root_markers") is not None
        else default.root_markers,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
