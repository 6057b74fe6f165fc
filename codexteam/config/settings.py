"""What configuration becomes: frozen, typed, with units in the names. Made by `config.load`, read by everything above.

Defaults stand here and nowhere else; `config.example.toml` shows each of them, and a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from codexteam.config.hooks import HookSettings
from codexteam.config.notifications import NotificationSettings, TerminalNotices
from codexteam.config.telemetry import TelemetrySettings
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import Price
from codexteam.core.ids import GateName, JSONObject
from codexteam.core.limits import COUNT, MONEY, SECONDS, Between, OneOf, RunLimits


class SandboxMode(StrEnum):
    """How far commands may go; Codex's words."""

    READ_ONLY = "read-only"
    WORKSPACE_WRITE = "workspace-write"
    DANGER_FULL_ACCESS = "danger-full-access"

    def narrower(self, other: "SandboxMode") -> "SandboxMode":
        """Return the one of the two that allows less: a role never gets more than the run allows."""
        order = list(SandboxMode)
        return min(self, other, key=order.index)


class ScopePolicy(StrEnum):
    """What happens when a task wrote outside its paths."""

    ENFORCE = "enforce"
    """The attempt is refused, with the reason."""
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
    chatgpt_login: Path | None = None
    """The file that holds a ChatGPT login of Codex, where that is all there is: it cannot be used here."""
    replay_file: Path | None = None
    """For the provider `replay`: the recording that is played back."""


class McpPlace(StrEnum):
    """Where an MCP server runs: with each agent on its workspace, or outside, once for the run, in an empty folder."""

    SANDBOX = "sandbox"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class McpPlacement:
    """One `[codexteam.mcp_servers.<id>]`."""

    place: McpPlace | None = None


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
    place: McpPlace = McpPlace.SANDBOX
    """Of one with a `url`, which is not started by us, always `host`."""


