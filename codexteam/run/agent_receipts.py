"""What each agent was really started with, kept once its sandbox is there."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from codexteam.agent.agent_kinds import base_text
from codexteam.agent.event_fields import agent_fields
from codexteam.agent.instructions import RunInstructions
from codexteam.agent.reservations import Reservations
from codexteam.config.receipt import receipt
from codexteam.config.settings import RoleSettings
from codexteam.core.codec import encode
from codexteam.core.ids import AgentKey, JSONObject, JSONValue
from codexteam.ports.sandbox import SandboxFacts
from codexteam.run.context import RunContext
from codexteam.run.run_desk import RunDesk
from codexteam.system.cancellation import stopped


@dataclass(slots=True)
class AgentReceipts:
    """Writes the receipts of a run."""

    context: RunContext
    gate: Reservations
    instructions: RunInstructions
    environments: dict[AgentKey, str] = field(default_factory=dict)
    """The key of what each agent's commands work in; filled by who starts them."""

    @asynccontextmanager
    async def kept(self, key: AgentKey, role: RoleSettings, desk: RunDesk) -> AsyncIterator[None]:
        """See that the receipt of an agent is kept that works in the block, sandbox or not."""
        writing = asyncio.ensure_future(self._write(key, role, desk))
        try:
            yield
            if desk.facts.done():
                await asyncio.wait((writing,))
            else:
                writing.cancel()
                self._keep(key, role, desk.offered, None)
        finally:
            await stopped(writing)

    async def _write(self, key: AgentKey, role: RoleSettings, desk: RunDesk) -> None:
        facts = await asyncio.shield(desk.facts)
        self._keep(key, role, desk.offered, facts)

    def _keep(
        self, key: AgentKey, role: RoleSettings, offered: frozenset[str] | None, facts: SandboxFacts | None
    ) -> None:
        if offered is None:
            return  # it never began
        configured = receipt(role, self.context.settings)
        tools = configured["tools"]
        written: JSONObject = {
            **configured,
            # a role's tools are not all for every agent of it: notes are of those who work on a task alone
            "tools": [one for one in (tools if isinstance(tools, list) else ()) if _name_of(one) in offered],
            "agent": str(key),
            "base_text_sha256": hashlib.sha256(base_text(key.purpose).encode()).hexdigest(),
            "started_sandbox": None if facts is None else encode(facts),
            "environment": self.environments.get(key, ""),
            "plan_windows": self.gate.windows.words() if (on_plan := key.role in self.gate.windows.roles) else "",
            "plan_credits": self.gate.plan_credits.words() if on_plan else "",
            "project_docs": list(self.instructions.docs_sources),
            "started_by": self.context.started_by,
        }
        self.context.report("agent.received", {**agent_fields(key, role), "receipt": written})


def _name_of(tool: JSONValue) -> JSONValue:
    return tool.get("name") if isinstance(tool, dict) else None
