"""Composition: settings become a sandbox engine that works, and the runner of agents with its ledger and tool servers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codexteam.adapters.machine.folder_files import FolderFiles
from codexteam.agent.instructions import InstructionSources, load_instructions
from codexteam.agent.reservations import Reservations, restored_ledger
from codexteam.agent.skills import SkillFiles
from codexteam.app.codex_engine import checked, engine_words, make_harness
from codexteam.app.plan_credits import CreditReadings
from codexteam.app.plan_limits import PlanLimits
from codexteam.app.project import Project, cache_folder
from codexteam.config.price_list import price_list
from codexteam.config.settings import (
    McpPlace,
    McpServerSettings,
    ModelSettings,
    ProviderSettings,
    SandboxSettings,
    Settings,
)
from codexteam.config.team import roles_on_codex
from codexteam.core.budget import BudgetWarning
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.core.text import clean_line
from codexteam.errors import ConfigError, SandboxUnavailable
from codexteam.ports.harness import Harness
from codexteam.ports.model import CallGates, Model
from codexteam.ports.sandbox_engine import EngineReport, SandboxEngine
from codexteam.ports.tool_servers import ToolServers
from codexteam.run.agents import SandboxAgentRunner
from codexteam.run.context import RunContext
from codexteam.run.environment.builder import EnvironmentBuilder
from codexteam.run.environment.commit_environments import CommitEnvironments
from codexteam.run.environment.setup_order import SetupInputs
from codexteam.run.environment.several_environments import SeveralEnvironments
from codexteam.run.host import Host
from codexteam.system.cancellation import stopped

if TYPE_CHECKING:
    from codexteam.adapters.sandbox.docker.images import RepositoryFiles


_HINT = (
    "install a Docker engine (Debian: apt-get install docker.io) and start it, or bubblewrap "
    "(apt-get install bubblewrap, or pip install 'codexteam[local]'); `codexteam doctor` says what is missing"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The engine of a run, checked."""

    engine: SandboxEngine
    report: EngineReport
    why: str


async def choose_engine(
    settings: SandboxSettings,
    *,
    state_dir: Path,
    environment: Mapping[str, str],
    files: "RepositoryFiles | None" = None,
    trusted: bool = False,
    on_denied: Callable[[JSONObject], None] | None = None,
    on_change: Callable[[str], None] = lambda _: None,
) -> Chosen:
    """Return an engine that really started something. Owned by the caller, who closes it.

    `files` are the repository's at the base commit, for the choice of an image; a `trusted` repository's own
    devcontainer may be used. `on_denied` gets every connection that a sandbox was refused; `on_change` is told in words
    when a host goes down or comes back.

    Raises:
        SandboxUnavailable: none works; the bare host is never used in its place.
    """
    problems: list[str] = []
    for kind in settings.kinds:
        engine = _make(
            kind, settings, state_dir, environment, files, trusted=trusted, on_denied=on_denied, on_change=on_change
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.close)
            report = await engine.check()
            if report.usable:
                stack.pop_all()  # the caller's now
                why = "configured" if len(settings.kinds) == 1 else "; ".join(problems) or "a Docker engine answers"
                return Chosen(engine, report, why)
        problems.append(f"{kind}: {report.problem}")
    hint = _HINT if settings.kind != "kubernetes" else "`codexteam cluster` asks it again; see docs/hosts.md"
    raise SandboxUnavailable("no sandbox can be started: " + "; ".join(problems), hint=hint)


#: Hosts that are reported by name.
_MOST_REPORTED_HOSTS = 100


def report_hosts_once(report: Callable[[str, JSONObject], None]) -> Callable[[JSONObject], None]:
    """Return what reports each host that sandboxes may not reach once: agents may ask for one hundreds of times.

    The number of hosts has a limit, since an agent can make up names for ever.
    """
    reported: set[tuple[object, object]] = set()

    def denied(denial: JSONObject) -> None:
        where = (denial.get("host"), denial.get("port"))
        if where in reported or len(reported) > _MOST_REPORTED_HOSTS:
            return
        reported.add(where)
        if len(reported) <= _MOST_REPORTED_HOSTS:
            report("network.denied", denial)
        else:
            report(
                "notice", {"text": f"sandboxes asked for more than {_MOST_REPORTED_HOSTS} hosts that they do not reach"}
            )

    return denied


