"""What configuration becomes: frozen, typed, with units in the names. Made by `config.load`, read by everything above.

Defaults stand here and nowhere else; `config.example.toml` shows each of them, and a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from codexteam.core.findings import GateName
from codexteam.core.usage import Price


class SandboxMode(StrEnum):
    """How far commands may go; Codex's words."""

    READ_ONLY = "read-only"
    WORKSPACE_WRITE = "workspace-write"
    DANGER_FULL_ACCESS = "danger-full-access"

    def narrower(self, other: "SandboxMode") -> "SandboxMode":
        """Give the one of the two that allows less: a role never gets more than the run allows."""
        order = list(SandboxMode)
        return min(self, other, key=order.index)


class ScopePolicy(StrEnum):
    """What happens when a task wrote outside its paths."""

    ENFORCE = "enforce"
    """The attempt is refused and told why."""
    ASK = "ask"
    """A person decides; the attempt waits."""
    WARN = "warn"
    """It is merged and reported."""


class NetworkKind(StrEnum):
    """What a sandbox reaches."""

    NONE = "none"
    ALLOWLIST = "allowlist"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What a sandbox reaches: nothing, the named hosts through a proxy, or everything."""

    kind: NetworkKind = NetworkKind.NONE
    hosts: tuple[str, ...] = ()
    """Host names, `*.example.org` for a domain's children; only for `allowlist`."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One `[model_providers.<id>]`, or the built-in one."""

    id: str
    name: str
    base_url: str
    api_key_variable: str | None = None
    """The environment variable that holds the bearer token (`env_key`)."""
    api_key_help: str | None = None
    bearer_token: str | None = field(default=None, repr=False)
    """A token that stands in the file itself (`experimental_bearer_token`), or from auth.json."""
    query_params: Mapping[str, str] = field(default_factory=dict)
    http_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    env_http_headers: Mapping[str, str] = field(default_factory=dict)
    """Header name to the variable that holds its value; left out when the variable is unset."""
    request_max_retries: int = 4
    stream_max_retries: int = 5
    stream_idle_timeout_seconds: float = 300.0
    requires_openai_auth: bool = False
    replay_file: Path | None = None
    """For the provider `replay`: the recording that is played back."""


