"""A harness: the user's own coding agent, which asks its model itself and works with our sandbox as its hands.

To the loop of an agent it looks like a model (`ports.model`) whose calls somebody else makes: `stream` gives one answer
of its model, and `outputs` what became of the calls in it. Between the two the harness may not touch the workspace, so
that a turn is stored, and the next one reserved, before anything else is done.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from codexteam.config.settings import ModelSettings
from codexteam.core.ids import AgentKey, JSONObject
from codexteam.core.plan_credits import CreditBalance, CreditsReading
from codexteam.core.plan_windows import UsageWindow
from codexteam.ports.model import Model
from codexteam.ports.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool of ours that a harness offers to its model beside its own: a skill's text, a tool of an MCP server."""

    definition: JSONObject
    """Of type `function`, as in a request's `tools`."""
    call: Callable[[str, str], Awaitable[str | tuple[JSONObject, ...]]]
    """Takes arguments (JSON) and call id; gives text or content parts. What is wrong with a call is its text."""


@dataclass(frozen=True, slots=True)
class HarnessOrder:
    """One agent, as a harness needs to know it."""

    agent: AgentKey
    settings: ModelSettings
    sandbox: Callable[[], Awaitable[Sandbox]]
    """Waits for the agent's sandbox, without which no model is asked; closed by its owner, after the agent is."""
    tools: tuple[OfferedTool, ...] = ()
    network: bool = False
    """Whether its sandbox has network at all; told to the model."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request, where the user lets metadata be sent."""


@dataclass(frozen=True, slots=True)
class HarnessReport:
    """Whether a harness can be used, and with whose account."""

    usable: bool
    version: str = ""
    path: str = ""
    account: str = ""
    """In a few words: `ChatGPT plus`, `API key`, or nothing."""
    problem: str = ""
    """Why it cannot be used, and what to do."""
    windows: tuple[UsageWindow, ...] = field(default=())
    balance: CreditBalance | None = None
    """The credits that are left in the account's plan, where its service says it."""


class HarnessAgent(Model, Protocol):
    """One agent at work in a harness. Its first call starts it, from the transcript that the request holds."""

    async def outputs(self, call_ids: Sequence[str]) -> list[JSONObject]:
        """Let the calls of the last answer be done, and return what the harness gives its model for them.

        A call that was broken off, since the harness or its hands ended, has no output.

        Raises:
            SandboxLost: the sandbox went away.
        """
        ...


class Harness(Protocol):
    """What starts agents; one process for all of them."""

    @property
    def folder(self) -> Path:
        """The host's folder that its agents' sandboxes have as `SandboxSpec.programs`."""
        ...

    async def check(self) -> HarnessReport:
        """Start it, and say what it is."""
        ...

    def watch_windows(self, listen: Callable[[Sequence[UsageWindow]], None]) -> None:
        """Have all windows of the account's plan said to `listen` whenever one of them is read, from now on."""
        ...

    def watch_credits(self, listen: Callable[[CreditsReading], None], threads: Mapping[str, AgentKey]) -> None:
        """Have what the account's plan counts in credits said to `listen`, also of `threads` of earlier sessions.

        It comes late, and not for every plan: a thread of which nothing is reported is said to have none.
        """
        ...

    async def read_credits(self) -> None:
        """Read once more what was not read since the last answers; takes some seconds at most."""
        ...

    def agent(self, order: HarnessOrder) -> HarnessAgent:
        """Return an agent that is not started yet; owned by the caller, who closes it."""
        ...

    async def close(self) -> None:
        """End the process and all that agents left in it."""
        ...
