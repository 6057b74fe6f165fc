"""A crew without models: each assignment is answered by a function, in a real sandbox where it wants one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from codexteam.agent.assignment import Assignment, Handed, Report
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.ids import RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.ports.repo import Repo
from codexteam.ports.sandbox import Sandbox, SandboxEngine, SandboxSpec

Act = Callable[[Assignment, Sandbox], Awaitable[JSONObject]]


@dataclass
class ScriptedCrew:
    """Runs `act` for every assignment, with a sandbox at its base; what it leaves is handed in."""

    engine: SandboxEngine
    repo: Repo
    run_id: RunId
    folder: Path
    act: Act
    assigned: list[Assignment] = field(default_factory=list)

    async def assign(self, assignment: Assignment) -> Report:
        self.assigned.append(assignment)
        spec = SandboxSpec(
            agent=assignment.key,
            base=await self.repo.base_source(self.run_id, assignment.base),
            mode=SandboxMode.WORKSPACE_WRITE if assignment.writes else SandboxMode.READ_ONLY,
            network=NetworkPolicy(),
            limits=SandboxLimits(memory_bytes=1 << 30, workspace_bytes=128 << 20, tmp_bytes=64 << 20),
            restore=assignment.restore,
        )
        sandbox = await self.engine.start(spec)
        try:
            answer = await self.act(assignment, sandbox)
            name = str(assignment.key).replace(" ", "-")
            snapshot = await sandbox.snapshot(self.folder / f"{name}.pack") if assignment.writes else None
            return Handed(answer, snapshot, Usage(), 1)
        finally:
            await sandbox.close()
