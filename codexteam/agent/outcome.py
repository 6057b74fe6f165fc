"""How an agent's work can end. Each end has what it took and what was written until then."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.ports.sandbox import Snapshot


@dataclass(frozen=True, slots=True)
class Effort:
    """What an agent took, over all its resumes, and what it leaves."""

    turns: int = 0
    usage: Usage = field(default_factory=Usage)
    """Of the calls whose usage is known, compactions included."""
    unknown_usage_calls: int = 0
    snapshot: Snapshot | None = None
    """The workspace as it is; None when nothing differs from the base."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """It answered, and the answer fits its contract. That is its word, not yet a fact."""

    answer: JSONObject
    text: str
    effort: Effort


@dataclass(frozen=True, slots=True)
class Refused:
    """The model refused."""

    text: str
    effort: Effort


@dataclass(frozen=True, slots=True)
class OutOfTurns:
    """It used all its turns."""

    limit: int
    effort: Effort


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """It used all its time."""

    limit_seconds: float
    effort: Effort


@dataclass(frozen=True, slots=True)
class OutOfBudget:
    """The next call did not fit a budget."""

    reason: str
    kind: str
    """Whose budget: `run`, `role`, `task`, or `agent` for the share that it was given."""
    handed_over: JSONObject | None
    """Its last answer, when the share kept back allowed one and it fits the contract."""
    effort: Effort


@dataclass(frozen=True, slots=True)
class Stuck:
    """It turned in circles."""

    reason: str
    effort: Effort


class GaveUp(StrEnum):
    """Why a model gives no more answers."""

    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    PROTOCOL = "protocol"
    CONTEXT = "context"
    """The request is too long, also after it was made shorter."""
    LENGTH = "length"
    """The answer is too long, also with a higher limit."""
    FILTERED = "filtered"
    """The service's content filter, or another reason of its own, ended the answer."""


@dataclass(frozen=True, slots=True)
class ModelGaveUp:
    """No answer to go on with."""

    kind: GaveUp
    message: str
    effort: Effort


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """Its final answer did not fit the contract, twice."""

    reason: str
    text: str
    effort: Effort


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Its work could not be taken out of the sandbox; `effort.snapshot` is an older state."""

    reason: str
    effort: Effort


AgentOutcome: TypeAlias = (
    Submitted | Refused | OutOfTurns | OutOfTime | OutOfBudget | Stuck | ModelGaveUp | BadAnswer | Unsaved
)
