"""The rows of a board: agents, tasks, gates and findings as they are at a moment."""

from dataclasses import dataclass, field

from codexteam.core.usage import Usage
from codexteam.report.unknown_bills import UnknownBills


@dataclass(slots=True)
class AgentRow:
    """One agent at work, or done."""

    name: str
    role: str
    purpose: str
    task: str
    attempt: int
    model: str
    started_at_seconds: float
    state: str = "starting"
    turn: int = 0
    action: str = ""
    usage: Usage = field(default_factory=Usage)
    usd: float | None = 0.0
    """None once a call of unknown price is in it."""
    unknown: UnknownBills = field(default_factory=UnknownBills)
    """What the budget counts beside these, for calls whose usage the service did not say."""
    last_at_seconds: float = 0.0
    tries: int = 0
    """While a call is asked again: the number of the try, else 0."""
    retry_at_seconds: float = 0.0
    limit: str = ""
    """When the call is given up, in words."""
    done: bool = False


@dataclass(slots=True)
class TaskRow:
    """One task."""

    id: str
    title: str
    role: str
    status: str = "todo"
    attempt: int = 0
    reason: str = ""


@dataclass(slots=True)
class GateRow:
    """A gate's newest verdict."""

    name: str
    state: str
    round: int
    note: str = ""


@dataclass(slots=True)
class FindingRow:
    """A finding."""

    id: str
    title: str
    severity: str
    status: str
    place: str