@dataclass(frozen=True, slots=True)
class SkillOverride:
    """One `[[skills.config]]`: a skill, by name or path, switched on or off."""

    name: str | None
    path: Path | None
    enabled: bool
    place: str = field(default="built-in", compare=False)
    """`file:line:column`, for the receipt."""


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
class StatedValue:
    """What one place of the configuration says, in its own words."""

    key: str
    value: str
    place: str
    """`file:line:column`, a flag, or `built-in`."""


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
    """Key to the place whose words are the value, for the receipt; `built-in` where no place says it in these words."""
    asked: Mapping[str, StatedValue] = field(default_factory=dict)
    """Key to what was asked for, where a value has come about that this does not say in its words."""
    capped_by: Mapping[str, StatedValue] = field(default_factory=dict)
    """Of these, what keeps the role from getting what it asks for."""


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
class LimitSettings(RunLimits):
    """`[codexteam.limits]`: the limits of the run, and those of each agent."""

    max_turns: Annotated[int, Between(1, 100_000)] = 200
    """Turns of one agent."""
    max_fix_cycles: Annotated[int, Between(0, 1000)] = 5
    """How often an implementer may mend what one and the same check fails with, before its attempt ends; 0: no limit."""
    max_output_tokens: Annotated[int, Between(256, 10_000_000)] = 32_000
    """The most that one call may answer; what a reservation counts on."""
    agent_minutes: Annotated[float, Between(0.1, 100_000)] = 60.0
    """Wall clock of one agent."""
    stalled_minutes: Annotated[float, Between(0.1, 100_000)] = 5.0
    """An agent that shows no sign for so long is shown as stalled."""
    command_seconds: Annotated[float, SECONDS] = 600.0
    """The longest one command may run."""
    max_scouts: Annotated[int, Between(0, 100)] = 3
    max_lookups: Annotated[int, Between(0, 3)] = 3
    """Questions that an agent at work on a task may ask explorers at a time; 0, or no scouts at all: none."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """`[codexteam.sandbox.limits]`, and `[codexteam.sandbox.role_limits.<role>]` over it."""

    memory_bytes: int = 4 << 30
    cpus: Annotated[float, Between(0.1, 1024)] = 2.0
    max_processes: Annotated[int, Between(16, 1_000_000)] = 512
    workspace_bytes: int = 2 << 30
    workspace_files: Annotated[int, Between(1)] = 400_000
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
    slots: Annotated[int, Between(1, 10_000)] = 8
    weight: Annotated[float | None, Between(0.01, 10_000)] = None
    """Its share of the agents, among engines with free slots; None is its number of slots."""
    draining: bool = False
    """Whether no new agent is to start there."""


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """`[codexteam.sandbox.kubernetes]`: where sandboxes are pods."""

    context: str | None = None
    """Of the kubeconfig; None: its current one, or the service account of a pod that the program runs in."""
    namespace: str = "codexteam"
    pool: str = "codexteam"
    """The SandboxWarmPool of sandboxes without a network, or with named hosts."""
    open_pool: str | None = None
    """The one of sandboxes that reach the network; None: no role may."""
    slots: Annotated[int, Between(1, 10_000)] = 8
    """Sandboxes that a run may have at once."""
    start_seconds: Annotated[float, SECONDS] = 300.0
    """The longest that a pod may take to run: a node may have to be started for it."""


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """`[codexteam.sandbox]`."""

    kind: Annotated[str, OneOf(("auto", "docker", "bubblewrap", "kubernetes"))] = "auto"
    """`docker`, `bubblewrap`, `kubernetes` or `auto`: docker where an engine answers, else bubblewrap, else exit 6."""
    image: str | None = None
    dockerfile: str | None = None
    setup: str | None = None
    """A script, relative to the repository's root, run once with network; what it leaves is kept as the environment."""
    build_environment: bool = True
    """Whether what the repository's files ask for is set up before the work; else sandboxes are as they come."""
    service_commands: tuple[str, ...] = ()
    """Lines run in every sandbox once its services are ready, in place of what CI and devcontainers do to databases."""
    setup_hosts: tuple[str, ...] = ()
    """Hosts that set-ups reach besides the registries of what they install."""
    setup_seconds: Annotated[float, SECONDS] = 3600.0
    """The longest that one set-up may take."""
    environments_bytes: int = 20 << 30
    """What kept environments may take on disk together; the least recently used are removed first."""
    setup_secrets: tuple[str, ...] = ()
    """Environment variables given as files under /run/secrets to `setup` only."""
    copy_ignored: tuple[str, ...] = ()
    """Globs of files that git ignores and workspaces need all the same; `.worktreeinclude` too in a trusted project."""
    runtime: str | None = None
    """An engine runtime such as runsc."""
    require_runtime: str | None = None
    """The runtime that every sandbox must have: where one cannot have it, none is started, and no image is built."""
    environment: tuple[str, ...] = ()
    """Host variables that commands may see, by name, secrets included: the user's explicit word."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that every sandbox with network reaches; with any of these, `network_access` means this list."""
    proxy_secrets: Mapping[str, str] = field(default_factory=dict)
    """Host name to the variable whose value the proxy adds as a bearer token on the way out."""
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    role_limits: Mapping[str, SandboxLimits] = field(default_factory=dict)
    engines: tuple[EngineSettings, ...] = ()
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)

    @property
    def builds_environments(self) -> bool:
        """Return whether environments are built: pods are as their image is."""
        return self.build_environment and self.kind != "kubernetes"

    @property
    def asked_runtime(self) -> str | None:
        """Return the runtime that containers are to have; None is the engine's own."""
        return self.require_runtime or self.runtime

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that may be used, in the order in which they are tried."""
        if self.kind != "auto":
            return (self.kind,)
        return ("docker", "bubblewrap") if self.require_runtime is None else ("docker",)


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """`[codexteam.gates.scan]`."""

    commands: tuple[str, ...] = ()
    """More scanners: each prints SARIF of the whole repository."""
    block_at: Annotated[str, OneOf(("error", "warning", "note", "never"))] = "error"
    """The least level of a hit that must be fixed."""
    ignore: tuple[str, ...] = ()
    """Rules that do not count, as globs."""
    exclude: tuple[str, ...] = ()
    """Globs of files that are not scanned."""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """`[codexteam.gates]`."""

    commands: tuple[str, ...] = ()
    """What ci_runner runs; empty: what the scouts found in the repository's CI files."""
    system: tuple[str, ...] = ()
    """What ci_runner also runs over all trees together where a run works on several repositories (`run --repo`)."""
    enabled: tuple[GateName, ...] = tuple(GateName)
    timeout_seconds: Annotated[float, SECONDS] = 1800.0
    flaky_reruns: Annotated[int, Between(0, 20)] = 2
    security_triggers: tuple[str, ...] = ()
    """More globs or words that call the security reviewer; the built-in ones always do."""
    protected_tests: tuple[str, ...] = ()
    """Globs of test files that are always taken from the base commit."""
    red_base: Annotated[str, OneOf(("ask", "allow", "fix"))] = "allow"
    """What gate commands that fail on the base commit lead to: `ask` a person, `allow`, or `fix`: tasks of their own."""
    allow_unchecked: bool = False
    """Whether a run may be green although not one gate command ran; the summary then says so."""
    untested: Annotated[str, OneOf(("refuse", "warn", "allow"))] = "refuse"
    """What becomes of work without the tests that its task owes."""
    scan: ScanSettings = field(default_factory=ScanSettings)


