"""The way of many agents to one ledger: a call that does not fit yet waits until others are settled."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from codexteam.agent.call_record import open_amount, recorded
from codexteam.config.settings import BudgetSettings
from codexteam.core.budget import BudgetLimits, BudgetWarning, Exhausted, Later, Ledger, Reservation
from codexteam.core.ids import CallKey, RunId
from codexteam.core.usage import Price, Usage
from codexteam.ports.store import Store

#: The model of a call whose request died with the process.
UNKNOWN_MODEL = "(unanswered)"


def limits_of(settings: BudgetSettings) -> BudgetLimits:
    """Give the ledger's limits as they were configured."""
    return BudgetLimits(
        run_tokens=settings.run_tokens,
        run_usd=settings.run_usd,
        run_credits=settings.run_credits,
        task_tokens=settings.task_tokens,
        role_tokens=settings.role_tokens,
        warn_share=settings.warn_share,
        wind_down_share=settings.wind_down_share,
    )


async def restored_ledger(store: Store, run_id: RunId, limits: BudgetLimits, prices: Mapping[str, Price]) -> Ledger:
    """Give a run's ledger as its store has it; a call that was sent and not answered counts as what was noted of it."""
    ledger = Ledger(limits)
    for answer in await store.answers(run_id):
        record = recorded(answer.answer)
        if answer.usage is not None or record.counted.tokens:
            ledger.restore_answer(answer.key, record.model, answer.usage, record.counted, prices.get(record.model))
        if record.lost.tokens:
            ledger.restore_answer(answer.key, record.model, None, record.lost, None)
    for call in await store.open_calls(run_id):
        ledger.restore_open(call.key, UNKNOWN_MODEL, open_amount(call))
    return ledger


def _ignore(_warning: BudgetWarning) -> None:
    """Leave a warning unsaid."""


@dataclass(slots=True)
class BudgetGate:
    """One run's ledger and prices. For tasks of one event loop."""

    ledger: Ledger
    prices: Mapping[str, Price]
    warn: Callable[[BudgetWarning], None] = _ignore
    _waiting: list["asyncio.Future[None]"] = field(default_factory=list)

    async def reserve(
        self, key: CallKey, model: str, *, input_tokens: int, output_tokens: int, hand_over: bool = False
    ) -> Reservation | Exhausted:
        """Set aside the most that a call can cost; wait while only calls on their way stand against it."""
        while True:
            decision = self.ledger.reserve(
                key,
                model,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                price=self.prices.get(model),
                hand_over=hand_over,
            )
            if not isinstance(decision, Later):
                return decision
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled

    def refusal(self, key: CallKey, model: str, *, input_tokens: int, output_tokens: int) -> Exhausted | None:
        """Say why a call would be refused; None when it would be let through, now or later."""
        decision = self.ledger.reserve(
            key, model, input_tokens=input_tokens, output_tokens=output_tokens, price=self.prices.get(model)
        )
        if isinstance(decision, Reservation):
            self.ledger.release(decision)
        return decision if isinstance(decision, Exhausted) else None

    def settle(self, reservation: Reservation, usage: Usage | None) -> None:
        """Turn a reservation into what was spent; an unknown usage counts as all of it."""
        for warning in self.ledger.settle(reservation, usage, self.prices.get(reservation.model)):
            self.warn(warning)
        self._wake()

    def lose(self, reservation: Reservation) -> None:
        """Count a try that may have been billed and gave no answer; the call may be made again."""
        self.ledger.note_lost(reservation.key, reservation.amount)
        self.settle(reservation, None)

    def release(self, reservation: Reservation) -> None:
        """Undo a reservation whose call will not be billed."""
        self.ledger.release(reservation)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)
