"""Loads configuration: from a request to settings, or to merged values with their origins.

Codex's rules decide what is accepted. What differs on purpose: a role's sandbox, servers, provider and web search
count; a broken role that the run needs stops it; writing is the default, as every agent has a copy of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codexteam.config.capped import difference_notices, full_access_notice, refuse_capped_flags, run_notices
from codexteam.config.codex_schema import check_types, refuse, unknown_keys, unknown_notice
from codexteam.config.codexteam_schema import build_team
from codexteam.config.hooks import joined_hooks
from codexteam.config.layers import Layer, MergedLayers
from codexteam.config.model_tiers import model_of, tiers_for_roles, whole_tiers
from codexteam.config.notifications import terminal_notices_of
from codexteam.config.permissions import read_requirements
from codexteam.config.provider_settings import (
    build_providers,
    build_server,
    find_credentials,
    place_of,
    refuse_missing_command,
)
from codexteam.config.request import LoadRequest
from codexteam.config.role_files import RoleDefinition, RoleProblem, Roles, find_roles
from codexteam.config.role_reach import run_reach
from codexteam.config.roles import Run, resolve_role, run_model, run_skills
from codexteam.config.schema import Problem, did_you_mean
from codexteam.config.semantics import check_meaning, check_rules, read_named_file
from codexteam.config.settings import (
    McpPlace,
    McpServerSettings,
    ProjectDocSettings,
    ProviderSettings,
    RoleSettings,
    Settings,
    ShellEnvironmentSettings,
    TeamSettings,
)
from codexteam.config.sources import ConfigSources, read_sources
from codexteam.config.team import idle_roles
from codexteam.config.telemetry import telemetry_of
from codexteam.core.budget_amounts import CREDIT_FORMS, CreditRule
from codexteam.errors import ConfigError

__all__ = ["LoadRequest", "LoadedLayers", "load_layers", "load_settings"]


@dataclass(frozen=True, slots=True)
class LoadedLayers:
    """The layers of a configuration, checked and merged."""

    sources: ConfigSources
    roles: Roles
    unknown: tuple[tuple[str, Problem], ...]
    """Keys that neither Codex nor codexteam knows, with their places."""
    notices: tuple[str, ...]

    @property
    def merged(self) -> MergedLayers:
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
    roles = find_roles(sources.layers, request.required_roles)
    unknown = [
        *unknown_keys(sources.layers),
        *(each for role in roles.definitions.values() for each in role.unknown),
    ]
    if request.strict and unknown:
        raise refuse(unknown)
    if request.strict:
        _refuse_two_spellings(sources)
        if sources.warnings:
            raise ConfigError("\n".join(sources.warnings), hint="write the file, or leave the option out")
    check_types(sources.merged)
    check_meaning(sources.merged)
    check_rules([sources.codex_home, *(layer.base for layer in sources.layers if layer.kind.value == "project")])
    return LoadedLayers(
        sources=sources,
        roles=roles,
        unknown=tuple(unknown),
        notices=(
            *sources.warnings,
            *roles.warnings,
            *sources.notices,
            *(unknown_notice(place, problem) for place, problem in unknown),
        ),
    )


def load_settings(request: LoadRequest) -> Settings:
    """Load everything that a run needs to know.

    Raises:
        ConfigError: Something cannot be used; the message has file, line, key, what was found and what is allowed.
    """
    loaded = load_layers(request)
    merged, sources = loaded.merged, loaded.sources
    notices = list(loaded.notices)
    team = _team(merged, sources.layers, request, notices)
    reach = run_reach(merged, read_requirements(sources.requirements), team.sandbox.allow_hosts)
    refuse_capped_flags(sources.layers, merged, reach)
    notices.extend(run_notices(reach))
    model = run_model(merged, team.limits.max_output_tokens)
    tiers = whole_tiers(merged, team.models)
    model = replace(model, model=model_of(model.model, tiers))
    model = replace(model, web_search=reach.web_search)
    credentials = find_credentials(request.environment, sources.codex_home)
    providers = build_providers(merged, request.environment, credentials, team.replay_file)
    _refuse_unusable(merged, model.provider_id, providers)
    servers = _servers(merged, request, notices)
    run = Run(
        merged=merged,
        model=model,
        reach=reach,
        skills=run_skills(merged, sources.codex_home),
        servers=servers,
        provider_ids=frozenset(providers),
        tiers=tiers,
        role_tiers=tiers_for_roles(merged, sources.layers, team.models),
        notices=notices,
    )
    roles, ignored = _roles(loaded.roles, run, request, request.required_roles - idle_roles(team))
    notices.extend(ignored)
    _refuse_unknown_roles(merged, roles)
    telemetry = telemetry_of(merged, request.environment, notices)
    of_reach = (*difference_notices(roles.values()), *filter(None, (full_access_notice(roles),)))
    notices.extend(of_reach)
    _refuse_bad_credit(merged)
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
        projects=sources.projects,
        model=model,
        sandbox_mode=reach.mode,
        network=reach.network,
        providers=providers,
        roles=roles,
        mcp_servers={**servers, **run.own_servers},
        skills=run.skills,
        shell_environment=_shell_environment(merged),
        project_doc=_project_doc(merged),
        team=team,
        tool_output_tokens=_or(merged.integer("tool_output_token_limit"), 10_000),
        notify=merged.texts("notify"),
        terminal_notices=terminal_notices_of(merged),
        telemetry=telemetry,
        compact_prompt=merged.text("compact_prompt") or read_named_file(merged, "experimental_compact_prompt_file"),
        update_plan_tool=merged.flag("tools", "update_plan", "enabled", default=False),
        notices=tuple(dict.fromkeys(notices)),
        warnings=(*sources.warnings, *loaded.roles.warnings, *ignored),
        reach_notices=of_reach,
    )


def _team(merged: MergedLayers, layers: Sequence[Layer], request: LoadRequest, notices: list[str]) -> TeamSettings:
    engines = merged.origin(("codexteam", "sandbox", "engines"))
    table = {**merged.table("codexteam"), "hooks": joined_hooks(layers)}
    team = build_team(table, engines.base if engines else request.cwd)
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


def thread_limit_path(merged: MergedLayers) -> tuple[str, ...] | None:
    """Return the effective key of the thread limit: ours, else Codex's newer spelling, or that of the higher layer."""
    found = [path for path in _SPELLINGS if merged.get(*path) is not None]
    if not found:
        return None
    order = list(dict.fromkeys(id(layer) for layer in merged.origins.values()))
    first = found[0]
    if first[0] == "agents" and len(found) > 1:
        old, new = merged.origin(found[1]), merged.origin(found[0])
        if old is not new and old is not None and new is not None and order.index(id(old)) > order.index(id(new)):
            first = found[1]
    return first


