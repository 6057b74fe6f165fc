"""What a plan counts in credits, how it stands beside our own rates, and what of it a budget holds."""

import pytest

from codexteam.core.budget import BudgetLimits, Exhausted, Ledger, Reservation
from codexteam.core.budget_amounts import NANO, Amount, Rate, Unit, Usage
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId
from codexteam.core.plan_credits import AgentCredits, CreditBalance, CreditsReading, PlanCredits, ThreadCredits
from tests.support_ledger import left, spent

RUN = RunId("20261121-0231-7f3a")
ONE = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T1", 1)
OTHER = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, "T2", 1)
#: 1,000 tokens, in or out, take one credit.
RATE = Rate(input_credits=1_000.0, output_credits=1_000.0)


def read(thread: str, micro: int | None, agent: AgentKey = ONE) -> CreditsReading:
    return CreditsReading({thread: ThreadCredits(agent, micro)})


def worked(ledger: Ledger, agent: AgentKey = ONE, *, tokens: int = 10_000, turn: int = 1) -> None:
    """Let an agent make a call whose input is that long."""
    key = CallKey(agent, turn, agent.purpose)
    ledger.restore_answer(key, "m", Usage(input_tokens=tokens), Amount(), RATE)


def asked(ledger: Ledger, agent: AgentKey = ONE, *, tokens: int = 8_976) -> Reservation | Exhausted:
    """Ask for a call that may take up to `tokens` and 1,024 of output."""
    key = CallKey(agent, 9, agent.purpose)
    decision = ledger.reserve(key, "m", input_tokens=tokens, output_tokens=1_024, price=RATE)
    assert isinstance(decision, Reservation | Exhausted)
    return decision


def limited(credits_: float) -> Ledger:
    return Ledger(BudgetLimits(run_credits=credits_, wind_down_share=0.0))


def test_the_count_of_all_threads_is_the_runs() -> None:
    plan = PlanCredits()
    assert plan.words() == ""
    assert plan.take(read("a", 1_500_000)) == {ONE}
    assert plan.take(read("b", 2_000_000)) == {ONE}
    assert plan.take(read("c", 500_000, OTHER)) == {OTHER}
    assert plan.micro_credits(ONE) == 3_500_000
    assert plan.used == 4.0
    assert plan.words() == "4 used by this run"


def test_a_count_that_is_behind_takes_nothing_back() -> None:
    plan = PlanCredits()
    plan.take(read("a", 1_500_000))
    assert plan.take(read("a", 1_000_000)) == frozenset()
    assert plan.take(read("a", None)) == frozenset()
    assert plan.used == 1.5


def test_what_a_plan_does_not_report_is_said() -> None:
    plan = PlanCredits()
    plan.take(read("a", None))
    plan.take(CreditsReading(balance=CreditBalance(1_234.5)))
    assert plan.used is None
    assert plan.words() == "what this run uses is not reported, 1,234.5 credits left"


def test_dollars_and_unlimited_credits_are_said() -> None:
    plan = PlanCredits(balance=CreditBalance(unlimited=True))
    plan.take(CreditsReading({"a": ThreadCredits(ONE, 1_000_000, 40_000)}))
    assert plan.words() == "1 used by this run ($0.04), unlimited credits"


def test_a_count_is_stored_with_its_agent() -> None:
    known = ThreadCredits(ONE, 7, None)
    assert decode(ThreadCredits, encode_object(known), "here") == known


@pytest.mark.parametrize(
    ("own", "plan", "since", "counted"),
    [
        (10, 0, 5, 15),  # not reported
        (10, 4, 5, 15),  # less than our own rates say
        (10, 10, 5, 15),
        (10, 30, 0, 30),  # more
        (10, 30, 5, 45),  # what comes after counts at the same ratio
        (0, 30, 5, 30),
    ],
)
def test_the_larger_of_both_counts(own: int, plan: int, since: int, counted: int) -> None:
    known = AgentCredits(own=own)
    known.hear(plan)
    known.own += since
    assert known.counted == counted


def test_a_ratio_is_as_last_heard_and_no_count_falls_below_the_plans() -> None:
    known = AgentCredits(own=10)
    known.hear(30)
    known.own = 40
    known.hear(30)
    assert known.counted == 120, "the same count says nothing of what was done since"
    known.hear(60)
    assert known.counted == 60


def test_a_budget_in_credits_holds_by_the_plans_count_where_that_is_more() -> None:
    ledger = limited(40)
    worked(ledger)
    assert isinstance(asked(ledger), Reservation)
    ledger.count_plan_credits(ONE, 35 * NANO)
    refused = asked(ledger)
    assert isinstance(refused, Exhausted)
    assert refused.budget_scope.spent == 35
    assert refused.budget_scope.needed == 70, "its next call may take 10 credits, at 3.5 times our own rates"


def test_a_budget_in_credits_holds_by_our_own_rates_where_those_are_more() -> None:
    ledger = limited(15)
    worked(ledger)
    ledger.count_plan_credits(ONE, 1 * NANO)
    refused = asked(ledger)
    assert isinstance(refused, Exhausted)
    assert refused.budget_scope.spent == 10


def test_agents_of_no_plan_count_by_our_own_rates_beside_others() -> None:
    ledger = limited(100)
    worked(ledger)
    worked(ledger, OTHER)
    ledger.count_plan_credits(ONE, 30 * NANO)
    worked(ledger, OTHER, turn=2)
    worked(ledger, turn=2)
    assert left(ledger, Unit.CREDITS) == 100 - 60 - 20


def test_a_warning_comes_when_the_plans_count_is_near_the_limit() -> None:
    ledger = limited(40)
    worked(ledger)
    (warning,) = ledger.count_plan_credits(ONE, 35 * NANO)
    assert (warning.scope, warning.spent, warning.limit) == ("the run", 35, 40)
    assert ledger.count_plan_credits(ONE, 36 * NANO) == ()


def test_tokens_and_money_are_not_touched_by_a_plans_count() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=50_000))
    worked(ledger)
    before = spent(ledger, Unit.USD)
    ledger.count_plan_credits(ONE, 35 * NANO)
    assert left(ledger, Unit.TOKENS) == 40_000
    assert spent(ledger, Unit.USD) == before
