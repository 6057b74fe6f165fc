"""A fresh sandbox on one commit, for commands whose exit codes count. Never the sandbox of the agent that is judged."""

from collections.abc import Sequence

from codexteam.agent.office import Office
from codexteam.config.settings import NetworkPolicy, SandboxMode
from codexteam.core.ids import AgentKey, CommitId, Purpose
from codexteam.gates.commands import CommandOutcome, run_commands
from codexteam.ports.fault_points import reach
from codexteam.ports.sandbox import SandboxSpec


async def check_commit(
    office: Office, commit: CommitId, commands: Sequence[str], *, name: str, timeout_seconds: float | None = None
) -> list[CommandOutcome]:
    """Run commands on a commit, one after the other; none without commands.

    `name` tells this check from others of the run; a container left by a dead try under the same name is replaced.

    Raises:
        SandboxUnavailable: no sandbox can be started.
        SandboxLost: it went away, twice; nothing is known of the commands.
    """
    if not commands:
        return []
    team = office.settings.team
    role = office.settings.roles.get("ci_runner")
    spec = SandboxSpec(
        agent=AgentKey(office.run_id, "ci_runner", Purpose.CI, name, 1),
        base=await office.repo.base_source(office.run_id, commit),
        # commands write caches and build output: the workspace is theirs, and is thrown away
        mode=SandboxMode.WORKSPACE_WRITE,
        network=role.network if role else NetworkPolicy(),
        limits=team.sandbox.role_limits.get("ci_runner", team.sandbox.limits),
        environment={"CI": "1"},
    )
    reach("check.start.before")
    sandbox = await office.engine.start(spec)
    reach("check.start.after")
    try:
        reach("check.commands.before")
        outcomes = await run_commands(sandbox, commands, timeout_seconds=timeout_seconds or team.gates.timeout_seconds)
        reach("check.commands.after")
        return outcomes
    finally:
        await sandbox.close()
