"""The ledger: what may be spent, what is set aside for calls on their way, and what was spent.

Pure and without waiting: `reserve` answers at once, and whoever got a `Later` asks again after something was settled.
A reservation is the most that its call can cost. The account of a scope (the run, a role, a task) never holds more in
reservations and spendings together than its limit, so spendings alone never do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from codexteam.core.budget_amounts import LEAST_OUTPUT_TOKENS, NANO, Amount, amount_of
from codexteam.core.ids import AgentKey, CallKey
from codexteam.core.usage import Price, Usage


class Unit(StrEnum):
    """What a limit counts."""

    TOKENS = "tokens"
    USD = "USD"
    CREDITS = "credits"


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The limits of a run. None is no limit of that kind; 0 means that nothing may be spent."""

    run_tokens: int | None = None
    run_usd: float | None = None
    run_credits: float | None = None
    task_tokens: int | None = None
    """The most one task may use over all its attempts."""
    role_tokens: Mapping[str, int] = field(default_factory=dict)
    """Role name to the most that all its agents may use together."""
    warn_share: float = 0.8
    wind_down_share: float = 0.05
    """The part of every limit that only hand-over calls may use."""


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
    kind: str = "run"
    """Whose limit it is: `run`, `role`, `task`, or `agent` for the share that one agent was given."""


Decision: TypeAlias = Reservation | Later | Exhausted


