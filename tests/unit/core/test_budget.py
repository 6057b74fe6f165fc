from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codexteam.core.budget import BudgetLimits, Decision, Exhausted, Later, Ledger, Reservation, setup_limits
from codexteam.core.budget_amounts import (
    IMAGE_TOKENS,
    REQUEST_OVERHEAD_TOKENS,
    Amount,
    CreditRule,
    Price,
    Rate,
    Unit,
    Usage,
    amount_of,
    most_input_tokens,
)
from codexteam.core.budget_scope import BudgetScope
from codexteam.core.ids import AgentKey, CallKey, Purpose, RunId
from tests.examples import examples
from tests.support_ledger import held_tokens, left, spent

RUN = RunId("20261121-0231-7f3a")
PRICE = Price(input_usd=1.0, cached_input_usd=0.1, output_usd=10.0)


def call(task: str = "T1", role: str = "implementer", turn: int = 1) -> CallKey:
    return CallKey(AgentKey(RUN, role, Purpose.IMPLEMENT, task, 1), turn, Purpose.IMPLEMENT)


def ask(
    ledger: Ledger,
    key: CallKey | None = None,
    *,
    tokens: int = 1_000,
    output: int = 1_000,
    price: Price | None = None,
    hand_over: bool = False,
) -> Decision:
    return ledger.reserve(
        key or call(), "gpt-5.4", input_tokens=tokens, output_tokens=output, price=price, hand_over=hand_over
    )


def held(decision: Decision) -> Reservation:
    assert isinstance(decision, Reservation), decision
    return decision


def test_a_call_that_fits_is_reserved_with_its_whole_output() -> None:
    reservation = held(ask(Ledger(BudgetLimits(run_tokens=10_000))))
    assert reservation.output_tokens == 1_000
    assert reservation.amount.tokens == 2_000


def test_no_limit_never_refuses() -> None:
    ledger = Ledger(BudgetLimits())
    assert all(isinstance(ask(ledger, tokens=10**9), Reservation) for _ in range(100))


@pytest.mark.parametrize(
    "limits",
    [
        BudgetLimits(run_tokens=0),
        BudgetLimits(run_usd=0),
        BudgetLimits(task_tokens=0),
        BudgetLimits(role_tokens={"implementer": 0}),
    ],
)
def test_a_limit_of_nothing_allows_nothing_not_even_a_hand_over(limits: BudgetLimits) -> None:
    ledger = Ledger(limits)
    assert isinstance(ask(ledger, price=PRICE), Exhausted)
    assert isinstance(ask(ledger, price=PRICE, hand_over=True), Exhausted)


def test_an_unknown_price_is_not_free() -> None:
    decision = ask(Ledger(BudgetLimits(run_usd=100)))
    assert isinstance(decision, Exhausted)
    assert "price of gpt-5.4 in USD is unknown" in decision.message
    half = ask(Ledger(BudgetLimits(run_credits=5)), price=Price(input_credits=1.0))
    assert isinstance(half, Exhausted)
    assert "credits" in half.message


def test_an_unknown_price_matters_only_for_a_limit_in_that_unit() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000))
    ledger.settle(held(ask(ledger)), Usage(10, 0, 5, 0), None)
    assert spent(ledger, Unit.USD) == 0.0


def test_the_output_shrinks_to_what_is_left() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0))
    assert held(ask(ledger, tokens=4_000, output=32_000)).output_tokens == 6_000


def test_less_than_a_useful_output_is_refused() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0))
    decision = ask(ledger, tokens=9_000, output=32_000)
    assert isinstance(decision, Exhausted)
    assert decision.message == (
        "too little budget left for T1: one call needs up to 10.1k tokens, 10k tokens are free; "
        "the run spent 0 tokens of 10k tokens"
    )
    assert decision.budget_scope == BudgetScope("run", "", Unit.TOKENS, 0, 10_024, 10_000)


