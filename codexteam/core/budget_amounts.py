"""Amounts of tokens and money that a budget counts, as whole numbers so that sums never drift."""

import math
from dataclasses import dataclass
from typing import Final

from codexteam.core.usage import Price, Usage

#: Money is counted in billionths of a dollar or credit.
NANO: Final = 1_000_000_000

#: What a request has beyond its bytes: role marks and separators that the service adds around instructions and tools.
REQUEST_OVERHEAD_TOKENS: Final = 64

#: The most that one picture costs: 10,000 patches at original detail, and a margin.
IMAGE_TOKENS: Final = 12_000

#: A call that may answer less than this is not worth making.
LEAST_OUTPUT_TOKENS: Final = 1_024


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
        """Credits."""
        return None if self.nano_credits is None else self.nano_credits / NANO


def nano(money: float | None) -> int | None:
    """Give dollars or credits in billionths, rounded up: never too little."""
    return None if money is None else math.ceil(money * NANO)


def amount_of(usage: Usage, price: Price | None) -> Amount:
    """Give what `usage` comes to; no price means that its money is unknown."""
    if price is None:
        return Amount(usage.total_tokens, None, None)
    return Amount(usage.total_tokens, nano(price.usd(usage)), nano(price.credits(usage)))


def most_input_tokens(new_bytes: int, images: int = 0, *, known_tokens: int = 0) -> int:
    """Give a bound that the input tokens of a request never pass.

    A token stands for at least one byte of the text it is made from, so the bytes of the request's JSON are a bound
    whatever the text and the tokeniser: source code has three to four bytes a token, random base64 less than two.
    `known_tokens` is what the service itself counted for the part of the request that it has seen before (input and
    output of the last answered call), and `new_bytes` is only what came since; so the bound is close from the second
    turn on. Bytes of pictures are left out of `new_bytes`; `images` is how many are new.
    """
    return known_tokens + new_bytes + images * IMAGE_TOKENS + REQUEST_OVERHEAD_TOKENS