def _threads(merged: MergedLayers, notices: list[str]) -> int | None:
    first = thread_limit_path(merged)
    if first is None:
        return None
    others = [path for path in _SPELLINGS if path != first and merged.get(*path) is not None]
    if others:
        unused = ", ".join(f"{'.'.join(path)} = {merged.get(*path)}" for path in others)
        notices.append(
            f"{merged.place(first)}: the thread limit is {'.'.join(first)} = {merged.get(*first)}; {unused} is not used"
        )
    return merged.integer(*first)


def _refuse_two_spellings(sources: ConfigSources) -> None:
    for layer in sources.layers:
        agents = layer.values.get("agents")
        if isinstance(agents, dict) and {"max_threads", "max_concurrent_threads_per_session"} <= agents.keys():
            problem = Problem(
                ("agents", "max_threads"), "a second spelling of `max_concurrent_threads_per_session`", "one of the two"
            )
            raise refuse([(layer.place(problem.path), problem)])


def _refuse_unusable(merged: MergedLayers, provider_id: str, providers: dict[str, ProviderSettings]) -> None:
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


def _servers(merged: MergedLayers, request: LoadRequest, notices: list[str]) -> dict[str, McpServerSettings]:
    servers = {}
    for name in merged.table("mcp_servers"):
        layer = merged.origin(("mcp_servers", name))
        base = layer.base if layer else request.cwd
        table = merged.table("mcp_servers", name)
        place = place_of(name, merged)
        if place is None and merged.get("codexteam", "mcp_servers", name, "place") == McpPlace.HOST:
            notices.append(
                f"MCP server {name}: {merged.place(('mcp_servers', name))}: a project's server runs inside the sandboxes, "
                "whatever [codexteam.mcp_servers] says"
            )
        server = build_server(name, table, base, place=place)
        refuse_missing_command(server, request.environment, merged.place(("mcp_servers", name)))
        servers[name] = server
    return servers


