"""The ledger: what may be spent, what is set aside for calls on their way, and what was spent.

Pure and without waiting: `reserve` answers at once, and whoever got a `Later` asks again after something was settled.
A reservation is the most that its call can cost. The account of a scope (the run, a role, a task) never holds more in
reservations and spendings together than its limit, so spendings alone never do.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, TypeAlias

from codexteam.core.budget_amounts import (
    LEAST_OUTPUT_TOKENS,
    NANO,
    Amount,
    Price,
    Rate,
    Unit,
    Usage,
    amount_of,
    by_unit,
    human_amount,
    nano,
    short_amount,
)
from codexteam.core.budget_queue import BudgetQueue
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.budget_text import TaskBudget
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, TaskId
from codexteam.core.limits import COUNT, MONEY, PERCENT, SHARE, Between, OneOf, Revocable
from codexteam.core.plan_credits import AgentCredits

#: What an agent that looks for a set-up may use where nothing is limited: some forty turns.
SETUP_TOKENS: Final = 1_000_000

#: What follows when a task has used its own budget: a person is asked, the task fails, or it gets as much again.
ON_TASK_BUDGET: Final = ("ask", "fail", "extend")


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """`[codexteam.budget]`. None means no limit of that kind; 0 means that nothing may be spent."""

    run_usd: Annotated[float | None, MONEY, Revocable()] = None
    run_credits: Annotated[float | None, MONEY, Revocable()] = None
    run_tokens: Annotated[int | None, COUNT, Revocable()] = None
    run_5h_percent: Annotated[float | None, PERCENT, Revocable()] = None
    """The most of a plan's window that the run may use, of each anew (`core.plan_windows`)."""
    run_weekly_percent: Annotated[float | None, PERCENT, Revocable()] = None
    run_monthly_percent: Annotated[float | None, PERCENT, Revocable()] = None
    task_tokens: Annotated[int | None, COUNT, Revocable()] = None
    """The most one task may use over all its attempts, where plan.md says nothing of it."""
    task_usd: Annotated[float | None, MONEY, Revocable()] = None
    task_credits: Annotated[float | None, MONEY, Revocable()] = None
    role_tokens: Mapping[str, Annotated[int, COUNT]] = field(default_factory=dict)
    """Role name to the most that all its agents may use together."""
    role_usd: Mapping[str, Annotated[float, MONEY]] = field(default_factory=dict)
    role_credits: Mapping[str, Annotated[float, MONEY]] = field(default_factory=dict)
    setup_tokens: Annotated[int | None, COUNT, Revocable()] = None
    """The most that agents may use that look for a set-up; None is `SETUP_TOKENS`, or `setup_share` where that is less."""
    setup_usd: Annotated[float | None, MONEY, Revocable()] = None
    """None is `setup_share` of what the run has, as it is for credits."""
    setup_credits: Annotated[float | None, MONEY, Revocable()] = None
    setup_share: Annotated[float, SHARE] = 0.1
    """The part of the run's limits that looking for a set-up may take where no amount is given."""
    task_share: Annotated[float, SHARE] = 0.8
    """The part of the run's limits that the planner's tasks get, divided by effort; 0 gives them no share."""
    on_task_budget: Annotated[str, OneOf(ON_TASK_BUDGET)] = "ask"
    """What a task's reaching its own budget leads to."""
    credit: str | None = None
    """What a credit is, as `1k-tokens` or `0.01usd`; None is `1k-tokens`, or what the rates of the models say."""
    warn_share: Annotated[float, SHARE] = 0.8
    wind_down_share: Annotated[float, Between(0, 0.5)] = 0.05
    """The part of every limit that only hand-over calls may use: agents at work can hand over what they have."""

    @property
    def windows(self) -> dict[str, float]:
        """Return the percent that the run may use of a plan's windows, by window."""
        found = {
            "5h": self.run_5h_percent,
            "weekly": self.run_weekly_percent,
            "monthly": self.run_monthly_percent,
        }
        return {name: percent for name, percent in found.items() if percent is not None}


@dataclass(frozen=True, slots=True)
class Reservation:
    """Set aside for one call. `output_tokens` is what the call may answer: what was asked for, or what still fits."""

    id: int
    key: CallKey
    model: str
    output_tokens: int
    amount: Amount


