"""Part of a stand-in for Harbor."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelUsage:
    """What was used of one model."""

    n_input_tokens: int = 0
    n_cache_tokens: int = 0
    n_output_tokens: int = 0
    cost_usd: float | None = None


@dataclass
class AgentContext:
    """What an agent says of its work."""

    n_input_tokens: int | None = None
    n_cache_tokens: int | None = None
    n_output_tokens: int | None = None
    cost_usd: float | None = None
    model_usage: dict[str, ModelUsage] | None = None
    metadata: dict[str, Any] | None = field(default=None)
