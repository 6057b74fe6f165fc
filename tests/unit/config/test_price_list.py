"""Whose price counts, what a model's name may look like, and what is said of a price that nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.config.price_list import PriceList, not_listed_because, shipped_prices
from codexteam.config.settings import ModelSettings
from codexteam.core.budget_amounts import CreditRule, Price, Usage, amount_of, usd_of

USAGE = Usage(input_tokens=100_000, cached_input_tokens=40_000, output_tokens=2_000, reasoning_tokens=1_500)


def prices(own: dict[str, Price] | None = None, credit: CreditRule | None = None, *unlisted: str) -> PriceList:
    return PriceList(own or {}, credit, frozenset(unlisted))


@pytest.mark.parametrize(
    "name", ["gpt-5.5", "GPT-5.5", "gpt-5.5-2026-04-23", "openai/gpt-5.5", "azure/gpt-5.5", "gpt-5.5-20260423"]
)
def test_a_known_model_is_found_by_its_other_names(name: str) -> None:
    assert shipped_prices().find(name) == shipped_prices().models["gpt-5.5"][1]


@pytest.mark.parametrize(
    "name", ["gpt-5.5-ours", "somebody/gpt-5.5", "gpt-5.5:fast", "my-model", "", "anthropic/gpt-5.5"]
)
def test_a_name_that_only_looks_like_one_has_no_price(name: str) -> None:
    assert shipped_prices().find(name) is None
    rate = prices().get(name)
    assert usd_of(USAGE, rate) is None
    assert amount_of(USAGE, rate).nano_usd is None, "unknown is not 0"
    assert prices().origin(name) == ""


def test_the_users_own_price_wins() -> None:
    own = prices({"gpt-5.5": Price(input_usd=1.0, output_usd=1.0)})
    assert own.get("gpt-5.5").usd(USAGE) == pytest.approx(0.102)
    assert own.origin("gpt-5.5") == '[codexteam.prices."gpt-5.5"]'
    assert prices().origin("gpt-5.5") == shipped_prices().words
    charged = Usage(input_tokens=100_000, output_tokens=2_000, charged_nano_usd=7)
    assert usd_of(charged, own.get("gpt-5.5")) == pytest.approx(0.102), "before what a gateway says that it charges"


def test_what_a_gateway_charges_counts_before_the_table() -> None:
    charged = Usage(input_tokens=100_000, output_tokens=2_000, charged_nano_usd=250_000_000)
    assert usd_of(charged, prices().get("gpt-5.5")) == 0.25


def test_credit_rates_alone_do_not_hide_the_price_in_dollars() -> None:
    rate = prices({"gpt-5.5": Price(input_credits=1.0, output_credits=2.0)}).get("gpt-5.5")
    assert rate.input_usd == 5.0
    assert rate.credits(USAGE) == pytest.approx(0.104)


def test_cached_input_and_long_context_cost_what_the_table_says() -> None:
    rate = prices().get("gpt-5.5")
    assert rate.usd(USAGE) == pytest.approx((60_000 * 5 + 40_000 * 0.5 + 2_000 * 30) / 1e6)
    assert rate.long_above_tokens == 272_000
    assert rate.usd(Usage(input_tokens=272_000)) == pytest.approx(1.36)
    assert rate.usd(Usage(input_tokens=272_001)) == pytest.approx(2.72001), "all of it, not what is above"


@given(st.sampled_from(sorted(shipped_prices().models)), st.integers(0, 400_000), st.integers(0, 400_000))
def test_more_input_and_less_of_it_cached_never_cost_less(model: str, one: int, other: int) -> None:
    price = shipped_prices().models[model][1]
    less, more = sorted((one, other))
    bound = price.usd(Usage(input_tokens=more, output_tokens=10))
    seen = price.usd(Usage(input_tokens=less, cached_input_tokens=less // 2, output_tokens=9))
    assert bound is not None
    assert seen is not None
    assert seen <= bound + 1e-9


def test_a_credit_is_tokens_or_money() -> None:
    assert prices(credit=CreditRule()).get("my-model").credits(USAGE) == 102
    assert prices(credit=CreditRule.read("2k-tokens")).get("my-model").credits(USAGE) == 51
    in_usd = prices(credit=CreditRule.read("0.01usd"))
    assert in_usd.get("gpt-5.5").credits(USAGE) == pytest.approx(38.0)
    assert in_usd.get("my-model").credits(USAGE) is None, "without a price it is unknown"
    rated = prices({"gpt-5.5": Price(input_credits=10.0, output_credits=10.0)}, CreditRule())
    assert rated.get("gpt-5.5").credits(USAGE) == pytest.approx(1.02), "a model's own rates count first"


@pytest.mark.parametrize("text", ["", "1", "5eur", "-1usd", "0usd", "0k-tokens", "1kusd", "usd", "0.5tokens", "1e3usd"])
def test_a_credit_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        CreditRule.read(text)


def test_a_model_served_here_or_at_a_dearer_tier_is_not_listed() -> None:
    assert not_listed_because(ModelSettings("ollama", "gpt-5.5")) == "ollama serves it on this machine"
    assert "'priority'" in not_listed_because(ModelSettings("openai", "gpt-5.5", service_tier="priority"))
    assert not_listed_because(ModelSettings("openai", "gpt-5.5", service_tier="flex")) == ""
    assert prices({}, None, "gpt-5.5").get("gpt-5.5").input_usd is None


def test_a_credit_of_a_plan_is_a_part_of_a_known_price() -> None:
    of_plan = PriceList({}, CreditRule(), frozenset({"gpt-5.4"}), frozenset({"gpt-5.5", "gpt-5.4", "my-model"}))
    a_million = Usage(input_tokens=1_000_000 // 4, output_tokens=1_000_000 // 4)
    assert of_plan.get("gpt-5.5").credits(a_million) == pytest.approx((125 + 750) / 4), "as OpenAI's rate card says"
    assert of_plan.get("gpt-5.4").credits(a_million) == 500, "no price is known for its tier"
    assert of_plan.get("my-model").credits(a_million) == 500
    assert of_plan.get("gpt-5.4-mini").credits(a_million) == 500, "an agent of ours asks it"
