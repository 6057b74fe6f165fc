"""A team without models: each assignment is answered by a function, in a real sandbox where it wants one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from codexteam.agent.agent_kinds import AGENT_KINDS
from codexteam.config.settings import NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.answers import RoleAnswer
from codexteam.core.budget_amounts import Usage
from codexteam.core.codec import decode
from codexteam.core.ids import JSONObject, RunId
from codexteam.ports.repo import Repo
from codexteam.ports.sandbox import Sandbox, SandboxSpec
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.run.assignment import AgentAnswer, AnswerT, Assignment, Report

Act = Callable[[Assignment[RoleAnswer], Sandbox], Awaitable[JSONObject]]


@dataclass
class ScriptedAgents:
    """Runs `act` for every assignment, with a sandbox at its base; what it leaves is handed in."""

    engine: SandboxEngine
    repo: Repo
    run_id: RunId
    folder: Path
    act: Act
    assigned: list[Assignment[RoleAnswer]] = field(default_factory=list)

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        given = cast("Assignment[RoleAnswer]", assignment)
        assert given.answer_type is AGENT_KINDS[given.key.purpose].answer
        self.assigned.append(given)
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
            answer = decode(assignment.answer_type, await self.act(given, sandbox), "a scripted answer")
            name = str(assignment.key).replace(" ", "-")
            snapshot = await sandbox.snapshot(self.folder / f"{name}.pack") if assignment.writes else None
            return AgentAnswer(answer, snapshot, Usage(), 1)
        finally:
            await sandbox.close()