@dataclass(frozen=True, slots=True)
class BudgetWarning:
    """A scope has used the share of its limit that a warning was asked at; said once for each scope and unit."""

    scope: str
    """`the run`, `role reviewer` or `task T3`."""
    unit: Unit
    spent: float
    limit: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What was spent under one heading."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    """As the services counted it."""
    assumed_tokens: int = 0
    """Counted as spent for calls whose usage nobody knows: their reservations."""
    unknown_usage_calls: int = 0
    usd: float = 0.0
    """Of the calls with a known price."""
    credits: float = 0.0
    unpriced_usd_calls: int = 0
    """Calls that `usd` does not hold, since their price is unknown."""
    unpriced_credits_calls: int = 0

    @property
    def tokens(self) -> int:
        """All tokens that count against a limit."""
        return self.usage.total_tokens + self.assumed_tokens


#: A scope: (kind, name), such as ("role", "reviewer"); kinds with limits are run, role, task and agent.
Scope: TypeAlias = tuple[str, str]
_RUN: Final[Scope] = ("run", "")


@dataclass(slots=True)
class _Account:
    """Whole numbers, money in billionths."""

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
        self._accounts: dict[Scope, _Account] = {}
        self._tallies: dict[Scope, Tally] = {}
        self._on_their_way: dict[int, Reservation] = {}
        self._lost: dict[CallKey, Amount] = {}
        self._last_id = 0

    def grant(self, agent: AgentKey, share: float) -> None:
        """Let an agent use no more than this share of what is left of the run's limits, beyond what it has used."""
        account = self._account(_agent_scope(agent))
        account.limits.clear()
        run = self._account(_RUN)
        for unit, limit in run.limits.items():
            left = max(0, limit - run.spent[unit] - run.held[unit])
            if share < 1:
                account.limits[unit] = account.spent[unit] + account.held[unit] + int(left * share)

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
        full_usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        unknown = self._unknown_price(model, amount_of(full_usage, price))
        if unknown is not None:
            return unknown
        scopes = _limited_scopes(key.agent)
        if self._misfit(scopes, amount_of(full_usage, price), hand_over=hand_over, settled=False) is None:
            return self._hold(key, model, output_tokens, amount_of(full_usage, price))
        if self._misfit(scopes, amount_of(full_usage, price), hand_over=hand_over, settled=True) is None:
            return Later()
        fits = self._most_output(scopes, input_tokens, least, output_tokens, price, hand_over=hand_over)
        if fits is not None:
            shorter = replace(full_usage, output_tokens=fits)
            return self._hold(key, model, fits, amount_of(shorter, price))
        shortest = amount_of(replace(full_usage, output_tokens=least), price)
        misfit = self._misfit(scopes, shortest, hand_over=hand_over, settled=True)
        if misfit is None:
            return Later()
        return Exhausted(self._explain(*misfit, hand_over=hand_over), misfit[0][0])

    def settle(self, reservation: Reservation, usage: Usage | None, price: Price | None) -> tuple[BudgetWarning, ...]:
        """Turn a reservation into what was spent; with `usage` None that is the whole reservation.

        Gives the warnings that are due now.
        """
        self._let_go(reservation)
        spent = reservation.amount if usage is None else amount_of(usage, price)
        return self._spend(reservation.key, reservation.model, usage, spent)

    def release(self, reservation: Reservation) -> None:
        """Undo a reservation whose call was never answered and will not be billed."""
        self._let_go(reservation)

    def restore_answer(
        self, key: CallKey, model: str, usage: Usage | None, assumed: Amount, price: Price | None
    ) -> None:
        """Count a call that was answered before a restart; `assumed` is what it counts for without a usage."""
        self._spend(key, model, usage, assumed if usage is None else amount_of(usage, price))

    def restore_open(self, key: CallKey, model: str, reserved: Amount) -> None:
        """Count a call that was sent before a restart and has no answer: it may have been billed."""
        self._spend(key, model, None, reserved)
        self._lost[key] = self._lost.get(key, Amount()) + reserved

    def lost(self, key: CallKey) -> Amount:
        """Give what earlier, unanswered tries of a call count for; stored with its answer, so that it stays counted."""
        return self._lost.get(key, Amount())

    def note_lost(self, key: CallKey, amount: Amount) -> None:
        """Remember that a try of a call was settled without an answer and the call is made again."""
        self._lost[key] = self._lost.get(key, Amount()) + amount

    def tally(self, kind: str, name: str = "") -> Tally:
        """Give what was spent under a heading: `run`, or `role`, `task`, `model` with a name."""
        return self._tallies.get((kind, name), Tally())

    def tallies(self, kind: str) -> dict[str, Tally]:
        """Give what was spent for every name of a kind, by name."""
        return {name: tally for (of_kind, name), tally in sorted(self._tallies.items()) if of_kind == kind}

    def held_tokens(self) -> int:
        """Give the tokens that are set aside for calls on their way."""
        return sum(reservation.amount.tokens for reservation in self._on_their_way.values())

    def left(self, unit: Unit) -> float | None:
        """Give what is left of the run's limit, reservations taken off; None when there is no limit."""
        account = self._account(_RUN)
        limit = account.limits.get(unit)
        if limit is None:
            return None
        return _human(unit, max(0, limit - account.spent[unit] - account.held[unit]))

    def _hold(self, key: CallKey, model: str, output_tokens: int, amount: Amount) -> Reservation:
        self._last_id += 1
        reservation = Reservation(self._last_id, key, model, output_tokens, amount)
        self._on_their_way[reservation.id] = reservation
        for scope in _limited_scopes(key.agent):
            held = self._account(scope).held
            for unit, value in _by_unit(amount).items():
                held[unit] += value or 0
        return reservation

    def _let_go(self, reservation: Reservation) -> None:
        if self._on_their_way.pop(reservation.id, None) is None:
            message = f"reservation {reservation.id} of {reservation.key.agent} was settled twice"
            raise ValueError(message)
        for scope in _limited_scopes(reservation.key.agent):
            held = self._account(scope).held
            for unit, value in _by_unit(reservation.amount).items():
                held[unit] -= value or 0

    def _spend(self, key: CallKey, model: str, usage: Usage | None, amount: Amount) -> tuple[BudgetWarning, ...]:
        warnings = []
        for scope in _limited_scopes(key.agent):
            account = self._account(scope)
            for unit, value in _by_unit(amount).items():
                account.spent[unit] += value or 0
                limit = None if scope[0] == "agent" else account.limits.get(unit)
                if limit is None or unit in account.warned or account.spent[unit] < limit * self.limits.warn_share:
                    continue
                account.warned.add(unit)
                spent = _human(unit, account.spent[unit])
                warnings.append(BudgetWarning(_scope_text(scope), unit, spent, _human(unit, limit)))
        for heading in (*_headings(key.agent), ("model", model)):
            self._tallies[heading] = _added(self._tallies.get(heading, Tally()), usage, amount)
        return tuple(warnings)

    def _misfit(
        self, scopes: tuple[Scope, ...], amount: Amount, *, hand_over: bool, settled: bool
    ) -> tuple[Scope, Unit] | None:
        """Give the first limit that `amount` would pass; with `settled` as if all calls on their way cost nothing."""
        for scope in scopes:
            account = self._account(scope)
            for unit, value in _by_unit(amount).items():
                limit = self._usable(account, unit, hand_over=hand_over)
                if limit is None or value is None:
                    continue
                taken = account.spent[unit] + (0 if settled else account.held[unit])
                if taken + value > limit:
                    return scope, unit
        return None

    def _most_output(
        self,
        scopes: tuple[Scope, ...],
        input_tokens: int,
        least: int,
        most: int,
        price: Price | None,
        *,
        hand_over: bool,
    ) -> int | None:
        """Give the largest output limit that fits now, by bisection; None when not even `least` does."""

        def fits(output_tokens: int) -> bool:
            amount = amount_of(Usage(input_tokens=input_tokens, output_tokens=output_tokens), price)
            return self._misfit(scopes, amount, hand_over=hand_over, settled=False) is None

        if not fits(least):
            return None
        low, high = least, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _unknown_price(self, model: str, amount: Amount) -> Exhausted | None:
        limits = self._account(_RUN).limits
        for unit, value in _by_unit(amount).items():
            if unit in limits and value is None:
                kind = "usd" if unit is Unit.USD else "credits"
                return Exhausted(
                    f"the run has a limit in {unit}, and the price of {model} in {unit} is unknown: set input_{kind} "
                    f"and output_{kind} in [codexteam.prices.{model!r}], or give the limit in tokens"
                )
        return None

    def _usable(self, account: _Account, unit: Unit, *, hand_over: bool) -> int | None:
        limit = account.limits.get(unit)
        if limit is None or hand_over:
            return limit
        return limit - int(limit * self.limits.wind_down_share)

    def _account(self, scope: Scope) -> _Account:
        account = self._accounts.get(scope)
        if account is None:
            account = self._accounts[scope] = _Account(_limits_of(scope, self.limits))
        return account

    def _explain(self, scope: Scope, unit: Unit, *, hand_over: bool) -> str:
        account = self._account(scope)
        limit = account.limits[unit]
        kept = "" if hand_over or not limit else f" ({self.limits.wind_down_share:.0%} of it kept for hand-overs)"
        return (
            f"the budget of {_scope_text(scope)} does not hold another call: {_number(unit, account.spent[unit])} of "
            f"{_number(unit, limit)} {unit} spent{kept}"
        )


