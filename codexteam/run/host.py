"""Hosts: places for agents. One gives so many sandboxes, runs an agent in one of them, and its death fails no attempt.

There are two kinds. On an `EngineHost` the agent's loop runs in the run's own process and its sandbox on one of the
engine's machines: Docker engines over sockets, ssh and TLS, bubblewrap, Kubernetes. On a `WorkerHost` the loop runs beside
its sandbox, in a process of a cluster, and what it has of the run comes over messages. `tests/contract/test_host.py` says
what holds for all of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codexteam.agent.deps import AgentSpec
from codexteam.agent.desk import AgentDesk
from codexteam.agent.outcome import AgentOutcome
from codexteam.agent.tools.tool_context import ToolLimits
from codexteam.config.settings import SandboxMode
from codexteam.core.ids import JSONObject


@dataclass(frozen=True, slots=True)
class AgentOrder:
    """One agent's work, in values that can be sent to another machine."""

    spec: AgentSpec
    mode: SandboxMode
    """Of its sandbox."""
    tools: tuple[str, ...]
    """The names of the program's own tools that it is offered, in order."""
    freeform: bool
    """Whether its provider takes tools that are held to a grammar."""
    limits: ToolLimits
    hosted_tools: tuple[JSONObject, ...]
    """Definitions of tools that the model service runs itself."""
    folder: Path
    """Where the run keeps what the agent leaves: a folder of the run's machine."""


class Host(Protocol):
    """A place for agents. Owned by who made it, who closes it."""

    @property
    def places(self) -> int | None:
        """How many sandboxes it may hold at once, as far as is known now; None where nothing but the machine limits it."""
        ...

    async def work(self, order: AgentOrder, desk: AgentDesk) -> AgentOutcome:
        """Let an agent work to its end, in a sandbox of its own, from its last stored turn if it has any.

        All that it does is told to `desk` as it happens. Cancelling it stops the agent, kills its commands and removes its
        sandbox; it can be called again.

        Raises:
            HostLost: the machine under it went away; what is lost is the turn.
            SandboxLost: its sandbox did.
            SandboxUnavailable: no sandbox could be started.
            ModelAccessError: the model service will not serve us.
        """
        ...