@dataclass(frozen=True, slots=True)
class Later:
    """It does not fit now, and may once calls on their way are settled. Given only while there are such calls."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """It does not fit, and waiting will not help. `message` is for people."""

    message: str
    budget_scope: BudgetScope = field(default_factory=BudgetScope)


Decision: TypeAlias = Reservation | Later | Exhausted


@dataclass(frozen=True, slots=True)
class BudgetWarning:
    """A scope has used the share of its limit that a warning was asked at; said once for each scope and unit."""

    scope: str
    """`the run`, `role reviewer` or `task T3`."""
    unit: Unit
    spent: float
    limit: float


#: A scope: (kind, name), such as ("role", "reviewer"); an agent's use is only counted, the others have limits.
AccountName: TypeAlias = tuple[str, str]
_RUN: Final[AccountName] = ("run", "")
_SETUP: Final[AccountName] = ("setup", "")


@dataclass(slots=True)
class BudgetAccount:
    """What one scope may use, has used and holds for calls on their way: whole numbers, money in billionths."""

    limits: dict[Unit, int]
    spent: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(Unit, 0))
    held: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(Unit, 0))
    warned: set[Unit] = field(default_factory=set)


class Ledger:
    """The account of one run. Not for threads; any number of tasks of one event loop may use it, since it never waits.

    A restored ledger counts what the store has: `restore_answer` for every answered call, `restore_open` for every
    call that was sent and not answered, which counts as its reservation.
    """

    def __init__(self, limits: BudgetLimits) -> None:
        self.limits = limits
        self.accounts: dict[AccountName, BudgetAccount] = {}
        """By scope; to be read."""
        self._on_their_way: dict[int, Reservation] = {}
        self._lost: dict[CallKey, Amount] = {}
        self._markups: dict[str, float] = {}
        """Model to how much more a gateway charged for it than its price says, where it did."""
        self._credits: dict[AccountName, AgentCredits] = {}
        self._plan_ratios: dict[str, float] = {}
        """Role to the ratio of the agent of it that was last heard of."""
        self._last_id = 0
        self._task_budgets: dict[str, TaskBudget | None] = {}

    def limit_task(self, task_id: TaskId, budget: TaskBudget | None) -> None:
        """Take what the plan gives a task; what is spent stays spent."""
        self._task_budgets[task_id] = budget
        self._limit(self._account(("task", task_id)), task_limits(self.limits, budget))

    def limit_run(self, limits: BudgetLimits) -> None:
        """Take other limits of the run; what is spent stays spent, and shares of tasks are of the new limits."""
        self.limits = limits
        for (kind, name), account in self.accounts.items():
            of_task = task_limits(limits, self._task_budgets.get(name))
            self._limit(account, of_task if kind == "task" else _limits_of((kind, name), limits))

    def _limit(self, account: BudgetAccount, limits: dict[Unit, int]) -> None:
        account.limits = limits
        account.warned -= {unit for unit in account.warned if not self._is_short(account, unit)}

    def reserve(
        self,
        key: CallKey,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        price: Price | None,
        hand_over: bool = False,
    ) -> Decision:
        """Set aside the most that a call can cost, in the accounts of the run, its role and its task.

        `input_tokens` must be a bound (`most_input_tokens`). Where `output_tokens` do not fit a limit any more, what
        fits is reserved, as long as it is worth a call. A `hand_over` call may use the share that is kept back.
        """
        least = min(output_tokens, LEAST_OUTPUT_TOKENS)

        def bound(output: int) -> Amount:
            return self.bound(model, input_tokens, output, price, role=key.agent.role)

        full = bound(output_tokens)
        scopes = _limited_scopes(key.agent)
        unknown = self._unknown_price(scopes, model, full)
        if unknown is not None:
            return unknown
        if self._misfit(scopes, full, hand_over=hand_over, settled=False) is None:
            return self._hold(key, model, output_tokens, full)
        if self._misfit(scopes, full, hand_over=hand_over, settled=True) is None:
            return Later()
        fits = self._most_output(scopes, bound, least, output_tokens, hand_over=hand_over)
        if fits is not None:
            return self._hold(key, model, fits, bound(fits))
        shortest = bound(least)
        misfit = self._misfit(scopes, shortest, hand_over=hand_over, settled=True)
        if misfit is None:
            return Later()
        return self._exhausted(key.agent, *misfit, shortest, hand_over=hand_over)

    def settle(self, reservation: Reservation, usage: Usage | None, price: Price | None) -> tuple[BudgetWarning, ...]:
        """Turn a reservation into what was spent; with `usage` None that is the whole reservation.

        Gives the warnings that are due now.
        """
        self._let_go(reservation)
        spent = reservation.amount if usage is None else amount_of(usage, price)
        if usage is not None:
            self._learn_markup(reservation.model, usage, price)
        return self._spend(reservation.key.agent, spent)

    def release(self, reservation: Reservation) -> None:
        """Undo a reservation whose call was never answered and will not be billed."""
        self._let_go(reservation)

    def count_plan_credits(self, agent: AgentKey, nano_credits: int) -> tuple[BudgetWarning, ...]:
        """Count what its user's plan says that an agent took, where that is more than our own rates say.

        Gives the warnings that are due now.
        """
        known = self._credits.setdefault(_agent_scope(agent), AgentCredits())
        before = known.counted
        known.hear(nano_credits)
        self._plan_ratios[agent.role] = known.ratio
        return self._charge(agent, {Unit.CREDITS: known.counted - before})

    def restore_answer(
        self, key: CallKey, model: str, usage: Usage | None, assumed: Amount, price: Price | None
    ) -> None:
        """Count a call that was answered before a restart; `assumed` is what it counts for without a usage."""
        if usage is not None:
            self._learn_markup(model, usage, price)
        self._spend(key.agent, assumed if usage is None else amount_of(usage, price))

    def restore_open(self, key: CallKey, reserved: Amount) -> None:
        """Count a call that was sent before a restart and has no answer: it may have been billed."""
        self._spend(key.agent, reserved)
        self._lost[key] = self._lost.get(key, Amount()) + reserved

    def lost(self, key: CallKey) -> Amount:
        """Return what earlier, unanswered tries of a call count for; stored with its answer, so that it stays counted."""
        return self._lost.get(key, Amount())

    def note_lost(self, key: CallKey, amount: Amount) -> None:
        """Remember that a try of a call was settled without an answer and the call is made again."""
        self._lost[key] = self._lost.get(key, Amount()) + amount

    def is_shared(self, agent: AgentKey) -> bool:
        """Return whether agents have to share what this one may spend."""
        return bool(self._account(_RUN).limits or self._account(("role", agent.role)).limits)

    def leaves_enough(self, agent: AgentKey, full: Amount, queue: BudgetQueue) -> bool:
        """Return whether a call of this size leaves what the agents before are expected to need, in every shared limit."""
        before = queue.ahead(agent)
        amounts = by_unit(full)
        for scope in (_RUN, ("role", agent.role)):
            account = self._account(scope)
            among = [other for other in before if scope == _RUN or other.role == agent.role]
            for unit in account.limits:
                call = amounts[unit] or 0
                free = (self._usable(account, unit, hand_over=False) or 0) - account.spent[unit] - account.held[unit]
                for other in among:
                    own = self._account(_agent_scope(other))
                    free -= queue.expected(
                        other, unit, spent=self._work_took(other, unit), held=own.held[unit], call=call
                    )
                if free < call:
                    return False
        return True

    def need_words(self, agent: AgentKey, full: Amount) -> str:
        """Say what a call asks for, and what is free, in the shared limit that has the least room for it."""
        found: list[tuple[float, str]] = []
        for scope in (_RUN, ("role", agent.role)):
            account = self._account(scope)
            for unit in account.limits:
                call = by_unit(full)[unit] or 0
                usable = self._usable(account, unit, hand_over=False) or 0
                free = max(0, usable - account.spent[unit] - account.held[unit])
                words = f"one call needs up to {short_amount(unit, call, up=True)}, {short_amount(unit, free)} are free"
                if free >= call:
                    words += " and kept for what others have begun"
                found.append((free / max(1, call), words))
        return min(found)[1] if found else "calls on their way have to end first"

    def took(self, agent: AgentKey) -> dict[str, int]:
        """Return what an agent's work took: that of all attempts at its task, or what it took itself."""
        return {unit: self._work_took(agent, unit) for unit in Unit}

    def _work_took(self, agent: AgentKey, unit: Unit) -> int:
        return self._account(("task", agent.task_id) if agent.task_id else _agent_scope(agent)).spent[unit]

    def _hold(self, key: CallKey, model: str, output_tokens: int, amount: Amount) -> Reservation:
        self._last_id += 1
        reservation = Reservation(self._last_id, key, model, output_tokens, amount)
        self._on_their_way[reservation.id] = reservation
        for scope in _limited_scopes(key.agent):
            held = self._account(scope).held
            for unit, value in by_unit(amount).items():
                held[unit] += value or 0
        return reservation

    def _let_go(self, reservation: Reservation) -> None:
        if self._on_their_way.pop(reservation.id, None) is None:
            message = f"reservation {reservation.id} of {reservation.key.agent} was settled twice"
            raise ValueError(message)
        for scope in _limited_scopes(reservation.key.agent):
            held = self._account(scope).held
            for unit, value in by_unit(reservation.amount).items():
                held[unit] -= value or 0

    def _spend(self, agent: AgentKey, amount: Amount) -> tuple[BudgetWarning, ...]:
        known = self._credits.setdefault(_agent_scope(agent), AgentCredits())
        before = known.counted
        known.own += amount.nano_credits or 0
        spent = {unit: value or 0 for unit, value in by_unit(amount).items()}
        return self._charge(agent, spent | {Unit.CREDITS: known.counted - before})

    def _charge(self, agent: AgentKey, spent: Mapping[Unit, int]) -> tuple[BudgetWarning, ...]:
        warnings = []
        for scope in _limited_scopes(agent):
            account = self._account(scope)
            for unit, value in spent.items():
                account.spent[unit] += value
                limit = account.limits.get(unit)
                if limit is None or unit in account.warned or not self._is_short(account, unit):
                    continue
                account.warned.add(unit)
                now = human_amount(unit, account.spent[unit])
                warnings.append(BudgetWarning(_scope_text(scope), unit, now, human_amount(unit, limit)))
        return tuple(warnings)

    def _misfit(
        self, scopes: tuple[AccountName, ...], amount: Amount, *, hand_over: bool, settled: bool
    ) -> tuple[AccountName, Unit] | None:
        """Return the first limit that `amount` would pass; with `settled` as if all calls on their way cost nothing."""
        for scope in scopes:
            account = self._account(scope)
            for unit, value in by_unit(amount).items():
                limit = self._usable(account, unit, hand_over=hand_over)
                if limit is None or value is None:
                    continue
                taken = account.spent[unit] + (0 if settled else account.held[unit])
                if taken + value > limit:
                    return scope, unit
        return None

    def bound(
        self, model: str, input_tokens: int, output_tokens: int, price: Price | None, *, role: str = ""
    ) -> Amount:
        """Return the most that a call can cost: none of its input cached, and charged as gateway and plan charged before."""
        amount = amount_of(Usage(input_tokens=input_tokens, output_tokens=output_tokens), price)
        if amount.nano_credits is not None and (ratio := self._plan_ratios.get(role, 1.0)) > 1:
            amount = replace(amount, nano_credits=math.ceil(amount.nano_credits * ratio))
        markup = self._markups.get(model)
        if markup is None or amount.nano_usd is None:
            return amount
        credits_ = amount.nano_credits
        if credits_ is not None and isinstance(price, Rate) and price.credits_follow_usd:
            credits_ = math.ceil(credits_ * markup)
        return replace(amount, nano_usd=math.ceil(amount.nano_usd * markup), nano_credits=credits_)

    def _learn_markup(self, model: str, usage: Usage, price: Price | None) -> None:
        """Remember that a gateway charges more than the table that ships says: from then on, reservations hold it."""
        charged, listed = usage.charged_nano_usd, None if price is None else nano(price.usd(usage))
        if isinstance(price, Rate) and price.listed and charged and listed and charged > listed:
            self._markups[model] = max(self._markups.get(model, 1.0), charged / listed)

    def _most_output(
        self, scopes: tuple[AccountName, ...], bound: Callable[[int], Amount], least: int, most: int, *, hand_over: bool
    ) -> int | None:
        """Return the largest output limit that fits now, by bisection; None when not even `least` does."""

        def fits(output_tokens: int) -> bool:
            return self._misfit(scopes, bound(output_tokens), hand_over=hand_over, settled=False) is None

        if not fits(least):
            return None
        low, high = least, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _unknown_price(self, scopes: tuple[AccountName, ...], model: str, amount: Amount) -> Exhausted | None:
        for scope in scopes:
            for unit, value in by_unit(amount).items():
                if unit in self._account(scope).limits and value is None:
                    kind = "usd" if unit is Unit.USD else "credits"
                    return Exhausted(
                        f"{_scope_text(scope)} has a limit in {unit}, and the price of {model} in {unit} is unknown: set "
                        f"input_{kind} and output_{kind} in [codexteam.prices.{model!r}], or give the limit in tokens",
                        BudgetScope(*scope, unit),
                    )
        return None

    def _is_short(self, account: BudgetAccount, unit: Unit) -> bool:
        limit = account.limits.get(unit)
        return limit is not None and account.spent[unit] >= limit * self.limits.warn_share

    def _usable(self, account: BudgetAccount, unit: Unit, *, hand_over: bool) -> int | None:
        limit = account.limits.get(unit)
        if limit is None or hand_over:
            return limit
        return limit - int(limit * self.limits.wind_down_share)

    def _account(self, scope: AccountName) -> BudgetAccount:
        account = self.accounts.get(scope)
        if account is None:
            account = self.accounts[scope] = BudgetAccount(_limits_of(scope, self.limits))
        return account

    def _exhausted(
        self, agent: AgentKey, scope: AccountName, unit: Unit, shortest: Amount, *, hand_over: bool
    ) -> Exhausted:
        account = self._account(scope)
        limit, spent = account.limits[unit], account.spent[unit]
        call = by_unit(shortest)[unit] or 0
        share = 0.0 if hand_over else self.limits.wind_down_share
        needed = math.ceil((spent + call) / (1 - share)) if share < 1 else spent + call
        free = max(0, (self._usable(account, unit, hand_over=hand_over) or 0) - spent)
        kept = f", {share:.0%} of it kept for hand-overs" if share and limit else ""
        need = f"one call needs up to {short_amount(unit, call, up=True)}, {short_amount(unit, free)} are free"
        used = f"{_scope_text(scope)} spent {short_amount(unit, spent)} of {short_amount(unit, limit)}{kept}"
        message = f"too little budget left for {agent.task_id or agent.role}: {need}; {used}"
        budget_scope = BudgetScope(
            *scope, unit, human_amount(unit, spent), human_amount(unit, needed), human_amount(unit, limit)
        )
        return Exhausted(message, budget_scope)


