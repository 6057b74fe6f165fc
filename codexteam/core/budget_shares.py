"""One budget for several runs: what each may use, so that together they never use more."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Places behind the point in which a share is written; it is rounded down, as the shares together are no more than the whole.
_PLACES = {"tokens": 0, "usd": 6, "credits": 6}
_PERCENT_PLACES = 3


@dataclass(slots=True)
class BudgetShares:
    """Hands a budget out; what a run gives back goes to those that have not begun."""

    left: dict[str, float]
    """Unit (`usd`, `tokens`, `credits`, `weekly_percent`, ...) to what nobody has."""
    waiting: int
    """Runs that have not begun."""
    _given: dict[str, Mapping[str, float]] = field(default_factory=dict)

    def begin(self, run: str) -> Mapping[str, float]:
        """Return what a run may use: an equal part of what is left."""
        share = {unit: _rounded(unit, amount / max(1, self.waiting)) for unit, amount in self.left.items()}
        self.left = {unit: amount - share[unit] for unit, amount in self.left.items()}
        self.waiting -= 1
        self._given[run] = share
        return share

    def hold(self, run: str, share: Mapping[str, float]) -> None:
        """Note what a run was given before, by another process; it is in `left` no more."""
        self._given[run] = share

    def end(self, run: str, used: Mapping[str, float | None]) -> None:
        """Take back what a run did not use; of a unit whose use is unknown nothing comes back."""
        for unit, share in self._given.pop(run).items():
            spent = used.get(unit)
            if spent is not None:
                self.left[unit] += max(0.0, share - spent)


def _rounded(unit: str, amount: float) -> float:
    factor = 10.0 ** _PLACES.get(unit, _PERCENT_PLACES)
    return math.floor(amount * factor) / factor


def budget_word(unit: str, amount: float) -> str:
    """Return an amount as `--budget` takes it."""
    window = unit.removesuffix("_percent")
    number = f"{amount:.{_PLACES.get(unit, _PERCENT_PLACES)}f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number}{unit}" if window == unit else f"{number}%{window}"