def test_what_is_only_reserved_makes_a_call_wait_and_not_fail() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000, wind_down_share=0))
    first = held(ask(ledger, tokens=4_000, output=4_000))
    assert isinstance(ask(ledger, tokens=4_000, output=4_000), Later)
    ledger.settle(first, Usage(100, 0, 100, 0), None)
    assert isinstance(ask(ledger, tokens=4_000, output=4_000), Reservation)


def test_the_wind_down_share_is_for_hand_overs_only() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=100_000, wind_down_share=0.1))
    ledger.settle(held(ask(ledger, tokens=80_000, output=9_000)), Usage(80_000, 0, 9_000, 0), None)
    assert isinstance(ask(ledger, tokens=1_000, output=4_000), Exhausted)
    assert held(ask(ledger, tokens=1_000, output=4_000, hand_over=True)).output_tokens == 4_000


def test_a_task_and_a_role_have_limits_of_their_own() -> None:
    ledger = Ledger(BudgetLimits(task_tokens=5_000, role_tokens={"reviewer": 3_000}, wind_down_share=0))
    ledger.settle(held(ask(ledger, tokens=3_000)), Usage(3_000, 0, 1_000, 0), None)
    refused = ask(ledger, tokens=3_000)
    assert isinstance(refused, Exhausted)
    assert "task T1" in refused.message
    assert isinstance(ask(ledger, call("T2"), tokens=3_000), Reservation)
    reviewer = ask(ledger, call("", "reviewer"), tokens=3_000)
    assert isinstance(reviewer, Exhausted)
    assert "role reviewer" in reviewer.message


def test_a_limit_in_money_counts_cached_input_for_less() -> None:
    ledger = Ledger(BudgetLimits(run_usd=1.0))
    ledger.settle(held(ask(ledger, price=PRICE)), Usage(1_000_000 - 1_000_000, 0, 0, 0), PRICE)
    reservation = held(ask(ledger, tokens=500_000, output=10_000, price=PRICE))
    ledger.settle(reservation, Usage(500_000, 400_000, 1_000, 500), PRICE)
    assert spent(ledger, Unit.USD) == pytest.approx(0.1 + 0.04 + 0.01)
    assert left(ledger, Unit.USD) == pytest.approx(0.85)


def test_a_missing_usage_counts_as_the_whole_reservation() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000))
    ledger.settle(held(ask(ledger)), None, None)
    assert spent(ledger) == 2_000
    assert left(ledger, Unit.TOKENS) == 8_000


def test_a_released_reservation_costs_nothing() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000))
    ledger.release(held(ask(ledger)))
    assert left(ledger, Unit.TOKENS) == 10_000
    assert spent(ledger) == 0


def test_a_reservation_is_settled_once() -> None:
    ledger = Ledger(BudgetLimits())
    reservation = held(ask(ledger))
    ledger.release(reservation)
    with pytest.raises(ValueError, match="twice"):
        ledger.settle(reservation, None, None)


def test_a_scope_warns_once_at_its_share() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000, task_tokens=5_000))
    assert ledger.settle(held(ask(ledger, tokens=3_000)), Usage(3_000, 0, 999, 0), None) == ()
    (task,) = ledger.settle(held(ask(ledger, tokens=100, output=100)), Usage(1, 0, 0, 0), None)
    assert (task.scope, task.unit, task.spent, task.limit) == ("task T1", Unit.TOKENS, 4_000, 5_000)
    assert ledger.settle(held(ask(ledger, tokens=100, output=100)), Usage(1, 0, 0, 0), None) == ()
    both = ledger.settle(held(ask(ledger, call("T2"), tokens=3_500)), Usage(3_500, 0, 500, 0), None)
    assert [warning.scope for warning in both] == ["the run", "task T2"]


def test_what_is_spent_counts_for_run_role_and_task() -> None:
    ledger = Ledger(BudgetLimits())
    usage = Usage(100, 60, 20, 5)
    ledger.settle(held(ask(ledger, call("T1"))), usage, PRICE)
    ledger.settle(held(ask(ledger, call("T2"))), usage, PRICE)
    ledger.settle(held(ask(ledger, call("", "reviewer"))), usage, PRICE)
    assert spent(ledger) == 360
    assert spent(ledger, kind="role", name="implementer") == 240
    assert [spent(ledger, kind="task", name=name) for name in ("T1", "T2")] == [120, 120]


