"""`codexteam env`: what a repository's environment is made of, built and used without a run."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from codexteam.adapters.machine.clock import SystemClock
from codexteam.app.compose import choose_engine, command_environment, report_hosts_once
from codexteam.app.project import Project, find_project, new_run_id
from codexteam.app.registries import setup_inputs
from codexteam.app.secret_values import secret_values
from codexteam.app.session import opened_store
from codexteam.app.several import copy_rules
from codexteam.app.signals import Signals, run_guarded_by_signals
from codexteam.config.load import load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose, RunId
from codexteam.core.redaction import Redactor
from codexteam.core.repositories import repositories_in
from codexteam.environment.gate_choice import gate_groups
from codexteam.environment.plan import SetupPlan
from codexteam.errors import SandboxUnavailable, SurroundingsError, UsageError
from codexteam.ports.environments import Environment
from codexteam.ports.repo import RepositoryFacts
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import WORKSPACE, Command, CommandResult, Sandbox, SandboxSpec, Snapshot
from codexteam.ports.sandbox_engine import EngineReport, SandboxEngine
from codexteam.run.agents import network_of
from codexteam.run.command_outcome import CommandOutcome
from codexteam.run.context import RunContext
from codexteam.run.environment.builder import EnvironmentBuilder
from codexteam.run.environment.commit_environments import CommitEnvironments
from codexteam.run.gates.ci import baseline, checked_again, gate_commands, known_baseline
from codexteam.system.cancellation import to_its_end

if TYPE_CHECKING:
    from codexteam.adapters.git.composite import Member

#: A person's shell, or command, ends when they want it to.
_LONGEST_SECONDS = 7 * 86_400.0
#: Whose sandbox it is like.
_ROLE = "implementer"


@dataclass(frozen=True, slots=True)
class GateState:
    """A command that is, or may be, a gate, and what it returned on the commit that is checked out."""

    command: str
    source: str
    outcome: CommandOutcome | None
    """None where it was not run in this environment so far."""


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """What is known of the environment of the commit that is checked out."""

    repository: RepositoryFacts
    engine: EngineReport
    made_from: str
    """The image, or the host."""
    plan: SetupPlan
    others: int
    """How many more plans there are, for where this one's set-up fails."""
    key: str
    made: Environment | None
    used_at_seconds: int
    """When it was last used; 0 where it is not there."""
    gates: tuple[GateState, ...]
    seen_at_seconds: float
    """When this was looked at, since the epoch."""
    configured_gates: bool
    """Whether `[codexteam.gates] commands` names them."""
    problem: str = ""
    """Why no set-up succeeds, in lines; empty where one does, or none was tried."""


@dataclass(frozen=True, slots=True)
class EnvironmentOptions:
    """Where a command works, and who hears what it does."""

    load: LoadRequest
    state_dir: Path | None = None
    report: Callable[[RunEvent], None] = field(default=lambda _event: None)
    """Gets what is built and run, as it happens."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What a sandbox begins with, where that is not the commit that is checked out."""

    base: CommitId
    """The user's commit that the work began from."""
    commit: CommitId
    work: Snapshot | None
    """What is put in place on top of the commit."""
    role: str
    """Whose sandbox it is like."""
    members: "tuple[Member, ...]" = ()
    """The repositories of a run in several; empty where there is one."""
    paths: tuple[str, ...] = ()
    """What is written there, which says in which of several repositories the work is."""

    @property
    def repository(self) -> str:
        """Return the one of several repositories that the work is in; empty where it is in all, or there is one."""
        names = repositories_in(self.paths, [each.name for each in self.members])
        return names[0] if len(names) == 1 else ""


@dataclass(slots=True)
class _Opened:
    """Everything that a command works with. Closed with it."""

    project: Project
    settings: Settings
    facts: RepositoryFacts
    engine: SandboxEngine
    report: EngineReport
    context: RunContext
    environments: CommitEnvironments
    head: CommitId
    """The commit that it is about."""

    @property
    def builder(self) -> EnvironmentBuilder:
        return self.environments.builder


