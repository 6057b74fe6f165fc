"""The crew of a run: ledger, instructions and tool servers, made once and shared by its agents."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from codexteam.adapters.folder_files import FolderFiles
from codexteam.agent.budget_gate import BudgetGate, limits_of, restored_ledger
from codexteam.agent.crew import SandboxCrew
from codexteam.agent.file_source import CommitFiles
from codexteam.agent.instructions import Sources, load_instructions
from codexteam.config.settings import ProviderSettings, Settings
from codexteam.core.budget import BudgetWarning
from codexteam.core.ids import CommitId, RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.redaction import Redactor
from codexteam.ports.clock import Clock
from codexteam.ports.model import Model
from codexteam.ports.repo import Repo
from codexteam.ports.run_files import RunFiles
from codexteam.ports.sandbox import SandboxEngine
from codexteam.ports.store import Store
from codexteam.ports.tool_servers import ServerTool, ToolServers


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a crew is made from; all of it is closed by whoever opened it."""

    run_id: RunId
    base: CommitId
    root: Path
    """The repository's root."""
    folder: str
    """Where the command was started, relative to the root."""
    settings: Settings
    environment: Mapping[str, str]
    model: Model
    engine: SandboxEngine
    repo: Repo
    store: Store
    clock: Clock
    files: RunFiles
    redactor: Redactor
    tell: Callable[[str, JSONObject], None]


async def hire(around: Surroundings, stack: AsyncExitStack) -> SandboxCrew:
    """Make the crew; tool servers that it starts are closed with `stack`.

    Raises:
        SurroundingsError: a tool server that is required does not start.
        StoreError: the ledger cannot be read.
    """
    settings = around.settings
    await around.repo.fetch_base(around.run_id, around.base)
    ledger = await restored_ledger(around.store, around.run_id, limits_of(settings.team.budget), settings.team.prices)
    home = Path(around.environment.get("HOME", "/nonexistent"))
    sources = Sources(
        CommitFiles(around.repo, around.base, root=str(around.root)),
        FolderFiles(settings.codex_home),
        FolderFiles(home),
        around.folder,
    )
    instructions = await load_instructions(settings, sources)
    for notice in instructions.notices:
        around.tell("notice", {"text": notice})
    servers, tools = await _tool_servers(around, stack)

    def warn(warning: BudgetWarning) -> None:
        message = f"{warning.scope} has used {warning.spent:g} of {warning.limit:g} {warning.unit}"
        around.tell("budget.warned", {"scope": warning.scope, "unit": warning.unit.value, "message": message})

    return SandboxCrew(
        settings=settings,
        model=around.model,
        engine=around.engine,
        repo=around.repo,
        store=around.store,
        clock=around.clock,
        files=around.files,
        gate=BudgetGate(ledger, settings.team.prices, warn),
        instructions=instructions,
        redactor=around.redactor,
        tell=around.tell,
        environment=command_environment(settings, around.environment),
        servers=servers,
        server_tools=tools,
        patience=lambda provider_id: patience_words(settings.providers.get(provider_id)),
    )


def patience_words(provider: ProviderSettings | None) -> str:
    """Say when a call that fails again and again is given up; empty where nobody knows the provider."""
    from codexteam.adapters.responses.retries import RetryLimits

    if provider is None:
        return ""
    limits = RetryLimits.of(provider)
    outage, rate = limits.outage_seconds / 60, limits.rate_limit_seconds / 60
    broken = "at the first broken stream" if not limits.streams else f"after {limits.streams + 1} broken streams"
    told = f", or {rate:.0f} min of being told to wait" if limits.streams else ""
    return f"given up {broken}, {limits.openings + 1} tries or {outage:.0f} min without a connection{told}"


def command_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Give what commands see of the host's environment: what the user names, and what the configuration sets."""
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
    """Say whether a variable is meant, as Codex does: by wildcards, in capitals or not."""
    return any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


async def _tool_servers(
    around: Surroundings, stack: AsyncExitStack
) -> tuple[ToolServers | None, tuple[ServerTool, ...]]:
    settings = around.settings
    wanted = sorted({name for role in settings.roles.values() for name in role.mcp_servers})
    enabled = [name for name in wanted if name in settings.mcp_servers and settings.mcp_servers[name].enabled]
    if not enabled:
        return None, ()
    from codexteam.adapters.mcp_servers import McpServers

    servers = McpServers(settings.mcp_servers, around.environment)
    stack.push_async_callback(servers.close)
    started = await servers.start(enabled)
    for failure in started.failures:
        around.tell("notice", {"text": f"MCP server {failure.server_id} is not used: {failure.message}"})
    return servers, started.tools
