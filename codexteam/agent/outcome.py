"""How an agent's work can end. Each end has what it took and what was written until then."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.budget_amounts import Usage
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.ids import JSONObject
from codexteam.ports.sandbox import Remark, Snapshot


@dataclass(frozen=True, slots=True)
class AgentStats:
    """What an agent took, over all its resumes, and what it leaves."""

    turns: int = 0
    usage: Usage = field(default_factory=Usage)
    """Of the calls whose usage is known, compactions included."""
    unknown_usage_calls: int = 0
    snapshot: Snapshot | None = None
    """The workspace as it is; None when nothing differs from the base."""
    remarks: tuple[Remark, ...] = ()
    """What the workspace has and its snapshot has not."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """It answered, and the answer fits its contract. That is its word, not yet a fact."""

    answer: JSONObject
    text: str
    effort: AgentStats


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """The model refused to do what was asked; its words are `text`."""

    text: str
    effort: AgentStats


@dataclass(frozen=True, slots=True)
class OutOfTurns:
    """It used all its turns."""

    limit: int
    effort: AgentStats


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """It used all its time."""

    limit_seconds: float
    effort: AgentStats


@dataclass(frozen=True, slots=True)
class OutOfBudget:
    """The next call did not fit a budget."""

    reason: str
    budget_scope: BudgetScope
    handed_over: JSONObject | None
    """Its last answer, when the share kept back allowed one and it fits the contract."""
    effort: AgentStats


@dataclass(frozen=True, slots=True)
class Stuck:
    """It turned in circles."""

    reason: str
    effort: AgentStats


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
    """No usable answer."""

    kind: GaveUp
    message: str
    effort: AgentStats
    lasting: bool = False
    """Whether the same request would end the same way: the service refuses what the agent is asked, not what it did."""


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """Its final answer did not fit the contract, twice."""

    reason: str
    text: str
    effort: AgentStats


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Its work could not be taken out of the sandbox; `effort.snapshot` is an older state."""

    reason: str
    effort: AgentStats


AgentOutcome: TypeAlias = (
    Submitted | ModelRefused | OutOfTurns | OutOfTime | OutOfBudget | Stuck | ModelGaveUp | BadAnswer | Unsaved
)
