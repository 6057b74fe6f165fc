"""Prices of models: the user's own, else those of the shipped, dated table.

`prices.json` is written by `tools/make_prices.py`. It has what the makers of models ask at their standard tier. A model that
neither names has no price, which is said wherever money is shown, and is never 0.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from codexteam.config.settings import ModelSettings, Settings
from codexteam.config.team import roles_on_codex
from codexteam.core.budget_amounts import CreditRule, Price, Rate
from codexteam.core.ids import JSONObject

_TABLE: Final = Path(__file__).with_name("prices.json")

#: What stands before a maker's model where somebody else passes the request on.
_PREFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("anthropic/",),
    "deepseek": ("deepseek/",),
    "google": ("google/", "gemini/", "vertex_ai/"),
    "minimax": ("minimax/",),
    "mistral": ("mistral/", "mistralai/"),
    "moonshotai": ("moonshotai/", "moonshot/"),
    "openai": ("openai/", "azure/"),
    "x-ai": ("x-ai/", "xai/"),
    "zai": ("z-ai/", "zai/"),
}
#: The date at the end of a snapshot's name: `gpt-5.5-2026-04-23`, `claude-opus-5-20260201`.
_SNAPSHOT = re.compile(r"-(?:20\d{2}-\d{2}-\d{2}|20\d{6})$")
#: Providers that serve models on this machine: what they cost there, no table knows.
_LOCAL = frozenset(("ollama", "lmstudio", "ollama-chat"))
#: What OpenAI's rate card for Codex asks of its models in credits is 25 times their price in dollars, in all three kinds.
PLAN_CREDIT: Final = CreditRule(tokens=None, usd=0.04)
#: Tiers of service that cost no more than what the table says.
_STANDARD_TIERS = frozenset(("", "auto", "default", "standard", "flex"))


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The table that ships."""

    as_of: str
    """The day on which its prices held."""
    source: str
    models: Mapping[str, tuple[str, Price]]
    """A model's name in lower case to its maker and its price."""

    def find(self, model: str) -> Price | None:
        """Return a model's price, also of a dated snapshot, and behind its maker's prefix; None where it is not there."""
        name = model.strip().lower()
        for known in (name, _SNAPSHOT.sub("", name)):
            if known in self.models:
                return self.models[known][1]
            prefix, _, bare = known.partition("/")
            by, price = self.models.get(bare, ("", None))
            if price is not None and f"{prefix}/" in _PREFIXES.get(by, ()):
                return price
        return None

    @property
    def words(self) -> str:
        """Source and date in words."""
        return f"{self.source} of {self.as_of}"


@lru_cache(maxsize=1)
def shipped_prices() -> PriceTable:
    """Return the table that ships."""
    data = json.loads(_TABLE.read_text(encoding="utf-8"))
    return PriceTable(
        data["as_of"], data["source"], {name: (row["by"], _price(row)) for name, row in data["models"].items()}
    )


def _price(row: Mapping[str, Any]) -> Price:
    usual = row["usd"]
    long = row.get("long_usd", [None, None, None])
    return Price(
        input_usd=usual[0],
        cached_input_usd=usual[1],
        output_usd=usual[2],
        long_above_tokens=row.get("above_tokens"),
        long_input_usd=long[0],
        long_cached_input_usd=long[1],
        long_output_usd=long[2],
    )


class PriceList:
    """Every model's price in money and credits, for one run."""

    def __init__(
        self,
        own: Mapping[str, Price],
        credit: CreditRule | None,
        unlisted: frozenset[str],
        of_plan: frozenset[str] = frozenset(),
    ) -> None:
        """`unlisted` are the models to which the table does not apply, `of_plan` those whose credits are those of a plan."""
        self._own = own
        self._credit = credit
        self._unlisted = unlisted
        self._of_plan = of_plan

    def get(self, model: str) -> Rate:
        """Return a model's price; unknown fields are None."""
        own = self._own.get(model)
        priced = own is not None and own.input_usd is not None and own.output_usd is not None
        listed = None if priced or model in self._unlisted else shipped_prices().find(model)
        values = {field.name: getattr(own or Price(), field.name) for field in fields(Price)}
        if listed is not None:
            values |= {name: getattr(listed, name) for name in _USD_FIELDS}
        rate = Rate(**values, listed=listed is not None, credit=self._credit)
        in_dollars = model in self._of_plan and rate.input_usd is not None and rate.output_usd is not None
        return replace(rate, credit=PLAN_CREDIT) if in_dollars else rate

    def origin(self, model: str) -> str:
        """Return where a model's price in USD comes from; empty if it is unknown."""
        rate = self.get(model)
        if rate.input_usd is None or rate.output_usd is None:
            return ""
        return shipped_prices().words if rate.listed else f"[codexteam.prices.{json.dumps(model)}]"


_USD_FIELDS = (*(field.name for field in fields(Price) if field.name.endswith("_usd")), "long_above_tokens")


def price_list(settings: Settings) -> PriceList:
    """Return the prices for a run."""
    rule = credit_rule(settings)
    of_plan = _of_plan(settings) if settings.team.budget.credit is None and rule is not None else ()
    return PriceList(settings.team.prices, rule, frozenset(_unlisted(settings)), frozenset(of_plan))


def credit_rule(settings: Settings) -> CreditRule | None:
    """Return what a credit is; None where only the user's rates for each model say it."""
    team = settings.team
    if team.budget.credit is not None:
        return CreditRule.read(team.budget.credit)
    rated = any(price.input_credits is not None or price.output_credits is not None for price in team.prices.values())
    return None if rated else CreditRule()


def _of_plan(settings: Settings) -> Iterator[str]:
    """Yield the models that the user's Codex asks with a ChatGPT sign-in."""
    for name in roles_on_codex(settings):
        model = settings.roles[name].model
        provider = settings.providers.get(model.provider_id)
        if provider is not None and provider.chatgpt_login is not None:
            yield model.model


def _unlisted(settings: Settings) -> Iterator[str]:
    """Yield the models in use to which the table does not apply: served locally, or at a more expensive tier."""
    models = (settings.model, *(role.model for role in settings.roles.values()))
    return (each.model for each in models if not_listed_because(each))


def not_listed_because(model: ModelSettings) -> str:
    """Explain why the table does not apply to a model as it is used; empty if it does."""
    if model.provider_id in _LOCAL:
        return f"{model.provider_id} serves it on this machine"
    tier = (model.service_tier or "").lower()
    return "" if tier in _STANDARD_TIERS else f"the service tier {tier!r} has its own prices"


def rate_words(rate: Price) -> str:
    """Describe a model's price in USD per million tokens."""
    if rate.input_usd is None or rate.output_usd is None:
        return "unknown"
    cached = "" if rate.cached_input_usd is None else f", cached ${rate.cached_input_usd:g}"
    words = f"input ${rate.input_usd:g}{cached}, output ${rate.output_usd:g}"
    return (
        words if rate.long_above_tokens is None else f"{words}, more above {rate.long_above_tokens:,} tokens of input"
    )


def rate_json(rate: Price) -> JSONObject:
    """Return the known fields of a price."""
    values = {field.name: getattr(rate, field.name) for field in fields(Price)}
    return {name: value for name, value in values.items() if value is not None}
