"""Whether several attempts at once paid: what they merged that one alone would not have, and what the others took."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codexteam.core.contest import ContenderPhase
from codexteam.core.ids import JSONObject, Purpose
from codexteam.core.state import RunState, TaskPhase, TaskState
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import number_field, text_field
from codexteam.report.spent import Spent

_BESIDE = frozenset({Purpose.HIDDEN_TESTS, Purpose.JUDGE})
_WORK = frozenset({Purpose.IMPLEMENT, Purpose.RESOLVE})


@dataclass(frozen=True, slots=True)
class ContestFigures:
    """Tasks at which several attempts were made at once."""

    tasks: int = 0
    merged: int = 0
    """Those whose taken attempt was merged."""
    paid: int = 0
    """Of these, those whose first contender, which alone would have been the only one, failed, or more failed of its work."""
    sooner: int = 0
    """Of these, those whose first contender was not done when another one passed: what it would have come to is not known."""
    usd: float | None = 0.0
    """What the attempts that were not taken, QA's hidden tests and judges cost; None where a price is unknown."""
    tokens: int = 0

    def __add__(self, other: "ContestFigures") -> "ContestFigures":
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return ContestFigures(
            self.tasks + other.tasks,
            self.merged + other.merged,
            self.paid + other.paid,
            self.sooner + other.sooner,
            usd,
            self.tokens + other.tokens,
        )

    def as_json(self) -> JSONObject:
        """Return them for programs."""
        return {
            "tasks": self.tasks,
            "merged": self.merged,
            "paid": self.paid,
            "sooner": self.sooner,
            "extra_usd": self.usd,
            "extra_tokens": self.tokens,
        }


def contest_figures(state: RunState, events: Sequence[RunEvent]) -> ContestFigures:
    """Return the figures of one run."""
    contested = {str(i): known for i, known in state.tasks.items() if known.contest is not None}
    if not contested:
        return ContestFigures()
    extra = Spent()
    for event in events:
        known = contested.get(text_field(event.fields, "task"))
        if known is not None and _is_extra(known, event):
            extra.add(event)
    outcomes = [_outcome(known) for known in contested.values()]
    return ContestFigures(
        len(contested),
        sum(merged for merged, _, _ in outcomes),
        sum(paid for _, paid, _ in outcomes),
        sum(sooner for _, _, sooner in outcomes),
        extra.usd,
        extra.usage.total_tokens,
    )


def summed(figures: Iterable[ContestFigures]) -> ContestFigures:
    """Return the figures of several runs together."""
    return sum(figures, ContestFigures())


def _is_extra(known: TaskState, event: RunEvent) -> bool:
    purpose = text_field(event.fields, "purpose")
    if purpose in _BESIDE:
        return True
    contest = known.contest
    attempt = number_field(event.fields, "attempt")
    return (
        purpose in _WORK
        and contest is not None
        and contest.of_attempt(attempt) is not None
        and attempt != contest.winner
    )


def _outcome(known: TaskState) -> tuple[bool, bool, bool]:
    """Return whether a task's taken attempt was merged, whether that paid, and whether it was only sooner."""
    contest = known.contest
    if contest is None or known.phase is not TaskPhase.MERGED or known.attempt != contest.winner:
        return False, False, False
    first = contest.contenders[0]
    if first.attempt == contest.winner:
        return True, False, False
    if first.phase is not ContenderPhase.TRIED:
        return True, first.phase is ContenderPhase.OUT, first.phase is ContenderPhase.WITHDRAWN
    winner = contest.of_attempt(contest.winner)
    if winner is None or winner.trial is None or first.trial is None:
        return True, False, False
    return True, winner.trial.rank < first.trial.rank, False
