"""What the fan-out script is given and gives back, whoever runs it."""

from dataclasses import dataclass
from typing import Protocol

from codexteam.core.budget_amounts import Usage


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured."""

    agents: int
    turns: int
    """With a command each; the answer is one more."""
    turn_seconds: float
    line: str
    """What each turn runs."""
    folder: str | None = None
    """Where the store and the workspaces are."""
    cached: bool = False
    """Whether the server counts cached input."""

    @property
    def critical_seconds(self) -> float:
        return (self.turns + 1) * self.turn_seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out."""

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int
    usage: Usage


class Instrument(Protocol):
    """What the benchmark measures with."""

    def cpu_seconds(self) -> float: ...

    def memory_bytes(self) -> int: ...

    def instructions(self) -> str: ...

    def facts(self) -> str: ...
