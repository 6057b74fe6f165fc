"""The way of many agents to one ledger: a call that does not fit yet waits, and the first of them goes first."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from codexteam.core.budget import BudgetLimits, BudgetWarning, Decision, Exhausted, Later, Ledger, Reservation
from codexteam.core.budget_amounts import NANO, Amount, Prices, Usage, by_unit
from codexteam.core.budget_queue import BudgetQueue, Standing
from codexteam.core.budget_text import TaskBudget
from codexteam.core.ids import AgentKey, CallKey, RunId, TaskId
from codexteam.core.plan_credits import PlanCredits
from codexteam.core.plan_windows import PlanWindows
from codexteam.ports.store import OpenCall, Store


def open_amount(call: OpenCall) -> Amount:
    """Return what a call without an answer counts for."""
    return Amount(call.reserved_tokens, _billionths(call.reserved_usd), _billionths(call.reserved_credits))


def _billionths(money: float | None) -> int | None:
    # they were whole when they were stored: rounded up, a call would cost one more with every resume
    return None if money is None else round(money * NANO)


async def restored_ledger(store: Store, run_id: RunId, limits: BudgetLimits, prices: Prices) -> Ledger:
    """Return a run's ledger as its store has it; a call that was sent and not answered counts as what was noted of it."""
    ledger = Ledger(limits)
    for answer in await store.answers(run_id):
        record = answer.answer.made
        if answer.usage is not None or record.counted.tokens:
            ledger.restore_answer(answer.key, record.model, answer.usage, record.counted, prices.get(record.model))
        if record.lost.tokens:
            ledger.restore_answer(answer.key, record.model, None, record.lost, None)
    for call in await store.open_calls(run_id):
        ledger.restore_open(call.key, open_amount(call))
    return ledger


def _ignore(_warning: BudgetWarning) -> None:
    """Leave a warning unsaid."""


@contextmanager
def _no_pause() -> Iterator[None]:
    """Let nothing be different while a call waits."""
    yield


@dataclass(frozen=True, slots=True)
class Patience:
    """What happens around a call while it waits for budget."""

    paused: Callable[[], AbstractContextManager[None]] = _no_pause
    """Entered while it waits: time that passes meanwhile is not the agent's."""
    report: Callable[[str], None] = lambda _: None
    """Called with the reason for waiting, and with an empty text when the call proceeds."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A call as it was asked for."""

    key: CallKey
    model: str
    input_tokens: int
    output_tokens: int
    hand_over: bool


