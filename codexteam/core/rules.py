"""The limits that a run is decided under."""

from dataclasses import dataclass

from codexteam.core.findings import GateName


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits a run is decided under; taken from the settings when it starts, and anew when it is resumed."""

    max_threads: int = 6
    max_rounds: int = 5
    max_attempts: int = 3
    max_resolves: int = 3
    batch_size: int = 8
    max_tasks: int = 200
    gates: tuple[GateName, ...] = tuple(GateName)
    approve: tuple[str, ...] = ()
    """`plan`, `merge`."""
    plan_attempts: int = 2
    scout: bool = True
    document: bool = True
    release: bool = True