@asynccontextmanager
async def _opened(options: EnvironmentOptions, start: StartingPoint | None = None) -> AsyncIterator[_Opened]:
    from codexteam.adapters.git.repo import GitRepo
    from codexteam.adapters.machine.run_files import DiskRunFiles, replace_file

    environment = options.load.environment
    project = find_project(options.load.cwd, environment, options.state_dir)
    settings = load_settings(options.load)
    clock = SystemClock()
    trusted = settings.trusted is True
    inputs = setup_inputs(settings, environment)
    redactor = Redactor((*secret_values(settings, environment), *inputs.credentials))
    run_id = RunId("env-" + new_run_id("environment", at_seconds=clock.wall_seconds(), pid=os.getpid()))

    def report(kind: str, fields: JSONObject) -> None:
        options.report(RunEvent(kind, clock.wall_seconds(), redactor.redact_object(fields)))

    def write_log(name: str, text: str) -> Path:
        path = project.state_dir / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text, mode=0o600)
        return path

    members = start.members if start is not None else ()
    names = tuple(each.name for each in members)
    repository = start.repository if start is not None else ""
    async with AsyncExitStack() as stack:
        repo = GitRepo(
            project.places,
            project.state_dir,
            environment,
            history_depth=settings.team.history_depth,
            copied=copy_rules(settings, members),
            members=members,
            is_alone=False,  # a run may be at work
        )
        stack.push_async_callback(repo.close)
        facts = await repo.inspect()
        store = await stack.enter_async_context(opened_store(project))
        chosen = await choose_engine(
            settings.team.sandbox,
            state_dir=project.state_dir,
            environment=environment,
            files=repo,
            trusted=trusted,
            on_denied=report_hosts_once(report),
        )
        stack.push_async_callback(chosen.engine.close)
        files = DiskRunFiles(project.state_dir, run_id, plan_root=project.places.root, redact=redactor.redact)
        stack.push_async_callback(_leave_nothing, repo, chosen.engine, run_id, files.folder)
        head = facts.head if start is None else start.commit
        await repo.fetch_base(run_id, facts.head if start is None else start.base)
        context = RunContext(
            run_id, head, settings, repo, store, chosen.engine, clock, files, report, redactor, repositories=names
        )
        builder = EnvironmentBuilder(
            repo,
            run_id,
            chosen.engine,
            settings.team.sandbox,
            inputs,
            clock,
            report,
            write_log=write_log,
            redact=redactor.redact,
            touched=(project.folder,) if project.folder and not members else (),
            repositories=(repository,) if repository else names,
        )
        environments = context.environments = CommitEnvironments(context, builder, repository=repository)
        stack.push_async_callback(environments.close)
        yield _Opened(project, settings, facts, chosen.engine, chosen.report, context, environments, head)


async def _leave_nothing(repo: object, engine: SandboxEngine, run_id: RunId, folder: Path) -> None:
    """Remove what a run would keep; what cannot be removed now `codexteam clean` removes."""
    from codexteam.adapters.git.repo import GitRepo

    with suppress(SurroundingsError, OSError):
        await engine.sweep(run_id)
    if isinstance(repo, GitRepo):
        with suppress(SurroundingsError, OSError):
            await repo.clean(run_id)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


# show and build


def look_at_environment(options: EnvironmentOptions) -> EnvironmentStatus:
    """Return what is known of the environment; nothing is built.

    Raises:
        CodexteamError: there is no repository or commit, or no engine works.
    """

    async def work(_signals: Signals) -> EnvironmentStatus:
        async with _opened(options) as opened:
            plan = await _kept_plan(opened)
            return await _status(opened, plan)

    return run_guarded_by_signals(work)


def build_environment(options: EnvironmentOptions, *, rebuild: bool = False) -> EnvironmentStatus:
    """Build the environment and see in it whether the gate commands run; with `rebuild` also what is there already.

    Raises:
        CodexteamError: it cannot be built at all; a set-up that fails is in the status.
    """

    async def work(_signals: Signals) -> EnvironmentStatus:
        async with _opened(options) as opened:
            _refuse_switched_off(opened.settings)
            if rebuild:
                opened.environments.again = True
                await _remove_built(opened)
            return await _built(opened, rebuild=rebuild)

    return run_guarded_by_signals(work)


def _refuse_switched_off(settings: Settings) -> None:
    if settings.team.sandbox.kind == "kubernetes":
        raise UsageError(
            "on Kubernetes no environment is built: sandboxes are as their image is",
            hint="codexteam -c codexteam.sandbox.kind=docker env build shows here what the image needs; see docs/hosts.md",
        )
    if not settings.team.sandbox.build_environment:
        raise UsageError(
            "build_environment = false in [codexteam.sandbox]: runs work without an environment, so none is built",
            hint="codexteam -c codexteam.sandbox.build_environment=true env build",
        )


async def _remove_built(opened: _Opened) -> None:
    environments = opened.engine.environments
    keys = await _keys(opened)
    there = [key for key in keys.values() if await environments.find(key) is not None]
    left = [key for key in there if key not in await environments.remove([key])]
    if left:
        raise SandboxUnavailable(
            f"environment {left[0]} is in use, so it cannot be built again now",
            hint="codexteam status shows a run that is at work; wait until it is over",
        )