def _limits_of(scope: Scope, limits: BudgetLimits) -> dict[Unit, int]:
    kind, name = scope
    match kind:
        case "run":
            found = {
                Unit.TOKENS: limits.run_tokens,
                Unit.USD: None if limits.run_usd is None else int(limits.run_usd * NANO),
                Unit.CREDITS: None if limits.run_credits is None else int(limits.run_credits * NANO),
            }
        case "role":
            found = {Unit.TOKENS: limits.role_tokens.get(name)}
        case "task":
            found = {Unit.TOKENS: limits.task_tokens}
        case _:
            # an agent has a limit only when it was granted a share
            found = {}
    return {unit: limit for unit, limit in found.items() if limit is not None}


def _limited_scopes(agent: AgentKey) -> tuple[Scope, ...]:
    return (*_headings(agent), _agent_scope(agent))


def _headings(agent: AgentKey) -> tuple[Scope, ...]:
    if agent.task_id:
        return (_RUN, ("role", agent.role), ("task", agent.task_id))
    return (_RUN, ("role", agent.role))


def _agent_scope(agent: AgentKey) -> Scope:
    return ("agent", f"{agent} for {agent.purpose}")


def _by_unit(amount: Amount) -> dict[Unit, int | None]:
    return {Unit.TOKENS: amount.tokens, Unit.USD: amount.nano_usd, Unit.CREDITS: amount.nano_credits}


def _added(tally: Tally, usage: Usage | None, amount: Amount) -> Tally:
    return Tally(
        calls=tally.calls + 1,
        usage=tally.usage if usage is None else tally.usage + usage,
        assumed_tokens=tally.assumed_tokens + (amount.tokens if usage is None else 0),
        unknown_usage_calls=tally.unknown_usage_calls + (usage is None),
        usd=tally.usd + (amount.usd or 0.0),
        credits=tally.credits + (amount.credits or 0.0),
        unpriced_usd_calls=tally.unpriced_usd_calls + (amount.nano_usd is None),
        unpriced_credits_calls=tally.unpriced_credits_calls + (amount.nano_credits is None),
    )


def _human(unit: Unit, value: int) -> float:
    return float(value) if unit is Unit.TOKENS else value / NANO


def _number(unit: Unit, value: int) -> str:
    return f"{value:,}" if unit is Unit.TOKENS else f"{value / NANO:,.4f}".rstrip("0").rstrip(".")


def _scope_text(scope: Scope) -> str:
    kind, name = scope
    return "the run" if kind == "run" else name if kind == "agent" else f"{kind} {name}"
