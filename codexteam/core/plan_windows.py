"""What a run may use of a plan's windows: `20%weekly`, `50%5h`.

A plan with usage limits counts by windows that fill and reset, and its service says only how far each one is filled, in
whole percent, by everybody who uses the account. The run's share is what a window filled by while the run was at work:
use of the same account elsewhere at that time counts as the run's, never the other way round. A limit is for each window
anew: after a reset the run may use its share again.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from codexteam.core.budget_scope import BudgetScope
from codexteam.core.codec import StoredForm, stored

#: The windows that a budget may be a share of, by their length in minutes.
WINDOW_MINUTES: Final[Mapping[str, int]] = {"5h": 300, "weekly": 10_080, "monthly": 43_200}
#: Services round: a month has 28 to 31 days.
_LENGTH_TOLERANCE: Final = 0.08
#: From here on fewer agents work at once, down to one where nothing is left.
NARROW_PERCENT: Final = 80.0
#: A reset that is later than the known one by more than this is that of another window.
_SAME_RESET_SECONDS: Final = 300.0
_SHARE = re.compile(r"(?P<number>[0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%\s*(?:of\s+)?(?P<window>[^\s%].*)$")


@dataclass(frozen=True, slots=True)
class WindowShare:
    """A share of a window as it was written."""

    percent: float
    window: str


def read_window_share(text: str) -> WindowShare | None:
    """Read `20%weekly`; None where it is not a share. Whether there is such a window is not looked at."""
    found = _SHARE.match(text.strip())
    return None if found is None else WindowShare(float(found["number"]), found["window"].strip().lower())


def window_name(minutes: int | None) -> str:
    """Return what a window of this length is called."""
    if minutes is None:
        return "limit"
    known = (name for name, length in WINDOW_MINUTES.items() if abs(minutes - length) <= length * _LENGTH_TOLERANCE)
    return next(known, f"{minutes} min")


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """How far a plan's window is used up, as the account's service says."""

    name: str
    """`5h`, `weekly`, `monthly`, or its length in minutes."""
    used_percent: float
    resets_at_seconds: float | None = None
    """Since the epoch."""


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class WindowUse:
    """A window as it was last read, and how much of it the run used."""

    run_percent: float = 0.0
    used_percent: float = 0.0
    resets_at_seconds: float | None = None

    def after(self, read: UsageWindow, *, at_work: bool) -> "WindowUse":
        """Return it as it is now; what it filled by is the run's where the run was `at_work` since it was read before."""
        if self._is_another(read):
            return WindowUse(read.used_percent if at_work else 0.0, read.used_percent, read.resets_at_seconds)
        filled = max(read.used_percent - self.used_percent, 0.0) if at_work else 0.0
        used = max(read.used_percent, self.used_percent)
        return WindowUse(self.run_percent + filled, used, read.resets_at_seconds or self.resets_at_seconds)

    def _is_another(self, read: UsageWindow) -> bool:
        if self.resets_at_seconds is None or read.resets_at_seconds is None:
            return read.used_percent < self.used_percent
        return self.used_percent > 0 and read.resets_at_seconds > self.resets_at_seconds + _SAME_RESET_SECONDS


@dataclass(slots=True)
class PlanWindows:
    """The plan's windows in one session of a run. For tasks of one event loop: it never waits."""

    limits: Mapping[str, float] = field(default_factory=dict)
    """Window to the percent of it that the run may use."""
    roles: frozenset[str] = frozenset()
    """Those whose agents use the plan."""
    kept_share: float = 0.0
    """The part of each limit that only hand-over calls may use."""
    uses: dict[str, WindowUse] = field(default_factory=dict)
    """As earlier sessions left them, and since."""
    _read: set[str] = field(default_factory=set)

    def take(self, windows: Iterable[UsageWindow]) -> bool:
        """Take what was read; return whether it says anything new. The first reading is what was used before."""
        before = dict(self.uses)
        for window in windows:
            known = self.uses.get(window.name)
            if known is None:
                self.uses[window.name] = WindowUse(0.0, window.used_percent, window.resets_at_seconds)
            else:
                self.uses[window.name] = known.after(window, at_work=window.name in self._read)
            self._read.add(window.name)
        return self.uses != before

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the windows that have a limit, and of which the service says nothing."""
        return tuple(name for name in self.limits if name not in self._read)

    def spent(self, *, hand_over: bool = False) -> BudgetScope | None:
        """Return the limit that is used up; None where there is room. With several, the one that resets last."""
        kept = 0.0 if hand_over else self.kept_share
        found = [
            self._scope(name)
            for name, limit in self.limits.items()
            if self.uses.get(name, WindowUse()).run_percent >= limit * (1 - kept)
        ]
        return max(found, key=lambda scope: scope.resets_at_seconds or math.inf, default=None)

    def width(self, most: int) -> int:
        """Return how many agents may use the plan at once: fewer from 80 % of a window, or of the run's share of one, on."""
        shares = [use.used_percent for use in self.uses.values()]
        shares += [
            100 * self.uses[name].run_percent / limit
            for name, limit in self.limits.items()
            if limit and name in self.uses
        ]
        fullest = max(shares, default=0.0)
        if fullest < NARROW_PERCENT:
            return most
        return max(1, math.ceil(most * (100.0 - fullest) / (100.0 - NARROW_PERCENT)))

    def words(self) -> str:
        """Say how far each window is used up."""
        return "; ".join(self._words(name, use) for name, use in self.uses.items())

    def _words(self, name: str, use: WindowUse) -> str:
        limit = f" of {self.limits[name]:g} %" if name in self.limits else ""
        return f"{name} window: {use.used_percent:g} % used, {use.run_percent:g} %{limit} by this run"

    def _scope(self, name: str) -> BudgetScope:
        use, limit = self.uses.get(name, WindowUse()), self.limits[name]
        # half as much again, and no less than what one call may fill a window by
        more = min(100.0, math.ceil(max(limit * 1.5, use.run_percent + 5.0)))
        return BudgetScope(
            spent=use.run_percent,
            needed=more if more > limit else 0.0,
            limit=limit,
            window=name,
            resets_at_seconds=use.resets_at_seconds,
        )


def window_budget_words(limits: Mapping[str, float]) -> list[str]:
    """Return the limits as people write them."""
    return [f"{percent:g} % of the {name} window" for name, percent in limits.items()]
