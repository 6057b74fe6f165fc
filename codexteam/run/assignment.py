"""What an agent is put to work on, and what comes back. The seam between those who need an agent and the agent loop."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, Protocol, TypeAlias, TypeVar

from codexteam.agent.outcome import (
    AgentOutcome,
    AgentStats,
    BadAnswer,
    GaveUp,
    ModelGaveUp,
    ModelRefused,
    OutOfBudget,
    OutOfTime,
    OutOfTurns,
    Stuck,
    Submitted,
    Unsaved,
)
from codexteam.core.answers import RoleAnswer
from codexteam.core.budget_amounts import Usage
from codexteam.core.budget_queue import Standing
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.budget_text import TaskBudget
from codexteam.core.codec import decode
from codexteam.core.ids import AgentKey, CommitId
from codexteam.core.redaction import Redactor, redact_texts
from codexteam.ports.environments import SetupOrder
from codexteam.ports.sandbox import Remark, Snapshot

AnswerT = TypeVar("AnswerT", bound=RoleAnswer)


@dataclass(frozen=True, slots=True)
class Assignment(Generic[AnswerT]):
    """One agent's work: who, where, and the task in words."""

    key: AgentKey
    base: CommitId
    """What its workspace shows."""
    prompt: str
    """The task, last in the request; foreign text in it is fenced as data."""
    answer_type: type[AnswerT]
    """What it answers; the contract of its purpose has the same fields."""
    restore: Snapshot | None = None
    """Earlier work to continue from, on the same base."""
    standing: Standing = field(default_factory=Standing)
    """Where it stands among agents that share a budget."""
    budget: TaskBudget | None = None
    """What the plan gives its task, if it has one."""
    writes: bool = False
    """Whether what it leaves in its workspace is wanted."""
    paths: tuple[str, ...] = ()
    """Globs of what it is to write: what they name is taken although git ignores it."""
    setup: SetupOrder | None = None
    """It works in the sandbox of this set-up, whose key is claimed, in place of one of its own."""
    messages: tuple[str, ...] = ()
    """What people have said to it since it began, whether it has read it or not."""
    model: str = ""
    """What a person wants used in place of its role's; so is `effort`."""
    effort: str = ""
    chosen_by: str = "codexteam retry"
    """Who asks for these."""
    max_turns: int | None = None
    """Fewer than agents usually have."""
    contends: bool = False
    """Others do the same task at the same time: it leaves no notes, which would be about work that may not be taken."""
    checks: tuple[str, ...] = ()
    """The acceptance commands of its task: how often they fail while it mends is limited."""


@dataclass(frozen=True, slots=True)
class AgentAnswer(Generic[AnswerT]):
    """The agent answered, and the answer fits its contract."""

    answer: AnswerT
    snapshot: Snapshot | None
    """Its work; None when it changed nothing, or when it was not to write."""
    usage: Usage
    turns: int
    remarks: tuple[Remark, ...] = ()
    """What of its workspace is not in its work; foreign text."""


class Unserved(Enum):
    """How a model did not serve an agent."""

    REFUSED = auto()
    """It refused, which is an answer."""
    REJECTED = auto()
    """Its service did not take what was asked, or what it sent was no answer: another agent's request may fare better."""
    DOWN = auto()
    """It gave no answer, whoever asked."""


@dataclass(frozen=True, slots=True)
class AgentFailure:
    """The agent ended without a usable answer."""

    reason: str
    """One line."""
    evidence: str = ""
    """What a next attempt should know."""
    snapshot: Snapshot | None = None
    """What it had written until then."""
    budget_scope: BudgetScope | None = None
    """Set if it ended for lack of budget: then it continues later from where it was, under the same key."""
    remarks: tuple[Remark, ...] = ()
    lasting: bool = False
    """Whether a next attempt, which is asked the same, would end the same way."""
    unserved: Unserved | None = None
    """Set if its model is to blame, and another one may do it."""


Report: TypeAlias = AgentAnswer[AnswerT] | AgentFailure


class AgentRunner(Protocol):
    """Puts agents to work."""

    async def run(self, assignment: Assignment[AnswerT]) -> Report[AnswerT]:
        """Let one agent work to its end, in a sandbox of its own, and give what it hands in.

        Called again after a crash with the same key it continues from the agent's last stored turn. Cancelling it stops
        the agent and leaves that possible.

        Raises:
            SurroundingsError: no agent can work: the model service, the engine or the store refuses.
        """
        ...


_UNSERVED = {
    GaveUp.UNAVAILABLE: Unserved.DOWN,
    GaveUp.REJECTED: Unserved.REJECTED,
    GaveUp.PROTOCOL: Unserved.REJECTED,
    GaveUp.FILTERED: Unserved.REJECTED,
}


def report_of(outcome: AgentOutcome, answer_type: type[AnswerT], redactor: Redactor) -> Report[AnswerT]:
    """Return what an agent's end means to those who wanted its answer; secrets are taken out of what it says."""
    effort: AgentStats = outcome.effort
    match outcome:
        case Submitted(answer=answer):
            typed = redact_texts(decode(answer_type, answer, "an agent's answer"), redactor.redact)
            return AgentAnswer(typed, effort.snapshot, effort.usage, effort.turns, effort.remarks)
        case OutOfBudget(budget_scope=budget_scope, handed_over=handed_over):
            said = handed_over.get("summary") if handed_over else None
            evidence = f"It handed over: {said}" if isinstance(said, str) else ""
            reason = redactor.redact(reason_of(outcome))
            return AgentFailure(reason, redactor.redact(evidence), effort.snapshot, budget_scope, effort.remarks)
        case BadAnswer(text=text):
            evidence = redactor.redact(f"Its last answer was:\n{text[-2_000:]}")
            return AgentFailure(redactor.redact(reason_of(outcome)), evidence, effort.snapshot, remarks=effort.remarks)
        case ModelRefused() | OutOfTurns() | OutOfTime() | Stuck() | ModelGaveUp() | Unsaved():
            lasting = isinstance(outcome, ModelGaveUp) and outcome.lasting
            reason = redactor.redact(reason_of(outcome))
            unserved = _UNSERVED.get(outcome.kind) if isinstance(outcome, ModelGaveUp) else None
            if isinstance(outcome, ModelRefused):
                unserved = Unserved.REFUSED
            return AgentFailure(
                reason,
                "",
                effort.snapshot,
                remarks=effort.remarks,
                lasting=lasting,
                unserved=unserved,
            )


def reason_of(outcome: AgentOutcome) -> str:
    """Say why there is no answer, in one line."""
    match outcome:
        case Submitted():
            return ""
        case ModelRefused(text=text):
            return f"the model refused: {text}"
        case OutOfTurns(limit=limit):
            return f"no answer after {limit} turns"
        case OutOfTime(limit_seconds=seconds):
            return f"no answer after {seconds / 60:.0f} minutes"
        case OutOfBudget(reason=reason) | Stuck(reason=reason) | Unsaved(reason=reason):
            return reason
        case ModelGaveUp(message=message):
            return f"the model gave no answer: {message}"
        case BadAnswer(reason=reason):
            return f"its answer does not fit: {reason}"
