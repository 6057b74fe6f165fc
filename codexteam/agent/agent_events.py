"""What an agent tells while it works, for the live view and the events file. None of it decides anything."""

from dataclasses import dataclass
from typing import TypeAlias

from codexteam.core.budget_amounts import Amount
from codexteam.core.ids import Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A call is about to be made."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnAnswered:
    """The model answered; usage is None where the service did not say."""

    turn: int
    usage: Usage | None
    counted: Amount | None = None
    """Without a usage: what the budget counts for it, which is the most that it can cost."""


@dataclass(frozen=True, slots=True)
class TryUnanswered:
    """A try of a call gave no answer, and nobody says whether it is billed."""

    turn: int
    call: Purpose
    counted: Amount
    """What the budget counts for all such tries of this call so far."""


@dataclass(frozen=True, slots=True)
class TextStreamed:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallRetried:
    """The call failed on its way and is made again."""

    reason: str
    wait_seconds: float
    tries: int
    """The number of the try that follows."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call begins; `what` is its first line, as the model wrote it."""

    call_id: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call is done; `failed` when it could not be done as asked."""

    call_id: str
    name: str
    failed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class PlanUpdated:
    """The agent's own list of steps (`update_plan`)."""

    steps: tuple[JSONObject, ...]


@dataclass(frozen=True, slots=True)
class Compacted:
    """The transcript was made shorter."""

    turn: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class MessagesDelivered:
    """Messages of people are now, durably, part of the transcript."""

    turn: int
    texts: tuple[str, ...]


AgentEvent: TypeAlias = (
    TurnStarted
    | TurnAnswered
    | TryUnanswered
    | TextStreamed
    | CallRetried
    | ToolStarted
    | ToolFinished
    | PlanUpdated
    | Compacted
    | MessagesDelivered
)