def run_limits(limits: BudgetLimits) -> dict[Unit, int]:
    """Return the run's limits, as the ledger counts."""
    return _whole(limits.run_tokens, limits.run_usd, limits.run_credits)


def run_limit_amounts(limits: BudgetLimits) -> JSONObject:
    """Return the run's limits as people write them, by `tokens`, `usd` and `credits`; what has no limit is left out."""
    found = {"tokens": limits.run_tokens, "usd": limits.run_usd, "credits": limits.run_credits}
    return {unit: limit for unit, limit in found.items() if limit is not None}


def task_limits(limits: BudgetLimits, budget: TaskBudget | None) -> dict[Unit, int]:
    """Return one task's limits: what the plan says of it, and where that says no amount, what the settings say of all."""
    of_all = _whole(limits.task_tokens, limits.task_usd, limits.task_credits)
    of_run = run_limits(limits)
    found: dict[Unit, int] = {}
    for unit in Unit:
        own = None if budget is None else budget.limit(unit, of_run.get(unit))
        both = [own] if budget is not None and budget.says(unit) else [own, of_all.get(unit)]
        known = [limit for limit in both if limit is not None]
        if known:
            found[unit] = min(known)
    return found


def setup_limits(limits: BudgetLimits) -> dict[Unit, int]:
    """Return what agents that look for a set-up may use: amounts as they are given, else a share of the run's limits."""
    given = _whole(limits.setup_tokens, limits.setup_usd, limits.setup_credits)
    shares = {unit: int(limit * limits.setup_share) for unit, limit in run_limits(limits).items()}
    shares[Unit.TOKENS] = min(shares.get(Unit.TOKENS, SETUP_TOKENS), SETUP_TOKENS)
    return shares | given


