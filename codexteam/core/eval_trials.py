"""The trials of an evaluation: a task, an arm and a repeat, and what came of it.

Every trial has one verdict, and none is left out of what is counted. A failure of the surroundings is a verdict of its own,
beside the rate that counts it as not resolved stands the one without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from codexteam.core.codec import StoredForm, stored
from codexteam.core.eval_task import Arm, ArmKind


class TrialVerdict(StrEnum):
    """What came of a trial."""

    RESOLVED = "resolved"
    NOT_RESOLVED = "not_resolved"
    OVER_BUDGET = "over_budget"
    """Not resolved when its budget was used up."""
    TIMED_OUT = "timed_out"
    """Not resolved when its time was over."""
    INFRASTRUCTURE = "infrastructure"
    """A service, a sandbox or the task itself failed: nothing is known of the arm."""


@dataclass(frozen=True, slots=True)
class TrialKey:
    """Which trial it is."""

    task: str
    arm: str
    repeat: int
    """Counted from 1."""

    def __str__(self) -> str:
        return f"{self.task}/{self.arm}/{self.repeat}"


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class TrialSpend:
    """What a trial took; what nobody knows is None, and never 0."""

    tokens: int = 0
    usd: float | None = 0.0
    credits: float | None = 0.0
    turns: int = 0
    """Model calls that were answered."""
    wall_seconds: float = 0.0

    def __add__(self, other: "TrialSpend") -> "TrialSpend":
        return TrialSpend(
            self.tokens + other.tokens,
            None if self.usd is None or other.usd is None else self.usd + other.usd,
            None if self.credits is None or other.credits is None else self.credits + other.credits,
            self.turns + other.turns,
            self.wall_seconds + other.wall_seconds,
        )

    def used(self) -> dict[str, float | None]:
        """Return it by the units of a budget."""
        return {"tokens": float(self.tokens), "usd": self.usd, "credits": self.credits}


@stored(StoredForm(tag="", optional=("retries",)))
@dataclass(frozen=True, slots=True)
class RanCandidate:
    """A run of a trial that has ended."""

    run_id: str
    exit_code: int
    commit: str
    """What it left; empty where that is nothing."""
    spend: TrialSpend
    timed_out: bool = False
    reason: str = ""
    """Why it is not green."""
    retries: int = 0
    """How often it was continued after its surroundings had failed it."""

    @property
    def is_unlucky(self) -> bool:
        """Return whether its surroundings failed it, so that continuing it may help."""
        return self.exit_code in _SURROUNDINGS - {_USAGE} and not self.timed_out


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class GradedWork:
    """What the hidden tests said of a commit."""

    resolved: bool
    regressed: bool | None
    """Whether what passed before fails; None where no such test is known."""
    could_run: bool = True
    """Whether the commands could be run at all."""
    detail: str = ""


@stored(StoredForm(tag="", optional=("retries",)))
@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What came of a trial."""

    task: str
    arm: str
    repeat: int
    verdict: TrialVerdict
    reason: str
    spend: TrialSpend
    charged: Mapping[str, float] = field(default_factory=dict)
    """What of the evaluation's budget it counts for: all of its share where its use is unknown."""
    runs: tuple[str, ...] = ()
    chosen: int = 0
    """Of several candidates, the one that was graded, counted from 1."""
    regressed: bool | None = None
    retries: int = 0
    """How often one of its runs was continued, or its tests were run again, after the surroundings had failed."""

    @property
    def key(self) -> TrialKey:
        return TrialKey(self.task, self.arm, self.repeat)


#: Exit codes of runs that failed for reasons of their surroundings.
_SURROUNDINGS = frozenset({1, 2, 6})
_LIMIT, _USAGE = 4, 2


def verdict_of(ran: RanCandidate, graded: GradedWork | None) -> tuple[TrialVerdict, str]:
    """Return a trial's verdict and why; `graded` is None where there was nothing to grade."""
    if graded is not None and graded.resolved:
        return TrialVerdict.RESOLVED, ""
    if ran.timed_out:
        return TrialVerdict.TIMED_OUT, "its time was over"
    if ran.exit_code == _LIMIT:
        return TrialVerdict.OVER_BUDGET, ran.reason
    if ran.exit_code in _SURROUNDINGS:
        return TrialVerdict.INFRASTRUCTURE, ran.reason or f"the run ended with exit code {ran.exit_code}"
    if graded is not None and not graded.could_run:
        return TrialVerdict.INFRASTRUCTURE, f"the hidden tests could not be run: {graded.detail}"
    if graded is None:
        return TrialVerdict.NOT_RESOLVED, ran.reason or "nothing was changed"
    return TrialVerdict.NOT_RESOLVED, graded.detail


def ordered_arms(arms: Sequence[Arm]) -> list[Arm]:
    """Return arms in the order in which a task's trials are made: who spends what another one spent comes last."""
    return sorted(arms, key=lambda arm: arm.kind is ArmKind.BEST)


def another_fits(team: TrialSpend, ran: Sequence[RanCandidate]) -> bool:
    """Return whether one more candidate fits into what the team spent, taking what they took so far on average.

    The first always does. It is counted in USD, or in tokens where a price is unknown.
    """
    spends = [candidate.spend for candidate in ran]
    if not spends:
        return True
    prices = [one.usd for one in spends if one.usd is not None]
    if team.usd and len(prices) == len(spends):
        return sum(prices) * (1 + 1 / len(prices)) <= team.usd
    tokens = sum(one.tokens for one in spends)
    return tokens * (1 + 1 / len(spends)) <= team.tokens


def left_of(share: Mapping[str, float], ran: Sequence[RanCandidate]) -> dict[str, float] | None:
    """Return what is left of a trial's share for one more run; None where that is nothing, or nobody knows."""
    left: dict[str, float] = {}
    for unit, amount in share.items():
        used = [candidate.spend.used().get(unit) for candidate in ran]
        known = [value for value in used if value is not None]
        if len(known) < len(used) or (left_amount := amount - sum(known)) <= 0:
            return None
        left[unit] = left_amount
    return left
