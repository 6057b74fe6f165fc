"""Credits stand where money does."""

from codexteam.core.budget_amounts import NANO, Unit, short_amount
from codexteam.report.progress import Progress
from codexteam.report.rows import AgentRow
from codexteam.views.formatting import credit_count, credit_words, priced_words, worth


def test_a_number_of_credits_is_short_and_never_rounded_to_nothing() -> None:
    assert [credit_count(each) for each in (0.0123, 1.5, 99.96, 100.0, 12_345.6)] == [
        "0.0123",
        "1.5",
        "100",
        "100",
        "12,346",
    ]
    assert credit_words(3.0) == "3 credits"


def test_money_is_shown_without_credits_where_there_are_none() -> None:
    assert worth(2.0, 20.0) == "$2.00, 20 credits"
    assert worth(2.0, None) == "$2.00"
    assert worth(None, 20.0) == "price unknown, 20 credits"


def test_what_has_a_price_is_shown_beside_what_has_none() -> None:
    progress = Progress()
    assert priced_words(progress) == ""
    progress.agents["a"] = AgentRow("a", "implementer", "implement", "T1", 1, "m-1", 0.0, usd=0.5)
    assert priced_words(progress) == ""
    progress.agents["b"] = AgentRow("b", "explorer", "scout", "", 1, "m-2", 0.0, usd=None)
    assert priced_words(progress) == "$0.500 without m-2, whose price is unknown"
    del progress.agents["a"]
    assert priced_words(progress) == ""


def test_an_amount_of_money_has_as_many_digits_as_matter() -> None:
    said = [short_amount(Unit.CREDITS, round(each * NANO), up=True) for each in (0.00951, 0.67, 63.48529, 50.0)]
    assert said == ["0.0096 credits", "0.67 credits", "63.49 credits", "50 credits"]
    assert short_amount(Unit.USD, round(1.2399 * NANO)) == "$1.23"
