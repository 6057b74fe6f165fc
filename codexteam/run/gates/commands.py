"""Gate and acceptance commands: run in a fresh sandbox on one commit, each with its outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from codexteam.config.settings import NetworkPolicy, SandboxMode
from codexteam.core.ids import AgentKey, CommitId, JSONObject, Purpose
from codexteam.errors import HostLost
from codexteam.ports.sandbox import Command, Sandbox, SandboxSpec
from codexteam.run.command_environments import Placed, SetupFailed
from codexteam.run.command_outcome import CommandOutcome, outcome_of
from codexteam.run.context import RunContext
from codexteam.run.lost_hosts import despite_lost_hosts
from codexteam.system.cancellation import stopped
from codexteam.system.fault_points import reach

#: What is kept of a command's output: enough for a report, and for a model to see the cause.
OUTPUT_BYTES = 64 * 1024
#: A command that runs longer is shown while it does.
LONG_SECONDS = 10.0
#: Commands that run into dead hosts so often stop the run, which can be resumed.
_MOST_LOST_HOSTS = 5


async def run_commands(
    sandbox: Sandbox,
    commands: Sequence[str],
    *,
    timeout_seconds: float,
    stop_at_failure: bool = False,
    watch: Callable[[str], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    output_limit_bytes: int = OUTPUT_BYTES,
) -> list[CommandOutcome]:
    """Run shell lines one after the other in one sandbox; `watch` is entered while each runs.

    Raises:
        SandboxLost: the sandbox went away; nothing is known of the command that ran.
    """
    outcomes: list[CommandOutcome] = []
    for line in commands:
        async with watch(line):
            result = await sandbox.run(
                Command(("bash", "-c", line), timeout_seconds=timeout_seconds, output_limit_bytes=output_limit_bytes)
            )
        outcomes.append(outcome_of(line, result))
        if stop_at_failure and not outcomes[-1].ok:
            break
    return outcomes


@asynccontextmanager
async def _told_while_long(context: RunContext, line: str, name: str, limit_seconds: float) -> AsyncIterator[None]:
    """Tell of a command that takes long, while it runs: which, since when, and until when at most."""
    fields: JSONObject = {"command": line, "check": name}
    reported = False

    async def report_late() -> None:
        nonlocal reported
        await context.clock.sleep(LONG_SECONDS)
        reported = True
        context.report("command.running", {**fields, "seconds": LONG_SECONDS, "limit_seconds": limit_seconds})

    late = asyncio.ensure_future(report_late())
    try:
        yield
    finally:
        await stopped(late)
        if reported:
            context.report("command.ended", fields)


async def placed(context: RunContext, commit: CommitId, commands: Sequence[str]) -> Sequence[Placed]:
    """Return in which environment of a commit each command works."""
    if context.environments is None:
        return (Placed(tuple(commands), ""),)
    return await context.environments.places(commit, commands)


def _not_set_up(line: str, failed: SetupFailed) -> CommandOutcome:
    text = f"This commit's environment cannot be set up, so nothing was run.\n{failed.describe()}\n"
    return CommandOutcome(line, None, timed_out=False, output=text, wall_seconds=0.0, not_set_up=failed.reason)


async def check_commit(
    context: RunContext,
    commit: CommitId,
    commands: Sequence[str],
    *,
    name: str,
    number: int = 1,
    timeout_seconds: float | None = None,
    environment_key: str | None = None,
    output_limit_bytes: int = OUTPUT_BYTES,
) -> list[CommandOutcome]:
    """Run commands on a commit, one after the other, in the environments that its files ask for; none without commands.

    `name` and `number` identify this check within the run; a container left under them by a dead try is replaced. Where the
    commit's environment cannot be set up, no command has run, and each says why. With an `environment_key` they run in
    that one.

    Raises:
        SandboxUnavailable: no sandbox can be started.
        SandboxLost: it went away, twice; nothing is known of the commands. On a host that dies they run again elsewhere.
    """
    if not commands:
        return []
    if environment_key is None:
        found: dict[str, CommandOutcome] = {}
        for place in await placed(context, commit, commands):
            if isinstance(place.key, SetupFailed):
                found.update((line, _not_set_up(line, place.key)) for line in place.commands)
                continue
            outcomes = await check_commit(
                context,
                commit,
                place.commands,
                name=name,
                number=number,
                timeout_seconds=timeout_seconds,
                environment_key=place.key,
                output_limit_bytes=output_limit_bytes,
            )
            found.update((outcome.command, outcome) for outcome in outcomes)
        return [found[line] for line in commands]
    team = context.settings.team
    role = context.settings.roles.get("ci_runner")
    spec = SandboxSpec(
        agent=AgentKey(context.run_id, "ci_runner", Purpose.CI, name, number),
        base=await context.repo.base_source(context.run_id, commit),
        # commands write caches and build output: the workspace is theirs, and is thrown away
        mode=SandboxMode.WORKSPACE_WRITE,
        network=role.network if role else NetworkPolicy(),
        limits=team.sandbox.role_limits.get("ci_runner", team.sandbox.limits),
        environment={"CI": "1"},
        repositories=bool(context.repositories),
        environment_key=environment_key,
    )
    limit_seconds = timeout_seconds or team.gates.timeout_seconds

    async def run_once() -> list[CommandOutcome]:
        reach("check.start.before")
        sandbox = await context.engine.start(spec)
        reach("check.start.after")
        try:
            reach("check.commands.before")
            outcomes = await run_commands(
                sandbox,
                commands,
                timeout_seconds=limit_seconds,
                watch=lambda line: _told_while_long(context, line, name, limit_seconds),
                output_limit_bytes=output_limit_bytes,
            )
            reach("check.commands.after")
            return outcomes
        finally:
            await sandbox.close()

    def told(error: HostLost) -> None:
        text = f"{name}: {error}; its commands run again, on another host if there is one"
        context.report("notice", {"text": text})

    return await despite_lost_hosts(run_once, told, most=_MOST_LOST_HOSTS)
