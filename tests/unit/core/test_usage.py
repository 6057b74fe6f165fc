"""Tokens, and the money that a gateway says it charges for them."""

from codexteam.core.budget_amounts import Price, Usage, amount_of

CHARGED = Usage(100, 0, 10, 0, 5_000_000)


def test_a_sum_of_charges_is_known_where_each_is() -> None:
    assert (CHARGED + CHARGED).charged_nano_usd == 10_000_000
    assert (Usage() + CHARGED).charged_nano_usd == 5_000_000
    assert (CHARGED + Usage(1, 0, 1, 0)).charged_nano_usd is None
    assert (Usage() + Usage()).charged_nano_usd is None


def test_a_budget_counts_what_is_charged_where_no_price_is_known() -> None:
    assert amount_of(CHARGED, None).nano_usd == 5_000_000
    assert amount_of(CHARGED, Price(input_credits=1, output_credits=1)).nano_usd == 5_000_000
    assert amount_of(CHARGED, Price(input_usd=0, output_usd=0)).nano_usd == 0
    assert amount_of(Usage(100, 0, 10, 0), None).nano_usd is None
