"""A host as it is now, of whatever kind it is."""

from dataclasses import dataclass
from enum import StrEnum


class HostState(StrEnum):
    """Whether new agents start on a host."""

    UP = "up"
    DRAINING = "draining"
    """None starts; those at work finish."""
    DRAINED = "drained"
    """None starts, and none is at work."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class AgentAtWork:
    """A sandbox that runs on a host."""

    name: str
    """Such as `implementer T1.1`."""
    run_id: str
    state_dir: str
    """Of its repository."""
    is_here: bool
    """It is this repository's."""


@dataclass(frozen=True, slots=True)
class HostStatus:
    """One host, as it is now."""

    name: str
    where: str
    """Its address, or what names it."""
    state: HostState
    slots: int | None
    """None: as many as the run may have agents."""
    weight: float | None
    version: str = ""
    runtimes: tuple[str, ...] = ()
    agents: tuple[AgentAtWork, ...] = ()
    drained_by: str = ""
    """What drains it: `cluster drain`, or the configuration."""
    problem: str = ""
    hint: str = ""

    @property
    def busy(self) -> int:
        """Return how many slots this repository's agents have."""
        return sum(agent.is_here for agent in self.agents)
