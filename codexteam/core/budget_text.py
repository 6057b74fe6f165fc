"""Amounts as people write them: `5usd`, `2000k`, `300credits`, `25%`; for `--budget`, for plan.md, and for answers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from codexteam.core.budget_amounts import NANO, Unit
from codexteam.core.codec import StoredForm, stored

#: What an amount may look like.
AMOUNT_FORMS: Final = "5usd (dollars), 400k or 2m (tokens), 300credits"
#: What one task's budget may look like.
TASK_BUDGET_FORMS: Final = f"a share of the run's limits as 25%, or amounts as {AMOUNT_FORMS}"

_AMOUNT = re.compile(
    r"(?P<dollar>\$\s*)?(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*"
    r"(?:(?P<size>[km])?\s*(?P<tokens>tokens?)?|(?P<usd>usd|\$)|(?P<credits>credits?)|(?P<percent>%))$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class WrittenAmount:
    """A number and what it counts; without a unit it is a percentage."""

    number: float
    unit: Unit | None


def read_amount(text: str) -> WrittenAmount | None:
    """Read one amount; None where it is none."""
    found = _AMOUNT.match(text.strip())
    if found is None:
        return None
    number = float(found["number"])
    if found["dollar"] or found["usd"]:
        other = found["size"] or found["tokens"] or found["credits"] or found["percent"]
        return None if other else WrittenAmount(number, Unit.USD)
    if found["credits"]:
        return WrittenAmount(number, Unit.CREDITS)
    if found["percent"]:
        return WrittenAmount(number, None)
    if not found["size"] and not found["tokens"]:
        return None  # a bare number: of what, nobody said
    factor = {"k": 1_000, "m": 1_000_000}.get((found["size"] or "").lower(), 1)
    return WrittenAmount(float(round(number * factor)), Unit.TOKENS)


@stored(StoredForm(tag="", optional=("share_percent", "tokens", "usd", "credits")))
@dataclass(frozen=True, slots=True)
class TaskBudget:
    """What one task may use over all its attempts: a share of the run's limits, amounts, or both, each on its own."""

    share_percent: float | None = None
    tokens: int | None = None
    usd: float | None = None
    credits: float | None = None

    def limit(self, unit: Unit, run_limit: int | None) -> int | None:
        """Return the limit that this is in one unit, as the ledger counts; `run_limit` is that of the run."""
        own = {Unit.TOKENS: self.tokens, Unit.USD: self.usd, Unit.CREDITS: self.credits}[unit]
        if own is not None:
            return round(own) if unit is Unit.TOKENS else round(own * NANO)
        if self.share_percent is None or run_limit is None:
            return None
        return int(run_limit * min(self.share_percent, 100.0) / 100)

    def says(self, unit: Unit) -> bool:
        """Return whether an amount in this unit is said in so many words."""
        return {Unit.TOKENS: self.tokens, Unit.USD: self.usd, Unit.CREDITS: self.credits}[unit] is not None

    def with_amount(self, amount: WrittenAmount) -> "TaskBudget":
        """Return it with one amount said anew."""
        match amount.unit:
            case None:
                return replace(self, share_percent=round(amount.number, 1))
            case Unit.TOKENS:
                return replace(self, tokens=round(amount.number))
            case Unit.USD:
                return replace(self, usd=round(amount.number, 4))
            case Unit.CREDITS:
                return replace(self, credits=round(amount.number, 4))

    @property
    def words(self) -> str:
        """Return it as plan.md has it; `read_task_budget` reads it back as the same."""
        parts = []
        if self.share_percent is not None:
            parts.append(f"{_plain(self.share_percent)}%")
        if self.tokens is not None:
            thousands, rest = divmod(self.tokens, 1_000)
            parts.append(f"{thousands}k tokens" if thousands and not rest else f"{self.tokens} tokens")
        if self.usd is not None:
            parts.append(f"{_plain(self.usd)}usd")
        if self.credits is not None:
            parts.append(f"{_plain(self.credits)}credits")
        return ", ".join(parts)


def read_task_budget(text: str) -> TaskBudget:
    """Read what stands behind `budget:` in plan.md.

    Raises:
        ValueError: says what cannot be read.
    """
    budget = TaskBudget()
    for part in text.replace("`", "").split(","):
        amount = read_amount(part)
        if amount is None:
            raise ValueError(f"{part.strip()!r} is not a budget")
        if amount.unit is None and amount.number > 100:
            raise ValueError(f"{part.strip()!r} is more than all of the run's limits")
        before, budget = budget, budget.with_amount(amount)
        if before == budget or sum(map(_said, budget_values(before))) == sum(map(_said, budget_values(budget))):
            raise ValueError(f"{part.strip()!r} is a second amount of the same kind")
    return budget


def budget_values(budget: TaskBudget) -> tuple[float | None, ...]:
    """Return what is said in each kind."""
    return budget.share_percent, budget.tokens, budget.usd, budget.credits


def shared_out(efforts: Iterable[int], share: float) -> list[TaskBudget]:
    """Divide a part of the run's limits among tasks by their effort."""
    numbers = list(efforts)
    total = sum(numbers)
    return [TaskBudget(share_percent=max(0.1, int(1_000 * share * effort / total) / 10)) for effort in numbers]


def _said(value: float | None) -> int:
    return value is not None


def _plain(number: float) -> str:
    return f"{number:.4f}".rstrip("0").rstrip(".")
