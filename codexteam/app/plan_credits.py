"""What the user's plan counts in credits during a run: reported, kept from session to session, and held against budgets."""

import asyncio
from collections.abc import Callable, Mapping, Set

from codexteam.agent.reservations import Reservations
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import NANO
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import AgentKey, JSONObject, RunId
from codexteam.core.plan_credits import MICRO, CreditsReading, ThreadCredits
from codexteam.ports.store import Store
from codexteam.system.cancellation import to_its_end

_UNREPORTED = (
    "your Codex has not reported so far what this run uses of your plan in credits: until it does, limits in credits hold "
    "by the prices that `codexteam doctor` shows"
)


class CreditReadings:
    """The plan's count in one session."""

    def __init__(
        self, store: Store, run_id: RunId, report: Callable[[str, JSONObject], None], reservations: Reservations
    ) -> None:
        """Take where the count is kept, whom people hear of it from, and the budget that it counts against."""
        self._credits = reservations.plan_credits
        self._store = store
        self._space = f"{run_id}/plan_credits"
        self._report = report
        self._reservations = reservations
        self._is_limited = _limits_credits(reservations.ledger.limits)
        self._is_noticed = False
        self._saving: set[asyncio.Task[None]] = set()

    async def restore(self) -> Mapping[str, AgentKey]:
        """Take what earlier sessions kept; return their threads."""
        for thread_id, known in await self._store.list(self._space):
            self._credits.threads[thread_id] = decode(ThreadCredits, known, f"thread {thread_id} of {self._space}")
        self._count({each.agent for each in self._credits.threads.values()})
        return {thread_id: each.agent for thread_id, each in self._credits.threads.items()}

    def take(self, reading: CreditsReading) -> None:
        """Take what was read, report it, keep it and count it."""
        before = self._credits.words()
        changed = self._credits.take(reading)
        self._count(changed)
        for thread_id in reading.threads if changed else ():
            saving = asyncio.create_task(self._save(thread_id, self._credits.threads[thread_id]))
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)
        if self._is_limited and not self._is_noticed and reading.threads and self._credits.used is None:
            self._is_noticed = True
            self._report("notice", {"text": _UNREPORTED})
        if (words := self._credits.words()) == before:
            return
        balance = self._credits.balance
        counted: JSONObject = {"credits": self._credits.used, "usd": self._credits.usd}
        counted["words"] = f"credits of your plan: {words}"
        left: JSONObject = {"left": balance.left, "unlimited": balance.unlimited} if balance else {}
        self._report("credits.read", {**counted, **left})

    def _count(self, agents: Set[AgentKey]) -> None:
        for agent in sorted(agents):
            if (micro := self._credits.micro_credits(agent)) is not None:
                self._reservations.count_plan_credits(agent, micro * (NANO // MICRO))

    async def _save(self, thread_id: str, known: ThreadCredits) -> None:
        await self._store.put(self._space, thread_id, encode_object(known))

    async def close(self) -> None:
        """Wait until all is kept."""
        await to_its_end(self._all_saved())

    async def _all_saved(self) -> None:
        for saving in list(self._saving):
            await saving


def _limits_credits(limits: BudgetLimits) -> bool:
    return limits.run_credits is not None or limits.task_credits is not None or bool(limits.role_credits)
