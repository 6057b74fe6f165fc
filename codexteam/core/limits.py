"""The limits that a run is decided under, and what a setting may be.

Bounds and choices stand at the fields, as `Annotated[int, Between(1, 100)]`: `config.codexteam_schema` derives from them
what `[codexteam]` may hold. The limits themselves are here, not in `config`, since decisions are taken by them.
"""

from dataclasses import dataclass
from typing import Annotated, Final


@dataclass(frozen=True, slots=True)
class Between:
    """A number within bounds that both count."""

    low: float
    high: float = 2**63 - 1


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Revocable:
    """A limit that `none` takes back, which another layer or an earlier command line sets."""


COUNT: Final = Between(0)
MONEY: Final = Between(0, 1e12)
SHARE: Final = Between(0, 1)
PERCENT: Final = Between(0, 100)
SECONDS: Final = Between(1, 604_800)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How much of everything a run may have; what `core` decides by. The rest of `[codexteam.limits]` binds agents."""

    max_threads: Annotated[int, Between(1, 10_000)] = 6
    """Agents at work at the same time (Codex: `agents.max_concurrent_threads_per_session`, `max_threads`)."""
    max_rounds: Annotated[int, Between(1, 1000)] = 5
    """Passes of the gates before a person is asked."""
    max_attempts: Annotated[int, Between(1, 100)] = 3
    """Tries at one task, `resolve` attempts not counted."""
    max_resolves: Annotated[int, Between(0, 100)] = 3
    batch_size: Annotated[int, Between(1, 10_000)] = 8
    """The most merges that one pass of the gates judges."""
    max_tasks: Annotated[int, Between(1, 100_000)] = 200
