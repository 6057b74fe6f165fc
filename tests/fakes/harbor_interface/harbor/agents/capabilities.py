"""Part of a stand-in for Harbor."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AgentCapabilities:
    """What an agent can do beside its task."""

    atif: bool = False
