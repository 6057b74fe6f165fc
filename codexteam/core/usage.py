"""Tokens used, and what they cost. Tokens are stored; money is computed from a price."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more answered calls. A missing usage is `None` where this is optional, never zeros."""

    input_tokens: int = 0
    """All input, cached included."""
    cached_input_tokens: int = 0
    output_tokens: int = 0
    """All output, reasoning included."""
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together; what a budget in tokens counts."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in USD and in credits for a million tokens; `None` is unknown, which is not free."""

    input_usd: float | None = None
    cached_input_usd: float | None = None
    output_usd: float | None = None
    input_credits: float | None = None
    cached_input_credits: float | None = None
    output_credits: float | None = None

    def usd(self, usage: Usage) -> float | None:
        """Give the cost of `usage` in USD; None where a price that it needs is unknown."""
        return _cost(usage, self.input_usd, self.cached_input_usd, self.output_usd)

    def credits(self, usage: Usage) -> float | None:
        """Give the cost of `usage` in credits; None where a price that it needs is unknown."""
        return _cost(usage, self.input_credits, self.cached_input_credits, self.output_credits)


def _cost(usage: Usage, per_input: float | None, per_cached: float | None, per_output: float | None) -> float | None:
    if per_input is None or per_output is None:
        return None
    # without a price of their own cached tokens cost what the others do: never too little
    per_cached = per_input if per_cached is None else per_cached
    fresh_tokens = usage.input_tokens - usage.cached_input_tokens
    millions = fresh_tokens * per_input + usage.cached_input_tokens * per_cached + usage.output_tokens * per_output
    return millions / 1_000_000