@dataclass(slots=True)
class Reservations:
    """One run's ledger, prices, and the agents that share it. For tasks of one event loop.

    A call waits while calls on their way stand against it, and while it would take what agents before it need
    (`core.budget_queue`). It is refused only when waiting cannot help. Once a limit has refused a task's call, agents
    that only judge are refused as well: no verdict ends the run while a task waits for budget.
    """

    ledger: Ledger
    prices: Prices
    warn: Callable[[BudgetWarning], None] = _ignore
    queue: BudgetQueue = field(default_factory=BudgetQueue)
    windows: PlanWindows = field(default_factory=PlanWindows)
    """Of the plan that agents on the user's Codex use."""
    plan_credits: PlanCredits = field(default_factory=PlanCredits)
    """What that plan counts in credits."""
    most_at_once: int = 1
    """How many of these agents may work at once while no window is nearly full."""
    _waiting: dict["asyncio.Future[None]", AgentKey] = field(default_factory=dict)
    _short: Exhausted | None = None
    """The refusal of a task's call."""

    @contextmanager
    def at_work(self, agent: AgentKey, standing: Standing) -> Iterator[None]:
        """Let an agent stand in the queue while the block runs."""
        self.queue.enter(agent, standing)
        try:
            yield
        finally:
            self.queue.leave(agent)
            self._wake()

    def learn(self, agent: AgentKey, effort: int) -> None:
        """Remember what work took that has ended well, so that others of its kind are judged by it."""
        self.queue.learn(agent.role, effort, self.ledger.took(agent))

    async def reserve(
        self,
        key: CallKey,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        hand_over: bool = False,
        patience: Patience | None = None,
    ) -> Reservation | Exhausted:
        """Set aside the most that a call can cost, waiting as long as that may help."""
        wanted = _Wanted(key, model, input_tokens, output_tokens, hand_over)
        decision = self._decide(wanted)
        if not isinstance(decision, Later):
            return decision
        patience = patience or Patience()
        patience.report(self._why_later(wanted))
        with patience.paused():
            while isinstance(decision, Later):
                await self._woken(key.agent)
                decision = self._decide(wanted)
        patience.report("")
        self._wake()  # there may be enough for the next one, too
        return decision

    async def refusal(self, key: CallKey, model: str, *, input_tokens: int, output_tokens: int) -> Exhausted | None:
        """Say why a call would be refused; None when it would be let through, now or later."""
        decision = self._decide(_Wanted(key, model, input_tokens, output_tokens, hand_over=False))
        if isinstance(decision, Reservation):
            self.ledger.release(decision)
        return decision if isinstance(decision, Exhausted) else None

    def settle(self, reservation: Reservation, usage: Usage | None) -> None:
        """Turn a reservation into what was spent; an unknown usage counts as all of it."""
        for warning in self.ledger.settle(reservation, usage, self.prices.get(reservation.model)):
            self.warn(warning)
        self._wake()

    def count_plan_credits(self, agent: AgentKey, nano_credits: int) -> None:
        """Count what the user's plan says that an agent took, where that is more than our own rates say."""
        for warning in self.ledger.count_plan_credits(agent, nano_credits):
            self.warn(warning)

    def lose(self, reservation: Reservation) -> None:
        """Count a try that may have been billed and gave no answer; the call may be made again."""
        self.ledger.note_lost(reservation.key, reservation.amount)
        self.settle(reservation, None)

    def release(self, reservation: Reservation) -> None:
        """Undo a reservation whose call will not be billed."""
        self.ledger.release(reservation)
        self._wake()

    def lost(self, key: CallKey) -> Amount:
        """Return what earlier, unanswered tries of a call count for."""
        return self.ledger.lost(key)

    def note_lost(self, key: CallKey, amount: Amount) -> None:
        """Remember that a try of a call was settled without an answer and the call is made again."""
        self.ledger.note_lost(key, amount)

    def look_again(self) -> None:
        """Let who waits ask again: the plan's windows have changed."""
        self._wake()

    def rank(self, task_id: TaskId, rank: tuple[int, ...]) -> None:
        """Let the agents of a task stand elsewhere, and let who waits ask again."""
        self.queue.rank(task_id, rank)
        self._wake()

    def limit_run(self, limits: BudgetLimits) -> None:
        """Take other limits of the run, and let who waits ask again."""
        self.ledger.limit_run(limits)
        self._short = None
        self._wake()

    def limit_task(self, task_id: TaskId, budget: TaskBudget | None) -> None:
        """Take another budget of a task, and let who waits ask again."""
        self.ledger.limit_task(task_id, budget)
        self._wake()

    def _decide(self, wanted: _Wanted) -> Decision:
        decision = self._fits_windows(wanted) or self._fits_ledger(wanted)
        if (
            isinstance(decision, Exhausted)
            and decision.budget_scope.scope != "task"
            and wanted.key.agent.work_task
            and not wanted.hand_over
        ):
            self._short = decision
        return decision

    def _fits_windows(self, wanted: _Wanted) -> Later | Exhausted | None:
        """Return why a call has to wait for the plan's windows, or is refused by the run's share of one; None: it fits."""
        agent, windows = wanted.key.agent, self.windows
        if agent.role not in windows.roles:
            return None
        if (scope := windows.spent(hand_over=wanted.hand_over)) is not None:
            return Exhausted(
                f"too little budget left for {agent.task_id or agent.role}: the run used {scope.spent:g} % of the plan's "
                f"{scope.window} window, and may use {scope.limit:g} %",
                scope,
            )
        before = sum(other.role in windows.roles for other in self.queue.ahead(agent))
        return Later() if before >= windows.width(self.most_at_once) and not wanted.hand_over else None

    def _fits_ledger(self, wanted: _Wanted) -> Decision:
        agent = wanted.key.agent
        if self._short is not None and not agent.task_id and not wanted.hand_over:
            return replace(self._short, message=f"{agent.role} waits until there is budget for the tasks")
        full = self._full(wanted)
        first = True
        if self.ledger.is_shared(agent) and not wanted.hand_over:
            self.queue.note_call(agent, {unit: amount or 0 for unit, amount in by_unit(full).items()})
            first = not self.queue.ahead(agent)
            if not first and not self.ledger.leaves_enough(agent, full, self.queue):
                return Later()
        return self.ledger.reserve(
            wanted.key,
            wanted.model,
            input_tokens=wanted.input_tokens,
            output_tokens=wanted.output_tokens,
            price=self.prices.get(wanted.model),
            hand_over=wanted.hand_over,
        )

    def _full(self, wanted: _Wanted) -> Amount:
        price = self.prices.get(wanted.model)
        role = wanted.key.agent.role
        return self.ledger.bound(wanted.model, wanted.input_tokens, wanted.output_tokens, price, role=role)

    def _why_later(self, wanted: _Wanted) -> str:
        if self._fits_windows(wanted) is not None:
            width = self.windows.width(self.most_at_once)
            return f"waits for agents before it, {width} at once: {self.windows.words()}"
        return f"waits for budget: {self.ledger.need_words(wanted.key.agent, self._full(wanted))}"

    async def _woken(self, agent: AgentKey) -> None:
        """Wait until it is worth asking again."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = agent
        try:
            await woken
        except asyncio.CancelledError:
            self._waiting.pop(woken, None)
            self._wake()  # it may have been this one's turn
            raise

    def _wake(self) -> None:
        """Let the first one that waits ask again; if it gets what it asks for, it wakes the next."""
        waiting = [(self.queue.place(agent), woken) for woken, agent in self._waiting.items() if not woken.done()]
        if waiting:
            _, first = min(waiting, key=lambda each: each[0])
            del self._waiting[first]
            first.set_result(None)