@dataclass(frozen=True, slots=True)
class PullRequestSettings:
    """`[codexteam.pull_requests]`: how far `pr sync` goes for one pull request; None is no limit beside the run's own."""

    max_rounds: Annotated[int, Between(0, 1000)] = 5
    """How often what people and checks ask for is taken up."""
    max_usd: Annotated[float | None, MONEY] = None
    """What all of it may cost beside what the run had cost before."""
    max_credits: Annotated[float | None, MONEY] = None
    max_tokens: Annotated[int | None, COUNT] = None


@dataclass(frozen=True, slots=True)
class EscalationSettings:
    """`[codexteam.escalation]`: what tasks get whose attempts failed, and those that the plan marks `risk: high`."""

    after_failures: Annotated[int, Between(1, 100)] = 2
    """Failed attempts of a task after which the next ones use `model` and `effort`."""
    model: str | None = None
    """A model or a tier; None stays with the role's."""
    effort: str | None = "high"
    """For roles with less; None stays with the role's."""
    fallback: tuple[str, ...] = ()
    """Models that are asked one after the other where a task's model refuses, is missing or is down."""


@dataclass(frozen=True, slots=True)
class BestOfSettings:
    """`[codexteam.best_of]`: several attempts at a hard task at the same time, of which the best is merged."""

    attempts: Annotated[int, Between(1, 3)] = 1
    """How many; 1 is off."""
    tasks: tuple[Annotated[str, OneOf(("high_risk", "failed"))], ...] = ("high_risk", "failed")
    """Which tasks have them: those that the plan marks `risk: high`, and those of which an attempt has failed."""
    models: tuple[str, ...] = ()
    """Models or tiers of the second and the third attempt; where none is named they differ by their words alone."""
    judge_model: str | None = None
    """Who chooses where evidence and size do not; None is the first of `models` and the fallbacks that made none of them."""


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """`[codexteam.deploy]`: what `codexteam deploy` does with a green run once a person has approved it."""

    command: str | None = None
    """A command line of the shell, on this machine, at the root of the repository."""
    workflow: str | None = None
    """A workflow on GitHub that is dispatched, such as `deploy.yml`, with the inputs `commit` and `run`."""
    ref: str | None = None
    """The branch whose file of the workflow counts; None is the repository's default branch."""
    remote: str = "origin"
    """The remote whose repository has the workflow."""
    timeout_seconds: Annotated[float, SECONDS] = 1800.0
    """How long the command may take."""


class StepMode(StrEnum):
    """Whether a step that a run can do without is done."""

    AUTO = "auto"
    """Where something calls for it."""
    ALWAYS = "always"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class StepSettings:
    """`[codexteam.steps]`: the steps around implementing, merging and gating."""

    scouts: StepMode = StepMode.AUTO
    """`auto`: as many as the repository's size calls for; none for a given plan whose gate commands are set."""
    analyst: StepMode = StepMode.AUTO
    """`auto`: for a goal of few words."""
    documentation: StepMode = StepMode.AUTO
    """`auto`: where the goal, the plan or the diff asks for it."""
    release: StepMode = StepMode.AUTO
    """`auto`: where the run changed something."""


@dataclass(frozen=True, slots=True)
class MapSettings:
    """`[codexteam.map]`: the map of the code that agents begin with, and what they search the code with."""

    enabled: bool = True
    """Whether there is an index of the code at all; without it agents have what their commands find."""
    tokens: Annotated[int, Between(0, 50_000)] = 2_000
    """How long the map in the planner's and in each implementer's first message may be; 0 leaves it out."""
    max_files: Annotated[int, Between(1, 1_000_000)] = 50_000
    """Files that are indexed at most: those whose paths the goal names first."""
    wait_seconds: Annotated[float, Between(0, 3_600)] = 60.0
    """How long an agent waits at most for what is not indexed yet; what is indexed later, others get to see."""


@dataclass(frozen=True, slots=True)
class ModelTiers:
    """`[codexteam.models]`: the models of the two tiers that roles name, or that they have by their kind of work."""

    deep: str | None = None
    """Of roles that decide or write; None is `gpt-5.4`."""
    fast: str | None = None
    """Of roles that read or run; None is as `deep`."""
    check: bool = True
    """Whether a run starts only if the provider's list of models, where it has one, names those of its roles."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """`[codexteam.access]`: what other accounts of this machine may do with the state of runs here."""

    group: str | None = None
    """A group whose members may read it; None: the owner alone."""
    may: tuple[Annotated[str, OneOf(("answer", "budget", "steer"))], ...] = ()
    """What they may ask of a run besides: answers and approvals, budgets, and everything else that steers it."""


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """`[codexteam.executor]`: where agents' loops run."""

    kind: Annotated[str, OneOf(("local", "ray"))] = "local"
    """`local`: in the run's process, with sandboxes on its hosts; `ray`: on the nodes of a Ray cluster, sandboxes with them."""
    address: str = "auto"
    """Of a Ray cluster that this machine is a node of: `auto`, or `HOST:PORT` of its head."""


