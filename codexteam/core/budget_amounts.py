"""Amounts of tokens and money that a budget counts, as whole numbers so that sums never drift; what went over a limit."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Protocol

from codexteam.core.codec import StoredForm, stored
from codexteam.core.limits import COUNT, MONEY


@stored(
    StoredForm(
        tag="",
        # a count that is missing is never zero
        required=("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
        optional=("charged_nano_usd",),
    )
)
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more answered calls. A missing usage is `None` where this is optional, never zeros."""

    input_tokens: int = 0
    """All input, cached included."""
    cached_input_tokens: int = 0
    output_tokens: int = 0
    """All output, reasoning included."""
    reasoning_tokens: int = 0
    charged_nano_usd: int | None = None
    """What a gateway says that it charges, in billionths of a dollar; None where it does not say, or not of all calls."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            _charged(self, other),
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together; what a budget in tokens counts."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in USD and in credits for a million tokens; `None` is unknown, which is not free."""

    input_usd: Annotated[float | None, MONEY] = None
    cached_input_usd: Annotated[float | None, MONEY] = None
    output_usd: Annotated[float | None, MONEY] = None
    long_above_tokens: Annotated[int | None, COUNT] = None
    """A call with more input than this costs the `long_` prices instead, all of it."""
    long_input_usd: Annotated[float | None, MONEY] = None
    long_cached_input_usd: Annotated[float | None, MONEY] = None
    long_output_usd: Annotated[float | None, MONEY] = None
    input_credits: Annotated[float | None, MONEY] = None
    cached_input_credits: Annotated[float | None, MONEY] = None
    output_credits: Annotated[float | None, MONEY] = None

    def usd(self, usage: Usage) -> float | None:
        """Return the cost of one call in USD; None where a price that it needs is unknown. Reasoning costs as output."""
        usual = (self.input_usd, self.cached_input_usd, self.output_usd)
        if self.long_above_tokens is None or usage.input_tokens <= self.long_above_tokens:
            return _cost(usage, *usual)
        long = (self.long_input_usd, self.long_cached_input_usd, self.long_output_usd)
        return _cost(
            usage, *(either if either is not None else other for either, other in zip(long, usual, strict=True))
        )

    def credits(self, usage: Usage) -> float | None:
        """Return the cost of one call in credits; None where a price that it needs is unknown."""
        return _cost(usage, self.input_credits, self.cached_input_credits, self.output_credits)


@dataclass(frozen=True, slots=True)
class CreditRule:
    """What a credit is where a model has no rates of its own: so many tokens, or so much money."""

    tokens: int | None = 1_000
    usd: float | None = None

    @classmethod
    def read(cls, text: str) -> "CreditRule":
        """Read `1k-tokens` or `0.01usd`.

        Raises:
            ValueError: says what is allowed.
        """
        found = _CREDIT.fullmatch(text.strip())
        number = float(found["number"]) * {"k": 1e3, "m": 1e6}.get(found["size"].lower(), 1) if found else 0.0
        if found is None or number <= 0 or (found["usd"] is not None and found["size"]):
            raise ValueError(CREDIT_FORMS)
        if found["usd"] is not None:
            return cls(tokens=None, usd=number)
        if number < 1:
            raise ValueError(CREDIT_FORMS)
        return cls(tokens=round(number))


#: How `credit` is written.
CREDIT_FORMS: Final = "a number of tokens or of dollars greater than 0, as `1k-tokens` or `0.01usd`"
_CREDIT = re.compile(
    r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?)(?P<size>[km]?)(?:(?P<tokens>[- ]?tokens?)|(?P<usd>usd))", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Rate(Price):
    """A price with what else decides what a call counts for."""

    listed: bool = False
    """Its USD are from the table that ships: what a gateway says that it charges counts before it."""
    credit: CreditRule | None = None

    @property
    def has_credit_rates(self) -> bool:
        """Return whether the user wrote rates in credits for this model."""
        return self.input_credits is not None or self.output_credits is not None

    @property
    def credits_follow_usd(self) -> bool:
        """Return whether a credit is an amount of money for this model."""
        return self.credit is not None and self.credit.usd is not None and not self.has_credit_rates

    def credits(self, usage: Usage) -> float | None:
        """Return the cost of one call in credits: by the model's own rates, else by what a credit is."""
        if self.has_credit_rates or self.credit is None:
            return Price.credits(self, usage)
        if self.credit.tokens is not None:
            return usage.total_tokens / self.credit.tokens
        usd = usd_of(usage, self)
        return None if usd is None or self.credit.usd is None else usd / self.credit.usd


class Prices(Protocol):
    """Prices by the names of models."""

    def get(self, model: str, /) -> Price | None:
        """Return a model's price; None where nothing is known of it."""
        ...


def usd_of(usage: Usage, price: Price | None) -> float | None:
    """Return what one call costs in USD: by the user's price, else as the gateway charges it, else by the table, else None."""
    usd = None if price is None else price.usd(usage)
    listed = isinstance(price, Rate) and price.listed
    if (usd is None or listed) and usage.charged_nano_usd is not None:
        return usage.charged_nano_usd / 1_000_000_000
    return usd