async def _keys(opened: _Opened) -> dict[int, str]:
    """Return the key of each plan that sets something up, by its place."""
    plans = (await opened.builder.examine(opened.head)).plans
    return {place: await opened.builder.key(opened.head, plan) for place, plan in enumerate(plans) if not plan.is_empty}


async def _kept_plan(opened: _Opened) -> SetupPlan:
    """Return the plan whose environment is there, one whose commands are known to run first; else the best one."""
    plans = (await opened.builder.examine(opened.head)).plans
    keys = await _keys(opened)
    there = [place for place, key in keys.items() if await opened.engine.environments.find(key) is not None]
    for place in there:
        lines = _gate_lines(opened.settings, plans[place])
        known = await known_baseline(opened.context, opened.head, lines, environment_key=keys[place])
        if any(outcome is not None for outcome in known):
            return plans[place]
    return plans[there[0] if there else 0]


async def _built(opened: _Opened, *, rebuild: bool = False) -> EnvironmentStatus:
    chosen = await opened.environments.base()
    plans = (await opened.builder.examine(opened.head)).plans
    keys = await _keys(opened)
    plan = next((plans[place] for place, key in keys.items() if chosen.key and key == chosen.key), plans[0])
    if rebuild and chosen.gates:
        await checked_again(opened.context, opened.head, chosen.gates, environment_key=chosen.key)
    failed = "" if chosen.key or chosen.is_empty else chosen.made_from
    return await _status(opened, plan, problem=failed)


def _gate_lines(settings: Settings, plan: SetupPlan) -> tuple[str, ...]:
    configured = settings.team.gates.commands
    groups = gate_groups(plan.needs.test_commands)
    return tuple(configured) or tuple(line for group in groups for line in group)


async def _status(opened: _Opened, plan: SetupPlan, *, problem: str = "") -> EnvironmentStatus:
    from codexteam.environment.gate_choice import gate_line

    plans = (await opened.builder.examine(opened.head)).plans
    key = "" if plan.is_empty else await opened.builder.key(opened.head, plan)
    made = await opened.engine.environments.find(key) if key else None
    used = next((at for each, at in await opened.engine.environments.list() if each.key == key), 0) if made else 0
    lines = _gate_lines(opened.settings, plan)
    known = await known_baseline(opened.context, opened.head, lines, environment_key=key if made else "")
    sources = {gate_line(test): test.source for test in plan.needs.test_commands}
    configured = bool(opened.settings.team.gates.commands)
    return EnvironmentStatus(
        opened.facts,
        opened.report,
        await opened.engine.made_from(await opened.context.repo.base_source(opened.context.run_id, opened.head)),
        plan,
        len(plans) - 1,
        key,
        made,
        used,
        tuple(
            GateState(line, "[codexteam.gates] commands" if configured else sources.get(line, ""), outcome)
            for line, outcome in zip(lines, known, strict=True)
        ),
        opened.context.clock.wall_seconds(),
        configured,
        problem,
    )


async def gate_outcomes(options: EnvironmentOptions, commit: CommitId) -> list[CommandOutcome]:
    """Return what the configured gate commands, or else the repository's own, return on a commit, in its environment.

    Raises:
        CodexteamError: no sandbox can be started.
    """
    async with _opened(options, StartingPoint(commit, commit, None, _ROLE)) as opened:
        commands = await gate_commands(opened.context)
        return await baseline(opened.context, commit, commands)


# run and shell


def run_command(
    options: EnvironmentOptions, command: Sequence[str], *, on_output: Callable[[bytes], None]
) -> CommandResult:
    """Run one command in a sandbox as agents have it, in the user's current folder; its changes are discarded.

    Raises:
        CodexteamError: there is no environment and none can be built, or no sandbox can be started.
    """

    async def work(_signals: Signals) -> CommandResult:
        async with _opened(options) as opened, _sandbox(opened) as sandbox:
            return await sandbox.run(
                Command(tuple(command), cwd=_place(opened), timeout_seconds=_LONGEST_SECONDS),
                on_output=on_output,
            )

    return run_guarded_by_signals(work)


