"""What an agent is put to work on, and what comes back. The seam between those who need an agent and the agent loop."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from codexteam.core.ids import AgentKey, CommitId
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.ports.sandbox import Snapshot


@dataclass(frozen=True, slots=True)
class Assignment:
    """One agent's work: who, where, and the task in words."""

    key: AgentKey
    base: CommitId
    """What its workspace shows."""
    prompt: str
    """The task, last in the request; foreign text in it is fenced as data."""
    restore: Snapshot | None = None
    """Work to go on from, on the same base."""
    budget_share: float = 1.0
    """The part of what is left of the run's budget that it may use."""
    writes: bool = False
    """Whether what it leaves in its workspace is wanted."""


@dataclass(frozen=True, slots=True)
class Handed:
    """The agent answered, and the answer fits its contract."""

    answer: JSONObject
    snapshot: Snapshot | None
    """Its work; None when it changed nothing, or when it was not to write."""
    usage: Usage
    turns: int


class Shortage(StrEnum):
    """Whose budget is spent."""

    RUN = "run"
    TASK = "task"
    """The task's or the role's."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The agent ended without a usable answer."""

    reason: str
    """One line."""
    evidence: str = ""
    """What a next attempt should know."""
    snapshot: Snapshot | None = None
    """What it had written until then."""
    shortage: Shortage | None = None


Report: TypeAlias = Handed | NoAnswer


class Crew(Protocol):
    """Puts agents to work."""

    async def assign(self, assignment: Assignment) -> Report:
        """Let one agent work to its end, in a sandbox of its own, and give what it hands in.

        Called again after a crash with the same key it goes on from the agent's last stored turn. Cancelling it stops
        the agent and leaves that possible.

        Raises:
            SurroundingsError: no agent can work: the model service, the engine or the store refuses.
        """
        ...
