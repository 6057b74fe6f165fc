"""What a limit lacks for the next call: how much it would have to be, and what to type for it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codexteam.core.budget_amounts import NANO, Unit, short_amount


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """The limit that does not hold a call."""

    scope: str = "run"
    """Whose limit it is: `run`, `role`, `task`, or `setup` of agents that look for a set-up."""
    name: str = ""
    """The role or the task."""
    unit: Unit = Unit.TOKENS
    spent: float = 0.0
    needed: float = 0.0
    """The least that the limit would have to be; 0 where a higher one does not help."""
    limit: float = 0.0
    """What it is; 0 in what older versions stored."""
    window: str = ""
    """The plan's window that the limit is a share of, such as `weekly`; the amounts are then percent of it."""
    resets_at_seconds: float | None = None
    """When that window resets, since the epoch, where that is known."""


def joined(shortages: Iterable[BudgetScope], *, merged: int = 0, left: int = 0) -> tuple[BudgetScope, ...]:
    """Return what each limit would have to be for all calls that it refused.

    A limit of the run is to hold what the tasks that are `left` will take, too, judged by those that are `merged`.
    """
    most: dict[tuple[str, str, str], BudgetScope] = {}
    for each in shortages:
        name = each.name if each.scope == "role" else ""
        share = each.spent / merged * left if merged and each.scope == "run" and not each.window else 0.0
        needed = max(each.needed, each.spent + share) if each.needed else 0.0
        key = each.scope, name, each.window or each.unit.value
        known = most.get(key)
        if needed and (known is None or known.needed < needed):
            most[key] = BudgetScope(each.scope, name, each.unit, each.spent, needed, window=each.window)
    return tuple(most.values())


def need_words(shortages: Sequence[BudgetScope]) -> str:
    """Say what the limits would have to be; empty where higher ones do not help."""
    words = []
    for each in shortages:
        if each.window:
            words.append(f"the run needs more than its share of the {each.window} window, or waits until that resets")
            continue
        known = {"run": "the run needs", "task": "a task needs", "setup": "looking for a set-up needs"}
        whose = known.get(each.scope, f"the role {each.name} needs")
        amount = _rounded(each)
        exact = int(amount if each.unit is Unit.TOKENS else round(amount * NANO))
        words.append(f"{whose} a budget of at least {short_amount(each.unit, exact, up=True)}")
    return ", ".join(words)


def resume_command(shortages: Sequence[BudgetScope]) -> str:
    """Return the command that continues with a sufficient budget."""
    return " ".join(["codexteam resume", *(option(each) for each in shortages)])


def option(budget_scope: BudgetScope) -> str:
    """Return what makes a limit hold the call that it refused, on a command line."""
    if budget_scope.window:
        return f"--budget {budget_scope.needed:g}%{budget_scope.window}"
    amount = _rounded(budget_scope)
    unit, form = budget_scope.unit.value.lower(), ".0f" if budget_scope.unit is Unit.TOKENS else "g"
    match budget_scope.scope, budget_scope.unit:
        case "role", _:
            return f"-c codexteam.budget.role_{unit}.{budget_scope.name}={amount:{form}}"
        case "setup", _:
            return f"-c codexteam.budget.setup_{unit}={amount:{form}}"
        case "task", _:
            return f"-c codexteam.budget.task_{unit}={amount:{form}}"
        case _, Unit.TOKENS:
            return f"--budget {amount / 1_000:.0f}k"
        case _, Unit.USD:
            return f"--budget {amount:g}usd"
        case _:
            return f"--budget {amount:g}credits"


def _rounded(budget_scope: BudgetScope) -> float:
    """Return a number that people type, never too small: two digits of it, thousands of tokens, cents."""
    step = 1_000.0 if budget_scope.unit is Unit.TOKENS else 0.01
    if budget_scope.needed > step * 100:
        step = max(step, 10.0 ** (math.floor(math.log10(budget_scope.needed)) - 1))
    return round(math.ceil(round(budget_scope.needed / step, 6)) * step, 2)