def test_a_restored_ledger_counts_answers_and_calls_without_answer() -> None:
    ledger = Ledger(BudgetLimits(run_tokens=10_000))
    ledger.restore_answer(call(turn=1), "gpt-5.4", Usage(1_000, 0, 500, 0), Amount(4_000), None)
    ledger.restore_answer(call(turn=2), "gpt-5.4", None, Amount(2_000), None)
    ledger.restore_open(call(turn=3), Amount(3_000, None, None))
    assert left(ledger, Unit.TOKENS) == 3_500
    assert ledger.lost(call(turn=3)) == Amount(3_000, None, None)
    assert ledger.lost(call(turn=4)) == Amount()


def test_the_bound_on_input_starts_from_what_the_service_counted() -> None:
    assert most_input_tokens(1_000, 1) == 1_000 + IMAGE_TOKENS + REQUEST_OVERHEAD_TOKENS
    assert most_input_tokens(50, known_tokens=9_000) == 9_050 + REQUEST_OVERHEAD_TOKENS


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.floats(0, 1_000), st.floats(0, 1_000))
def test_a_smaller_usage_never_costs_more(fresh: int, output: int, per_input: float, per_output: float) -> None:
    price = Price(input_usd=per_input, output_usd=per_output)
    more = amount_of(Usage(input_tokens=fresh + 1, output_tokens=output + 1), price).nano_usd
    less = amount_of(Usage(input_tokens=fresh, output_tokens=output), price).nano_usd
    assert less is not None
    assert more is not None
    assert less <= more


@dataclass
class World:
    ledger: Ledger
    limits: BudgetLimits
    on_their_way: list[tuple[Reservation, int]] = field(default_factory=list)
    """With the input that was reserved."""

    def check(self) -> None:
        held = sum(reservation.amount.tokens for reservation, _ in self.on_their_way)
        assert held_tokens(self.ledger) == held
        if self.limits.run_tokens is not None:
            assert spent(self.ledger) + held <= self.limits.run_tokens
        if self.limits.run_usd is not None:
            held_usd = sum(reservation.amount.usd or 0.0 for reservation, _ in self.on_their_way)
            assert spent(self.ledger, Unit.USD) + held_usd <= self.limits.run_usd + 1e-9
        for name in [name for kind, name in self.ledger.accounts if kind == "task"]:
            tokens = spent(self.ledger, kind="task", name=name)
            assert self.limits.task_tokens is None or tokens <= self.limits.task_tokens
        for name, limit in self.limits.role_tokens.items():
            assert spent(self.ledger, kind="role", name=name) <= limit


maybe_tokens = st.none() | st.integers(0, 200_000)
steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "hand over", "settle", "settle unknown", "release"]),
        st.integers(0, 7),  # agent
        st.integers(0, 20_000),  # input tokens
        st.integers(1, 20_000),  # output tokens
        st.floats(0, 1),  # share of the reservation that is used
    ),
    max_size=120,
)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.builds(
        BudgetLimits,
        run_tokens=maybe_tokens,
        run_usd=st.none() | st.floats(0, 2),
        task_tokens=maybe_tokens,
        role_tokens=st.dictionaries(st.sampled_from(["implementer", "reviewer"]), st.integers(0, 100_000)),
        wind_down_share=st.floats(0, 0.5),
    ),
    steps,
)
def test_no_interleaving_of_calls_passes_a_limit(
    limits: BudgetLimits, todo: list[tuple[str, int, int, int, float]]
) -> None:
    world = World(Ledger(limits), limits)
    for turn, (what, agent, input_tokens, output_tokens, share) in enumerate(todo):
        if what in {"reserve", "hand over"}:
            key = call(f"T{agent % 3}" if agent % 4 else "", ("implementer", "reviewer")[agent % 2], turn)
            decision = ask(
                world.ledger,
                key,
                tokens=input_tokens,
                output=output_tokens,
                price=PRICE,
                hand_over=what == "hand over",
            )
            if isinstance(decision, Reservation):
                assert decision.output_tokens <= output_tokens
                world.on_their_way.append((decision, input_tokens))
            elif isinstance(decision, Later):
                assert world.on_their_way, "nobody would ever wake it"
        elif world.on_their_way:
            reservation, reserved_input = world.on_their_way.pop(agent % len(world.on_their_way))
            if what == "release":
                world.ledger.release(reservation)
            else:
                used = Usage(
                    input_tokens=int(reserved_input * share), output_tokens=int(reservation.output_tokens * share)
                )
                world.ledger.settle(reservation, used if what == "settle" else None, PRICE)
        world.check()