def possible_engines(
    settings: SandboxSettings, *, state_dir: Path, environment: Mapping[str, str]
) -> tuple[SandboxEngine, ...]:
    """Return every engine that a run here may have used, unchecked, for clearing up. Owned by the caller."""
    # bubblewrap's checkouts are folders of ours, whatever is configured by now
    kinds = ("bubblewrap",) if settings.kind == "bubblewrap" else ("docker", "bubblewrap")
    if settings.kind == "kubernetes":
        kinds = ("kubernetes", "bubblewrap")
    return tuple(_make(kind, settings, state_dir, environment, None, trusted=False) for kind in kinds)


def _make(
    kind: str,
    settings: SandboxSettings,
    state_dir: Path,
    environment: Mapping[str, str],
    files: "RepositoryFiles | None",
    *,
    trusted: bool,
    on_denied: Callable[[JSONObject], None] | None = None,
    on_change: Callable[[str], None] = lambda _: None,
) -> SandboxEngine:
    if kind == "docker":
        from codexteam.adapters.sandbox.docker.engine import DockerEngine

        return DockerEngine(
            settings,
            environment=environment,
            owner=str(state_dir),
            state_dir=state_dir,
            files=files,
            trusted=trusted,
            on_denied=on_denied,
            on_change=on_change,
        )
    if kind == "kubernetes":
        from codexteam.adapters.sandbox.kubernetes.engine import KubernetesEngine

        return KubernetesEngine(
            settings,
            environment=environment,
            owner=str(state_dir),
            now=lambda: datetime.now(UTC),
            on_denied=on_denied,
        )
    return _bubblewrap(settings, state_dir, environment, owner_of_environments=str(state_dir), on_denied=on_denied)


def _bubblewrap(
    settings: SandboxSettings,
    state_dir: Path,
    environment: Mapping[str, str],
    *,
    owner_of_environments: str,
    on_denied: Callable[[JSONObject], None] | None = None,
) -> SandboxEngine:
    from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
    from codexteam.adapters.sandbox.bubblewrap.sandbox_start import owner_of
    from codexteam.adapters.sandbox.network.policy import bearer_tokens
    from codexteam.adapters.sandbox.network.upstream import read_upstreams

    secrets = bearer_tokens(settings.proxy_secrets, environment)
    return BubblewrapEngine(
        state_dir / "bubblewrap",
        # each repository has its own: a set-up runs more of its files than a key can count
        environments=cache_folder(environment) / "environments" / "bubblewrap" / owner_of(Path(owner_of_environments)),
        proxy_secrets=secrets,
        upstreams=read_upstreams(environment),
        on_denied=on_denied,
    )


def make_worker_engine(
    kind: str,
    settings: SandboxSettings,
    *,
    state_dir: Path,
    owner: str,
    agent: AgentKey,
    environment: Mapping[str, str],
    files: "RepositoryFiles | None",
    trusted: bool,
) -> SandboxEngine:
    """Return the engine of a worker's own machine, for one agent, unchecked. Owned by the caller.

    Its sandboxes are told from the run's own, should both be on one engine; environments are the run's.
    """
    own = replace(settings, engines=())
    if kind == "docker":
        from codexteam.adapters.sandbox.docker.engine import DockerEngine

        return DockerEngine(
            own,
            environment=environment,
            owner=str(state_dir),
            state_dir=state_dir,
            files=files,
            trusted=trusted,
            environments_owner=owner,
            only_for=agent,
        )
    return _bubblewrap(own, state_dir, environment, owner_of_environments=owner)