def _limits_of(scope: AccountName, limits: BudgetLimits) -> dict[Unit, int]:
    kind, name = scope
    match kind:
        case "run":
            return run_limits(limits)
        case "role":
            return _whole(limits.role_tokens.get(name), limits.role_usd.get(name), limits.role_credits.get(name))
        case "task":
            return task_limits(limits, None)
        case "setup":
            return setup_limits(limits)
        case _:
            return {}


def _whole(tokens: int | None, usd: float | None, credits_: float | None) -> dict[Unit, int]:
    found = {
        Unit.TOKENS: tokens,
        Unit.USD: None if usd is None else int(usd * NANO),
        Unit.CREDITS: None if credits_ is None else int(credits_ * NANO),
    }
    return {unit: limit for unit, limit in found.items() if limit is not None}


def _limited_scopes(agent: AgentKey) -> tuple[AccountName, ...]:
    of_all = (_RUN, ("role", agent.role))
    if agent.task_id:
        return (*of_all, ("task", agent.task_id), _agent_scope(agent))
    if agent.purpose is Purpose.SETUP:
        return (*of_all, _SETUP, _agent_scope(agent))
    return (*of_all, _agent_scope(agent))


def _agent_scope(agent: AgentKey) -> AccountName:
    return ("agent", f"{agent} for {agent.purpose}")


def _scope_text(scope: AccountName) -> str:
    kind, name = scope
    match kind:
        case "run":
            return "the run"
        case "setup":
            return "looking for a set-up"
        case "agent":
            return name
        case _:
            return f"{kind} {name}"