def open_shell(
    options: EnvironmentOptions,
    terminal: tuple[int, int] | None,
    *,
    on_ready: Callable[[], None],
    start: StartingPoint | None = None,
) -> int:
    """Open a shell on the user's terminal in a sandbox as agents have it, and return its exit code.

    `terminal` has the descriptors of standard input and output; None where they are none. Without `start` it begins with
    the commit that is checked out.

    Raises:
        UsageError: there is no terminal.
        CodexteamError: there is no environment and none can be built, or no sandbox can be started.
    """
    from codexteam.adapters.machine.terminal import Terminal, attached

    if terminal is None:
        raise UsageError(
            "a shell needs a terminal, and standard input or output is none",
            hint="codexteam env run -- COMMAND runs one command without a terminal",
        )

    async def work(_signals: Signals) -> int:
        async with _opened(options, start) as opened, _sandbox(opened, start) as sandbox:
            on_ready()
            return await attached(
                Terminal(*terminal), sandbox, cwd=_place(opened), environment=options.load.environment
            )

    return run_guarded_by_signals(work)


def _place(opened: _Opened) -> str:
    folder = opened.environments.repository if opened.context.repositories else opened.project.folder
    return f"{WORKSPACE}/{folder}" if folder else WORKSPACE


@asynccontextmanager
async def _sandbox(opened: _Opened, start: StartingPoint | None = None) -> AsyncIterator[Sandbox]:
    key = ""
    if opened.settings.team.sandbox.builds_environments:
        plan = await _kept_plan(opened)
        made = None if plan.is_empty else await opened.builder.find(opened.head, plan)
        if made is not None:
            key = made.key
        elif not plan.is_empty:
            status = await _built(opened)
            if status.problem:
                raise SandboxUnavailable(
                    f"the environment cannot be built: {status.problem}", hint="codexteam env build shows all of it"
                )
            key = status.key if status.made is not None else ""
    roles = opened.settings.roles
    role = roles[_ROLE] if start is None else roles.get(start.role, roles[_ROLE])
    sandbox_settings = opened.settings.team.sandbox
    spec = SandboxSpec(
        agent=AgentKey(opened.context.run_id, _ROLE, Purpose.IMPLEMENT, "shell", 1),
        base=await opened.context.repo.base_source(opened.context.run_id, opened.head),
        mode=role.sandbox_mode,
        network=network_of(role),
        limits=sandbox_settings.role_limits.get(role.name, sandbox_settings.limits),
        environment=command_environment(opened.settings, opened.project.environment),
        environment_key=key,
        repositories=bool(opened.context.repositories),
        restore=None if start is None else start.work,
    )
    await opened.engine.prepare(spec.base, environment_key=key)
    sandbox = await opened.engine.start(spec)
    try:
        yield sandbox
    finally:
        await to_its_end(sandbox.close())


# what is kept


@dataclass(frozen=True, slots=True)
class KeptEnvironments:
    """All environments that an engine keeps."""

    engine: EngineReport
    kept: tuple[tuple[Environment, int], ...]
    """With when each was last used, in seconds since the epoch; last used first."""
    current: str
    """The key of the one that the commit here uses; empty where there is none."""
    seen_at_seconds: float


def list_kept(options: EnvironmentOptions) -> KeptEnvironments:
    """Return what the engine keeps.

    Raises:
        CodexteamError: no engine works.
    """

    async def work(_signals: Signals) -> KeptEnvironments:
        async with _opened(options) as opened:
            plan = await _kept_plan(opened)
            made = None if plan.is_empty else await opened.builder.find(opened.head, plan)
            return KeptEnvironments(
                opened.report,
                tuple(await opened.engine.environments.list()),
                made.key if made is not None else "",
                opened.context.clock.wall_seconds(),
            )

    return run_guarded_by_signals(work)


def remove_kept(options: EnvironmentOptions, names: Sequence[str], *, every: bool) -> tuple[Environment, ...]:
    """Remove environments, by the start of their keys; all of them, or without names what is old or over the limit.

    Raises:
        UsageError: a name is of none, or of several.
    """

    async def work(_signals: Signals) -> tuple[Environment, ...]:
        async with _opened(options) as opened:
            environments = opened.engine.environments
            kept = [each for each, _ in await environments.list()]
            if names:
                keys: Sequence[str] = [_named(name, kept) for name in names]
                gone = await environments.remove(keys)
            elif every:
                gone = await environments.remove([each.key for each in kept])
            else:
                gone = await opened.builder.prune()
            return tuple(each for each in kept if each.key in gone)

    return run_guarded_by_signals(work)


def _named(name: str, kept: Sequence[Environment]) -> str:
    found = [each.key for each in kept if each.key.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = f"begins {len(found)} keys" if found else "begins the key of none"
    raise UsageError(f"environment {name!r}: it {what}", hint="codexteam env list shows them")