async def build_agent_runner(
    context: RunContext, model: Model, project: Project, stack: AsyncExitStack
) -> SandboxAgentRunner:
    """Return what runs the agents of a run, its ledger and its instructions loaded.

    Args:
        context: The run's ports and settings.
        model: What agents ask; closed by its owner, as everything in the context.
        project: The user's repository, and the environment of the command.
        stack: Closes the tool servers that are started here.

    Raises:
        SurroundingsError: a tool server that is required does not start.
        StoreError: the ledger cannot be read.
    """
    settings = context.settings
    await context.repo.fetch_base(context.run_id, context.base)
    prices = price_list(settings)
    ledger = await restored_ledger(context.store, context.run_id, settings.team.budget, prices)
    home = Path(project.environment.get("HOME", "/nonexistent"))
    sources = InstructionSources(
        SkillFiles(context.repo, context.base, root=str(project.places.root)),
        FolderFiles(settings.codex_home),
        FolderFiles(home),
        "" if context.repositories else project.folder,
        context.repositories,
    )
    instructions = await load_instructions(settings, sources)
    for notice in instructions.notices:
        context.report("notice", {"text": notice})
    servers = await _tool_servers(context, project, stack)
    limits = PlanLimits(settings, context.store, context.run_id, context.report)
    stack.push_async_callback(limits.close)

    def warn(warning: BudgetWarning) -> None:
        message = f"{warning.scope} has used {warning.spent:g} of {warning.limit:g} {warning.unit}"
        context.report("budget.warned", {"scope": warning.scope, "unit": warning.unit.value, "message": message})

    most = settings.team.limits.max_threads
    reservations = Reservations(ledger, prices, warn, windows=limits.windows, most_at_once=most)
    limits.changed = reservations.look_again
    readings = CreditReadings(context.store, context.run_id, context.report, reservations)
    stack.push_async_callback(readings.close)
    harness = await _harness(context, project, stack, limits, readings)
    return SandboxAgentRunner(
        context,
        model,
        reservations,
        instructions,
        environment=command_environment(settings, project.environment),
        servers=servers,
        harness=harness,
        patience=lambda provider_id: patience_words(settings.providers.get(provider_id)),
        crowding=_crowding_of(model),
        workers=await _workers(context, model, project, stack),
    )


def _crowding_of(model: Model) -> Callable[[ModelSettings], str]:
    from codexteam.adapters.recording import RecordingModel
    from codexteam.adapters.responses.model import ResponsesModel

    asked = model.recorded if isinstance(model, RecordingModel) else model
    return asked.crowding if isinstance(asked, ResponsesModel) else lambda _: ""


async def _workers(context: RunContext, model: Model, project: Project, stack: AsyncExitStack) -> Host | None:
    """Join the cluster that agents are to work on, if any.

    Raises:
        SandboxUnavailable: it cannot be joined.
        ConfigError: a key stands in a file of this machine.
    """
    settings = context.settings
    if settings.team.executor.kind != "ray":
        return None
    from codexteam import __version__
    from codexteam.adapters.ray_cluster.cluster import RayWorkers
    from codexteam.app.worker_surroundings import ENTRY, surroundings_of
    from codexteam.run.worker_host import WorkerHost

    surroundings = surroundings_of(settings, context.engine.name)
    workers = await RayWorkers.connect(
        settings.team.executor.address,
        project.environment,
        entry=ENTRY,
        version=__version__,
        report=lambda text: context.report("notice", {"text": text}),
    )
    stack.push_async_callback(workers.close)
    host = WorkerHost(
        workers,
        _gates_of(model),
        context.repo,
        context.engine,
        context.redactor,
        context.clock,
        __version__,
        str(project.state_dir),
        surroundings,
        project.state_dir / "environments-to-copy",
    )
    stack.push_async_callback(host.close)
    return host


def _gates_of(model: Model) -> CallGates:
    from codexteam.adapters.recording import RecordingModel
    from codexteam.adapters.responses.model import ResponsesModel

    if isinstance(model, RecordingModel):
        raise ConfigError(
            "a recording is written on this machine alone",
            hint='take record_file out, or [codexteam.executor] kind = "ray"',
        )
    assert isinstance(model, ResponsesModel)
    return model


async def _harness(
    context: RunContext, project: Project, stack: AsyncExitStack, limits: PlanLimits, readings: CreditReadings
) -> Harness | None:
    """Return the user's Codex, checked, where a role's agents are to be run by it.

    Raises:
        ModelAccessError: it is missing, too old, or not signed in.
        ConfigError: it says nothing of a window that the budget is a share of.
    """
    if not roles_on_codex(context.settings):
        return None
    harness = await asyncio.to_thread(make_harness, context.settings, project.environment)
    stack.push_async_callback(harness.close)
    await limits.restore()
    harness.watch_windows(limits.take)
    report = await checked(harness, context.settings)
    limits.refuse_unknown()
    context.report("notice", {"text": engine_words(report, context.settings)})
    harness.watch_credits(readings.take, await readings.restore())
    return harness