def test_what_a_gateway_charges_above_the_table_is_in_later_reservations() -> None:
    listed = Rate(input_usd=1.0, output_usd=10.0, listed=True, credit=CreditRule(tokens=None, usd=0.01))
    ledger = Ledger(BudgetLimits(run_usd=1.0))
    first = held(ask(ledger, price=listed))
    assert first.amount.nano_usd == 11_000_000
    ledger.settle(first, Usage(input_tokens=1_000, output_tokens=1_000, charged_nano_usd=22_000_000), listed)

    second = held(ask(ledger, price=listed))

    assert second.amount.nano_usd == 22_000_000
    assert second.amount.nano_credits == 2_200_000_000


def test_roles_and_tasks_have_limits_in_money_too() -> None:
    role = Ledger(BudgetLimits(role_usd={"reviewer": 0.01}))
    refused = ask(role, call(task="", role="reviewer"), price=PRICE)
    assert isinstance(refused, Exhausted)
    assert refused.budget_scope.scope == "role"
    assert isinstance(ask(role, call(), price=PRICE), Reservation)
    task = Ledger(BudgetLimits(task_credits=0.001))
    refused = ask(task, price=Rate(credit=CreditRule()))
    assert isinstance(refused, Exhausted)
    assert refused.budget_scope.scope == "task"
    assert refused.budget_scope.unit is Unit.CREDITS


def test_a_limit_of_a_role_in_money_needs_a_price_as_well() -> None:
    refused = ask(Ledger(BudgetLimits(role_usd={"implementer": 5.0})))
    assert isinstance(refused, Exhausted)
    assert "the price of gpt-5.4 in USD is unknown" in refused.message


def test_looking_for_a_set_up_has_a_budget_of_its_own() -> None:
    looking = CallKey(AgentKey(RUN, "ci_runner", Purpose.SETUP, "", 1), 1, Purpose.SETUP)
    judging = CallKey(AgentKey(RUN, "ci_runner", Purpose.CI, "", 1), 1, Purpose.CI)
    ledger = Ledger(BudgetLimits(run_tokens=100_000, wind_down_share=0))
    ledger.settle(held(ask(ledger, looking, tokens=5_000, output=4_000)), Usage(5_000, output_tokens=4_000), None)

    refused = ask(ledger, looking, tokens=5_000)

    assert isinstance(refused, Exhausted)
    assert (refused.budget_scope.scope, refused.budget_scope.limit) == ("setup", 10_000)
    assert "looking for a set-up spent 9k tokens of 10k tokens" in refused.message
    assert isinstance(ask(ledger, judging, tokens=5_000), Reservation), "the role's other agents have theirs"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (BudgetLimits(), {Unit.TOKENS: 1_000_000}),
        (BudgetLimits(run_tokens=50_000_000), {Unit.TOKENS: 1_000_000}),
        (BudgetLimits(run_tokens=200_000, setup_share=0.5), {Unit.TOKENS: 100_000}),
        (BudgetLimits(run_usd=5.0), {Unit.TOKENS: 1_000_000, Unit.USD: 500_000_000}),
        (BudgetLimits(run_usd=5.0, setup_usd=2.0, setup_tokens=0), {Unit.TOKENS: 0, Unit.USD: 2_000_000_000}),
    ],
)
def test_a_set_ups_budget_is_what_is_given_or_a_share(limits: BudgetLimits, expected: dict[Unit, int]) -> None:
    assert setup_limits(limits) == expected
