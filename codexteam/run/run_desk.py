"""What an agent has of its run, in the run's own process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from codexteam.agent.activities import Activities
from codexteam.agent.desk import AgentStore, CallBudget
from codexteam.agent.event_fields import AgentEvent
from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.prefix import Prompt
from codexteam.agent.tools.tool import Tool
from codexteam.core.ids import AgentKey
from codexteam.ports.environments import SetupOrder
from codexteam.ports.sandbox import SandboxFacts, SandboxSpec


def _new_future() -> "asyncio.Future[SandboxFacts]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class RunDesk:
    """An `AgentDesk`. Made by the agent runner for one try of an agent."""

    key: AgentKey
    store: AgentStore
    budget: CallBudget
    mailbox: Mailbox
    hold: AgentHold
    tools: Mapping[str, Tool]
    wanted: Callable[[], Awaitable[SandboxSpec | SetupOrder]]
    on_begin: Callable[[Prompt], None]
    report: Callable[[AgentEvent], None]
    activities: Activities
    facts: "asyncio.Future[SandboxFacts]" = field(default_factory=_new_future)
    """What its sandbox is, once it runs."""
    offered: frozenset[str] | None = None
    """The names of its tools; None: it has not begun."""

    async def sandbox_wanted(self) -> SandboxSpec | SetupOrder:
        """Return what its sandbox is made of, once that is known."""
        return await self.wanted()

    def sandbox_started(self, facts: SandboxFacts) -> None:
        """Note what its sandbox really is."""
        if not self.facts.done():
            self.facts.set_result(facts)

    def begins(self, prompt: Prompt, offered: frozenset[str]) -> None:
        """Note what it is asked first, and the names of its tools."""
        self.offered = offered
        self.on_begin(prompt)

    def prints(self, printed: Callable[[], str]) -> None:
        """Let people look at what its commands print."""
        self.activities.prints(self.key, printed)