@dataclass(frozen=True, slots=True)
class TeamSettings:
    """`[codexteam]`: what is codexteam's own."""

    engine: Annotated[str, OneOf(("auto", "codexteam", "codex"))] = "auto"
    """Who runs agents: `codexteam`, the user's own `codex`, or `auto`: codex where a ChatGPT sign-in is all there is."""
    role_engines: Mapping[str, Annotated[str, OneOf(("codexteam", "codex"))]] = field(default_factory=dict)
    """Role to its engine, over `engine`."""
    models: ModelTiers = field(default_factory=ModelTiers)
    budget: BudgetLimits = field(default_factory=BudgetLimits)
    limits: LimitSettings = field(default_factory=LimitSettings)
    escalation: EscalationSettings = field(default_factory=EscalationSettings)
    best_of: BestOfSettings = field(default_factory=BestOfSettings)
    steps: StepSettings = field(default_factory=StepSettings)
    map: MapSettings = field(default_factory=MapSettings)
    hooks: HookSettings = field(default_factory=HookSettings)
    notifications: NotificationSettings = field(default_factory=NotificationSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    mcp_servers: Mapping[str, McpPlacement] = field(default_factory=dict)
    """Where MCP servers run, as the user said, by name."""
    gates: GateSettings = field(default_factory=GateSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    pull_requests: PullRequestSettings = field(default_factory=PullRequestSettings)
    deploy: DeploySettings = field(default_factory=DeploySettings)
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Model name to its price."""
    approve: tuple[Annotated[str, OneOf(("plan", "merge"))], ...] = ()
    """What waits for a person: `plan`, `merge`."""
    scope: ScopePolicy = ScopePolicy.ENFORCE
    guarded_paths: tuple[str, ...] = ()
    """More globs that no task may write unless a person opens them; the built-in ones always count."""
    allow_guarded: tuple[str, ...] = ()
    """Globs of guarded paths that every task may write where its paths take them in."""
    allowed_credentials: tuple[str, ...] = ()
    """Fingerprints of things that look like a credential but are not, as a refusal of work names them."""
    send_metadata: bool = True
    proxy_loopback: bool = False
    """Whether `http_proxy` and its like count for model servers on this machine too."""
    history_depth: Annotated[int, Between(1, 100_000)] = 50
    """Commits of history that a workspace shows."""
    repos: Mapping[str, Path] = field(default_factory=dict)
    """Repositories that one command works on, by the name that each has in it."""
    record_file: Path | None = None
    replay_file: Path | None = None
    """For the provider `replay`: the recording that is played back."""
    replay_speed: Annotated[float, Between(0, 1000)] = 0.0
    """How much faster than recorded the answers come; 0 is at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run needs to know, resolved."""

    repository: Path
    """The root of the work tree, or the repository itself when it is bare."""
    codex_home: Path
    trusted: bool | None
    """The project's trust; None when nobody decided. Explicitly untrusted, it loses its AGENTS.md, as in Codex."""
    projects: JSONObject
    """What the user decided of folders, as `config.locations.trust_level` reads it; empty where no decision counts."""
    model: ModelSettings
    """What a role without settings of its own gets."""
    sandbox_mode: SandboxMode
    """What a role without a mode of its own gets, and the most for a role of a project."""
    network: NetworkPolicy
    """What a role without a mode of its own gets."""
    providers: Mapping[str, ProviderSettings]
    roles: Mapping[str, RoleSettings]
    mcp_servers: Mapping[str, McpServerSettings]
    skills: SkillSettings
    shell_environment: ShellEnvironmentSettings
    project_doc: ProjectDocSettings
    team: TeamSettings
    tool_output_tokens: int = 10_000
    """`tool_output_token_limit`: what a model gets to see of one tool output."""
    notify: tuple[str, ...] = ()
    """The program, with arguments, that is run when a person should look."""
    terminal_notices: TerminalNotices = field(default_factory=TerminalNotices)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    compact_prompt: str | None = None
    update_plan_tool: bool = False
    """`[tools.update_plan] enabled`; off by default, as in Codex."""
    notices: tuple[str, ...] = ()
    """Notices for the user before the run: ignored keys, differences from Codex, which spelling won."""
    warnings: tuple[str, ...] = ()
    """Of these, what is most likely a mistake: shown wherever the settings are used, and an error with `--strict-config`."""
    reach_notices: tuple[str, ...] = ()
    """Of the notices, what roles have in place of what their files say, and what full access means here."""