def _roles(
    found: Roles, run: Run, request: LoadRequest, needed: frozenset[str]
) -> tuple[dict[str, RoleSettings], list[str]]:
    """Return the roles, and for each one that is broken and not needed, why it is ignored."""
    problems = list(found.problems)
    roles = {}
    for role in found.definitions.values():
        settings = _resolved(role, run, problems)
        if settings is not None:
            roles[role.name] = settings
    # two tables for one role contradict each other, whoever needs it; asked for none, all is as in Codex
    fatal = [problem for problem in problems if problem.name in needed or (needed and problem.registered_twice)]
    if fatal:
        more = [f"\n{problem.error}" for problem in fatal[1:]]
        raise ConfigError(
            f"{fatal[0].error}{''.join(more)}",
            hint=fatal[0].error.hint
            or f"the run needs the role `{fatal[0].name}`: correct its definition or remove it",
        )
    missing = request.required_roles - roles.keys()
    if missing:
        known = ", ".join(sorted(roles))
        raise ConfigError(f"unknown role: {', '.join(sorted(missing))}; known are {known}")
    ignored = [f"role `{problem.name}` is ignored: {problem.words}" for problem in problems if problem.name is not None]
    return roles, ignored


def _refuse_unknown_roles(merged: MergedLayers, roles: dict[str, RoleSettings]) -> None:
    problems = [
        Problem(
            (*path, name), "a role that does not exist", f"one of {', '.join(sorted(roles))}", did_you_mean(name, roles)
        )
        for path in (
            *(("codexteam", "budget", f"role_{unit}") for unit in ("tokens", "usd", "credits")),
            ("codexteam", "sandbox", "role_limits"),
        )
        for name in merged.table(*path)
        if name not in roles
    ]
    if problems:
        raise refuse([(merged.place(problem.path), problem) for problem in problems])


def _refuse_bad_credit(merged: MergedLayers) -> None:
    """Refuse a `credit` that cannot be read."""
    path = ("codexteam", "budget", "credit")
    text = merged.text(*path)
    if text is None:
        return
    try:
        CreditRule.read(text)
    except ValueError:
        problem = Problem(path, repr(text), CREDIT_FORMS, "or leave it out, and give rates in [codexteam.prices]")
        raise refuse([(merged.place(path), problem)]) from None


def _resolved(role: RoleDefinition, run: Run, problems: list[RoleProblem]) -> RoleSettings | None:
    try:
        return resolve_role(role, run)
    except ConfigError as error:
        problems.append(RoleProblem(role.name, error))
        return None


def _shell_environment(merged: MergedLayers) -> ShellEnvironmentSettings:
    table = merged.table("shell_environment_policy")
    values = table.get("set")
    return ShellEnvironmentSettings(
        inherit=merged.text("shell_environment_policy", "inherit") or ShellEnvironmentSettings().inherit,
        exclude=merged.texts("shell_environment_policy", "exclude"),
        include_only=merged.texts("shell_environment_policy", "include_only"),
        set={name: str(value) for name, value in values.items()} if isinstance(values, dict) else {},
    )


def _project_doc(merged: MergedLayers) -> ProjectDocSettings:
    default = ProjectDocSettings()
    return ProjectDocSettings(
        max_bytes=_or(merged.integer("project_doc_max_bytes"), default.max_bytes),
        # Codex ignores what is not a plain file name
        fallback_filenames=tuple(name for name in merged.texts("project_doc_fallback_filenames") if "/" not in name),
        root_markers=merged.texts("project_root_markers")
        if merged.get("project_root_markers") is not None
        else default.root_markers,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
