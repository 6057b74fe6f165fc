"""What an agent's end means to those who wanted its answer."""

from codexteam.agent.assignment import Handed, NoAnswer, Report, Shortage
from codexteam.agent.outcome import (
    AgentOutcome,
    BadAnswer,
    Effort,
    ModelGaveUp,
    OutOfBudget,
    OutOfTime,
    OutOfTurns,
    Refused,
    Stuck,
    Submitted,
    Unsaved,
)


def report_of(outcome: AgentOutcome) -> Report:
    """Give what an agent's end means to those who wanted its answer."""
    effort: Effort = outcome.effort
    match outcome:
        case Submitted(answer=answer):
            return Handed(answer, effort.snapshot, effort.usage, effort.turns)
        case OutOfBudget(kind=kind, handed_over=handed_over):
            said = handed_over.get("summary") if handed_over else None
            evidence = f"It handed over: {said}" if isinstance(said, str) else ""
            # an agent's own share is spent: another attempt gets a new one
            shortage = {"run": Shortage.RUN, "agent": None}.get(kind, Shortage.TASK)
            return NoAnswer(reason_of(outcome), evidence, effort.snapshot, shortage)
        case BadAnswer(text=text):
            return NoAnswer(reason_of(outcome), f"Its last answer was:\n{text[-2_000:]}", effort.snapshot)
        case Refused() | OutOfTurns() | OutOfTime() | Stuck() | ModelGaveUp() | Unsaved():
            return NoAnswer(reason_of(outcome), "", effort.snapshot)


def reason_of(outcome: AgentOutcome) -> str:
    """Say why there is no answer, in one line."""
    match outcome:
        case Submitted():
            return ""
        case Refused(text=text):
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