def build_environments(context: RunContext, inputs: SetupInputs) -> CommitEnvironments | SeveralEnvironments:
    """Return what commits' commands work in, for a run. Closed by the caller, before the engine.

    A setup script of the user's sets all of several repositories up, so that these have one environment together.
    """
    of_all = CommitEnvironments(context, _builder(context, inputs, context.repositories))
    if not context.repositories or context.settings.team.sandbox.setup is not None:
        return of_all
    each = {
        name: CommitEnvironments(context, _builder(context, inputs, (name,)), repository=name)
        for name in context.repositories
    }
    return SeveralEnvironments(context, each, of_all)


def _builder(context: RunContext, inputs: SetupInputs, repositories: tuple[str, ...]) -> EnvironmentBuilder:
    def report(kind: str, fields: JSONObject) -> None:
        of_one = {"repository": repositories[0]} if len(repositories) == 1 else {}
        context.report(kind, {**fields, **of_one})

    return EnvironmentBuilder(
        context.repo,
        context.run_id,
        context.engine,
        context.settings.team.sandbox,
        inputs,
        context.clock,
        report,
        write_log=context.files.write,
        redact=context.redactor.redact,
        repositories=repositories,
    )


def patience_words(provider: ProviderSettings | None) -> str:
    """Say when a call that fails again and again is given up; empty where nobody knows the provider."""
    from codexteam.adapters.responses.retries import RetryLimits

    if provider is None:
        return ""
    limits = RetryLimits.of(provider)
    outage, rate = limits.outage_seconds / 60, limits.rate_limit_seconds / 60
    broken = "at the first broken stream" if not limits.streams else f"after {limits.streams + 1} broken streams"
    longest_wait = f", or {rate:.0f} min of being told to wait" if limits.streams else ""
    return f"given up {broken}, {limits.openings + 1} tries or {outage:.0f} min without a connection{longest_wait}"


def command_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what commands see of the host's environment: what the user names, and what the configuration sets."""
    policy = settings.shell_environment
    # caches that a build leaves beside the sources are nobody's work
    quiet = {"PYTHONDONTWRITEBYTECODE": "1"}
    named = {name: environment[name] for name in settings.team.sandbox.environment if name in environment}
    kept = {name: value for name, value in named.items() if not _matches(name, policy.exclude)}
    seen = {**dict(policy.set), **kept}
    if policy.include_only:
        seen = {name: value for name, value in seen.items() if _matches(name, policy.include_only)}
    return {**quiet, **seen}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a variable is meant, as Codex does: by wildcards, in capitals or not."""
    return any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


async def _tool_servers(context: RunContext, project: Project, stack: AsyncExitStack) -> ToolServers | None:
    """Make the servers that roles use, and begin to start those outside the sandboxes; required ones are waited for."""
    settings = context.settings
    wanted = sorted({name for role in settings.roles.values() for name in role.mcp_servers})
    enabled = [settings.mcp_servers[name] for name in wanted if name in settings.mcp_servers]
    enabled = [server for server in enabled if server.enabled]
    if not enabled:
        return None
    from codexteam.adapters.mcp_servers import McpServers

    outside = {
        name: server
        for name in wanted
        if (server := settings.mcp_servers.get(name)) is not None and server.enabled and server.place is McpPlace.HOST
    }
    if outside:
        named = ", ".join(sorted(f"{server.id} ({_where(server)})" for server in outside.values()))
        context.report("notice", {"text": f"MCP servers outside the sandboxes: {clean_line(named)}"})
    servers = McpServers(settings.mcp_servers, project.environment, root=project.places.root)
    stack.push_async_callback(servers.close)
    await servers.start([name for name, server in outside.items() if server.required])
    starting = asyncio.ensure_future(servers.start(list(outside)))  # whether they have is seen by who uses them
    stack.push_async_callback(stopped, starting)
    return servers


def _where(server: McpServerSettings) -> str:
    if server.url is None:
        return f"{server.command}, in an empty folder"
    parts = urlsplit(server.url)  # path and query may carry a key
    return f"{parts.scheme}://{parts.hostname or ''}"
