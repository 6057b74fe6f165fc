"""What the plan's count leads to in a session: a fact, a stored count, and what the budget holds."""

from codexteam.agent.reservations import Reservations
from codexteam.app.plan_credits import CreditReadings
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.budget_amounts import Amount, Rate, Unit, Usage
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.core.plan_credits import CreditBalance, CreditsReading, ThreadCredits
from tests.fakes.memory_store import MemoryStore
from tests.support_ledger import left

RUN = RunId("20261121-0231-7f3a")
AGENT = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)


class Session:
    """A session in which one agent took ten credits by our own rates."""

    def __init__(self, store: MemoryStore, limits: BudgetLimits | None = None) -> None:
        ledger = Ledger(limits or BudgetLimits(run_credits=100))
        rate = Rate(input_credits=1_000.0, output_credits=1_000.0)
        ledger.restore_answer(CallKey(AGENT, 1, AGENT.purpose), "m", Usage(input_tokens=10_000), Amount(), rate)
        self.ledger = ledger
        self.facts: list[tuple[str, JSONObject]] = []
        self.warned: list[object] = []
        reservations = Reservations(ledger, {}, self.warned.append)
        self.readings = CreditReadings(store, RUN, lambda kind, fields: self.facts.append((kind, fields)), reservations)


def read(micro: int | None) -> CreditsReading:
    return CreditsReading({"a": ThreadCredits(AGENT, micro)})


async def test_a_count_is_told_counted_and_kept() -> None:
    store = MemoryStore()
    session = Session(store)
    session.readings.take(CreditsReading(balance=CreditBalance(500.0)))
    session.readings.take(read(90_000_000))
    await session.readings.close()
    assert left(session.ledger, Unit.CREDITS) == 10
    assert len(session.warned) == 1
    assert session.facts[-1] == (
        "credits.read",
        {
            "credits": 90.0,
            "usd": None,
            "words": "credits of your plan: 90 used by this run, 500 credits left",
            "left": 500.0,
            "unlimited": False,
        },
    )
    later = Session(store)
    assert await later.readings.restore() == {"a": AGENT}
    assert left(later.ledger, Unit.CREDITS) == 10


async def test_what_says_nothing_new_is_not_told() -> None:
    session = Session(MemoryStore())
    session.readings.take(read(2_000_000))
    session.readings.take(read(2_000_000))
    session.readings.take(read(None))
    await session.readings.close()
    assert [kind for kind, _ in session.facts] == ["credits.read"]
    assert left(session.ledger, Unit.CREDITS) == 90


async def test_a_budget_in_credits_says_that_nothing_is_reported() -> None:
    session = Session(MemoryStore())
    session.readings.take(read(None))
    session.readings.take(read(None))
    await session.readings.close()
    notices = [fields for kind, fields in session.facts if kind == "notice"]
    assert len(notices) == 1
    assert "has not reported so far" in str(notices[0]["text"])


async def test_without_a_budget_in_credits_no_notice_is_needed() -> None:
    session = Session(MemoryStore(), BudgetLimits(run_tokens=1_000))
    session.readings.take(read(None))
    await session.readings.close()
    assert [kind for kind, _ in session.facts] == ["credits.read"]
