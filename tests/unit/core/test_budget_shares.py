"""One budget for several runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.budget_shares import BudgetShares, budget_word
from codexteam.core.budget_text import read_amount
from codexteam.core.plan_windows import read_window_share


@given(
    st.sampled_from(["usd", "tokens", "credits", "weekly_percent"]),
    st.floats(0, 1e6, allow_nan=False),
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
)
def test_runs_together_never_get_more_than_there_is(unit: str, total: float, used_shares: list[float]) -> None:
    shares = BudgetShares({unit: total}, len(used_shares))
    used = 0.0
    open_share = 0.0
    for number, part in enumerate(used_shares):
        share = shares.begin(str(number))[unit]
        if number % 2:
            shares.end(str(number), {unit: share * part})
            used += share * part
        else:
            open_share += share

        assert used + open_share + shares.left[unit] == pytest.approx(total, abs=1e-6)
        assert shares.left[unit] >= 0


def test_what_a_run_did_not_use_goes_to_the_runs_that_wait() -> None:
    shares = BudgetShares({"usd": 9.0}, 3)

    assert shares.begin("a") == {"usd": 3.0}
    assert shares.begin("b") == {"usd": 3.0}
    shares.end("a", {"usd": 1.0})
    shares.end("b", {"usd": None})

    assert shares.begin("c") == {"usd": 5.0}


def test_a_share_is_written_as_the_flag_takes_it() -> None:
    assert read_amount(budget_word("usd", 1.666666)) is not None
    assert budget_word("usd", 5.0) == "5usd"
    assert budget_word("tokens", 2_000_000.0) == "2000000tokens"
    assert read_window_share(budget_word("weekly_percent", 6.666)) is not None
    assert budget_word("5h_percent", 20.0) == "20%5h"