def _charged(one: Usage, other: Usage) -> int | None:
    of_calls = [usage.charged_nano_usd for usage in (one, other) if usage != Usage()]
    known = [charged for charged in of_calls if charged is not None]
    return sum(known) if known and len(known) == len(of_calls) else None


def _cost(usage: Usage, per_input: float | None, per_cached: float | None, per_output: float | None) -> float | None:
    if per_input is None or per_output is None:
        return None
    # without a price of their own cached tokens cost what the others do: never too little
    per_cached = per_input if per_cached is None else per_cached
    fresh_tokens = usage.input_tokens - usage.cached_input_tokens
    millions = fresh_tokens * per_input + usage.cached_input_tokens * per_cached + usage.output_tokens * per_output
    return millions / 1_000_000


#: Money is counted in billionths of a dollar or credit.
NANO: Final = 1_000_000_000

#: What a request has beyond its bytes: role marks and separators that the service adds around instructions and tools.
REQUEST_OVERHEAD_TOKENS: Final = 64

#: The most that one picture costs: 10,000 patches at original detail, and a margin.
IMAGE_TOKENS: Final = 12_000

#: A call that may answer less than this is not worth making.
LEAST_OUTPUT_TOKENS: Final = 1_024


class Unit(StrEnum):
    """What a limit counts."""

    TOKENS = "tokens"
    USD = "USD"
    CREDITS = "credits"


@stored(StoredForm(tag="", required=("tokens", "nano_usd", "nano_credits")))
@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens and money together. Money is None where a price is unknown, which is not 0."""

    tokens: int = 0
    nano_usd: int | None = 0
    nano_credits: int | None = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.tokens + other.tokens,
            None if self.nano_usd is None or other.nano_usd is None else self.nano_usd + other.nano_usd,
            None if self.nano_credits is None or other.nano_credits is None else self.nano_credits + other.nano_credits,
        )

    @property
    def usd(self) -> float | None:
        """US dollars."""
        return None if self.nano_usd is None else self.nano_usd / NANO

    @property
    def credits(self) -> float | None:
        return None if self.nano_credits is None else self.nano_credits / NANO


def nano(money: float | None) -> int | None:
    """Return dollars or credits in billionths, rounded up: never too little."""
    return None if money is None else math.ceil(money * NANO)


def amount_of(usage: Usage, price: Price | None) -> Amount:
    """Return what `usage` comes to; without a price, and without a gateway's word, its money is unknown."""
    credits_ = None if price is None else price.credits(usage)
    return Amount(usage.total_tokens, nano(usd_of(usage, price)), nano(credits_))


def most_input_tokens(new_bytes: int, images: int = 0, *, known_tokens: int = 0) -> int:
    """Return a bound that the input tokens of a request never pass.

    A token stands for at least one byte of the text it is made from, so the bytes of the request's JSON are a bound
    whatever the text and the tokeniser: source code has three to four bytes a token, random base64 less than two.
    `known_tokens` is what the service itself counted for the part of the request that it has seen before (input and
    output of the last answered call), and `new_bytes` is only what came since; so the bound is close from the second
    turn on. Bytes of pictures are left out of `new_bytes`; `images` is how many are new.
    """
    return known_tokens + new_bytes + images * IMAGE_TOKENS + REQUEST_OVERHEAD_TOKENS


def by_unit(amount: Amount) -> dict[Unit, int | None]:
    """Return an amount in every unit that a limit may count."""
    return {Unit.TOKENS: amount.tokens, Unit.USD: amount.nano_usd, Unit.CREDITS: amount.nano_credits}


def human_amount(unit: Unit, value: int) -> float:
    """Return a whole number of the ledger as people count."""
    return float(value) if unit is Unit.TOKENS else value / NANO


def short_amount(unit: Unit, value: int, *, up: bool = False) -> str:
    """Say an amount as people do: `3.5k tokens`, `$0.53`, `12 credits`; rounded down, or `up` for what is needed."""
    rounded = math.ceil if up else math.floor
    if unit is Unit.TOKENS:
        for size, letter in ((1_000_000, "M"), (1_000, "k")):
            if value >= size:
                return f"{rounded(value * 10 / size) / 10:.1f}".removesuffix(".0") + f"{letter} tokens"
        return f"{value} tokens"
    digits = 4 if value < NANO else 2
    money = f"{rounded(value / NANO * 10**digits) / 10**digits:,.{digits}f}".rstrip("0").rstrip(".")
    return f"${money}" if unit is Unit.USD else f"{money} credits"


def over_limits(limits: Mapping[Unit, int], spent: Mapping[Unit, int | None]) -> str:
    """Say which limits were passed, or cannot be compared with; empty where none.

    Amounts are as the ledger counts them. A call is reserved before it is made, so that only a service that bills more
    than it was allowed to, or a price that is unknown by now, gets a run past its limit.
    """
    words = []
    for unit, limit in limits.items():
        amount = spent.get(unit)
        allowed = f"{short_amount(unit, limit)} allowed"
        if amount is None:
            words.append(f"what was spent is unknown, {allowed}")
        elif amount > limit:
            words.append(f"{short_amount(unit, amount, up=True)} spent, {allowed}")
    return "; ".join(words)
