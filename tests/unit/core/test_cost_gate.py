"""The gate on cost: a limit that was passed is named, and so is one that nothing can be said of."""

from codexteam.core.budget_amounts import NANO, Unit, over_limits

LIMITS = {Unit.USD: 5 * NANO, Unit.TOKENS: 2_000_000}


def test_what_stays_within_its_limits_passes() -> None:
    assert over_limits(LIMITS, {Unit.USD: 5 * NANO, Unit.TOKENS: 1, Unit.CREDITS: None}) == ""
    assert over_limits({}, {Unit.USD: 5 * NANO}) == ""


def test_each_limit_that_was_passed_is_named() -> None:
    said = over_limits(LIMITS, {Unit.USD: 5 * NANO + 1, Unit.TOKENS: 2_500_000})
    assert said == "$5.01 spent, $5 allowed; 2.5M tokens spent, 2M tokens allowed"


def test_what_is_unknown_has_not_passed() -> None:
    assert over_limits(LIMITS, {Unit.USD: None, Unit.TOKENS: 1}) == "what was spent is unknown, $5 allowed"