@dataclass(frozen=True, slots=True)
class McpServerSettings:
    """One `[mcp_servers.<id>]`."""

    id: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    env_vars: tuple[str, ...] = ()
    cwd: Path | None = None
    url: str | None = None
    bearer_token_env_var: str | None = None
    http_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    env_http_headers: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    required: bool = False
    startup_timeout_seconds: float = 10.0
    tool_timeout_seconds: float = 60.0
    enabled_tools: tuple[str, ...] | None = None
    disabled_tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SkillOverride:
    """One `[[skills.config]]`: a skill, by name or path, switched on or off."""

    name: str | None
    path: Path | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class SkillSettings:
    """`[skills]`."""

    include_instructions: bool = True
    bundled_enabled: bool = True
    overrides: tuple[SkillOverride, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What a role asks of its model."""

    provider_id: str
    model: str
    effort: str | None = None
    summary: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    context_window_tokens: int | None = None
    auto_compact_tokens: int | None = None
    max_output_tokens: int = 32_000
    """The most that one call may answer; what a reservation counts on."""
    web_search: str = "disabled"


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """A role as a run would use it."""

    name: str
    description: str
    instructions: str
    """The role's `developer_instructions`."""
    model: ModelSettings
    sandbox_mode: SandboxMode
    network: NetworkPolicy
    mcp_servers: tuple[str, ...] = ()
    """Ids of the servers this role uses."""
    skills: SkillSettings = field(default_factory=SkillSettings)
    shell_tool: bool = True
    nicknames: tuple[str, ...] = ()
    source: str = "built-in"
    """The role file's path, or `built-in`."""
    source_hash: str = ""
    """SHA-256 of the role file's bytes, hexadecimal."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Key to the layer that set it, for the receipt."""


@dataclass(frozen=True, slots=True)
class ShellEnvironmentSettings:
    """`[shell_environment_policy]`: which host variables reach commands. Secrets are filtered, unlike in Codex."""

    inherit: str = "none"
    """`core`, `all` or `none`. Codex's default is `all`; a sandbox starts from nothing."""
    exclude: tuple[str, ...] = ()
    include_only: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProjectDocSettings:
    """`project_doc_*`: how AGENTS.md is read."""

    max_bytes: int = 32_768
    fallback_filenames: tuple[str, ...] = ()
    root_markers: tuple[str, ...] = (".git",)


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """`[codexteam.budget]`. None is no limit of that kind; 0 means that nothing may be spent."""

    run_usd: float | None = None
    run_credits: float | None = None
    run_tokens: int | None = None
    task_tokens: int | None = None
    """The most one task may use over all its attempts."""
    role_tokens: Mapping[str, int] = field(default_factory=dict)
    """Role name to the most that all its agents may use together."""
    warn_share: float = 0.8
    wind_down_share: float = 0.05
    """Kept back from agents at work, so that they can hand over what they have."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """`[codexteam.limits]`: how much of everything."""

    max_threads: int = 6
    """Agents at work at the same time (Codex: `agents.max_concurrent_threads_per_session`, `max_threads`)."""
    max_rounds: int = 5
    """Passes of the gates before a person is asked."""
    max_attempts: int = 3
    """Tries at one task, `resolve` attempts not counted."""
    max_resolves: int = 3
    batch_size: int = 8
    """The most merges that one pass of the gates judges."""
    max_tasks: int = 200
    max_turns: int = 200
    """Turns of one agent."""
    max_output_tokens: int = 32_000
    """The most that one call may answer; what a reservation counts on."""
    agent_minutes: float = 60.0
    """Wall clock of one agent."""
    command_seconds: float = 600.0
    """The longest one command may run."""
    max_scouts: int = 3


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """`[codexteam.sandbox.limits]`, and `[codexteam.sandbox.role_limits.<role>]` over it."""

    memory_bytes: int = 4 << 30
    cpus: float = 2.0
    max_processes: int = 512
    workspace_bytes: int = 2 << 30
    workspace_files: int = 400_000
    tmp_bytes: int = 512 << 20
    max_file_bytes: int = 1 << 30
    output_bytes: int = 16 << 20
    """What one command may print before it is killed."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One `[[codexteam.sandbox.engines]]`: an engine of the pool."""

    name: str
    host: str | None = None
    """As DOCKER_HOST: unix, tcp or ssh; None is what the client's environment names."""
    context: str | None = None
    tls_verify: bool = False
    cert_path: Path | None = None
    slots: int = 8


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """`[codexteam.sandbox]`."""

    kind: str = "auto"
    """`docker`, `bubblewrap` or `auto`: docker where an engine answers, else bubblewrap, else exit 6."""
    image: str | None = None
    dockerfile: str | None = None
    setup: str | None = None
    """A script, relative to the repository's root, run once with network; its result is kept as an image."""
    setup_secrets: tuple[str, ...] = ()
    """Environment variables given as files under /run/secrets to `setup` only."""
    copy_ignored: tuple[str, ...] = ()
    """Globs of files that git ignores and workspaces need all the same; `.worktreeinclude` is read as well."""
    runtime: str | None = None
    """An engine runtime such as runsc."""
    environment: tuple[str, ...] = ()
    """Host variables that commands may see, by name, secrets included: the user's explicit word."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that every sandbox with network reaches; with any of these, `network_access` means this list."""
    proxy_secrets: Mapping[str, str] = field(default_factory=dict)
    """Host name to the variable whose value the proxy adds as a bearer token on the way out."""
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    role_limits: Mapping[str, SandboxLimits] = field(default_factory=dict)
    engines: tuple[EngineSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class GateSettings:
    """`[codexteam.gates]`."""

    commands: tuple[str, ...] = ()
    """What ci_runner runs; empty: what the scouts found in the repository's CI files."""
    enabled: tuple[GateName, ...] = tuple(GateName)
    timeout_seconds: float = 1800.0
    flaky_reruns: int = 2
    security_triggers: tuple[str, ...] = ()
    """More globs or words that call the security reviewer; the built-in ones always do."""
    protected_tests: tuple[str, ...] = ()
    """Globs of test files that are always taken from the base commit."""


@dataclass(frozen=True, slots=True)
class TeamSettings:
    """`[codexteam]`: what is codexteam's own."""

    budget: BudgetSettings = field(default_factory=BudgetSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Model name to its price."""
    approve: tuple[str, ...] = ()
    """What waits for a person: `plan`, `merge`."""
    scope: ScopePolicy = ScopePolicy.ENFORCE
    guarded_paths: tuple[str, ...] = ()
    """More globs that no task may write unless its own paths name them; the built-in ones always count."""
    send_metadata: bool = True
    history_depth: int = 50
    """Commits of history that a workspace shows."""
    record_file: Path | None = None
    replay_file: Path | None = None
    """For the provider `replay`: the recording that is played back."""
    replay_speed: float = 0.0
    """How much faster than recorded the answers come; 0 is at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run needs to know, resolved."""

    repository: Path
    """The root of the work tree, or the repository itself when it is bare."""
    codex_home: Path
    trusted: bool | None
    """The project's trust; None when nobody decided. Explicitly untrusted, it loses its AGENTS.md, as in Codex."""
    model: ModelSettings
    """What a role without settings of its own gets."""
    sandbox_mode: SandboxMode
    """The most that any role gets."""
    network: NetworkPolicy
    """The most that any role gets."""
    providers: Mapping[str, ProviderSettings]
    roles: Mapping[str, RoleSettings]
    mcp_servers: Mapping[str, McpServerSettings]
    skills: SkillSettings
    shell_environment: ShellEnvironmentSettings
    project_doc: ProjectDocSettings
    team: TeamSettings
    tool_output_tokens: int = 10_000
    """`tool_output_token_limit`: what a model gets to see of one tool output."""
    developer_instructions: str | None = None
    compact_prompt: str | None = None
    update_plan_tool: bool = False
    """`[tools.update_plan] enabled`; off by default, as in Codex."""
    notices: tuple[str, ...] = ()
    """What the user is told before the run: ignored keys, differences from Codex, which spelling won."""
