"""Whether all agents at work do nothing but wait for a model service that does not answer."""

from dataclasses import dataclass
from enum import Enum, auto

from codexteam.agent.event_fields import (
    AgentEvent,
    CallRetried,
    CallSent,
    StreamBegan,
    TextStreamed,
    TurnAnswered,
    TurnStarted,
)
from codexteam.core.ids import AgentKey

#: A service that works lets a request out within this time: it has a place for it and takes its connection.
ASKING_SECONDS = 2.0
#: A service that works takes a request, or refuses it, within this time.
SILENT_SECONDS = 10.0


class _Doing(Enum):
    BUSY = auto()
    """It starts, hears an answer, or uses its tools."""
    ASKING = auto()
    """Its call waits for its place behind others, or for a connection: nothing is on its way."""
    SENT = auto()
    """Its call is on its way, and the service has not taken it yet."""
    RETRYING = auto()
    """Its call failed and is asked again, until it is answered."""


@dataclass(frozen=True, slots=True)
class _Since:
    doing: _Doing
    at_seconds: float


class Outage:
    """Follows the agents of a run. All times are of one monotonic clock."""

    def __init__(self) -> None:
        self._agents: dict[AgentKey, _Since] = {}
        self._heard = False
        """Whether the service ever took a request. Then a call that was sent may be answered yet, and is paid for."""

    def begins(self, agent: AgentKey, now_seconds: float) -> None:
        """Note that an agent is at work."""
        self._agents[agent] = _Since(_Doing.BUSY, now_seconds)

    def ends(self, agent: AgentKey) -> None:
        """Note that an agent is at work no more."""
        self._agents.pop(agent, None)

    def take(self, agent: AgentKey, event: AgentEvent, now_seconds: float) -> None:
        """Follow what an agent does."""
        before = self._agents.get(agent)
        match event:
            case CallRetried():
                doing = _Doing.RETRYING
            case TurnStarted():
                doing = _Doing.ASKING
            case CallSent() if before is None or before.doing is not _Doing.RETRYING:
                doing = _Doing.SENT
            case StreamBegan() | TextStreamed():
                self._heard = True
                if before is None or before.doing is not _Doing.SENT:
                    return
                doing = _Doing.BUSY
            case TurnAnswered():
                self._heard = True
                doing = _Doing.BUSY
            case _:
                return
        self._agents[agent] = _Since(doing, now_seconds)

    def is_all(self, now_seconds: float) -> bool:
        """Return whether there are agents at work and each of them only waits for the service."""
        return bool(self._agents) and all(self._waits(each, now_seconds) for each in self._agents.values())

    def _waits(self, agent: _Since, now_seconds: float) -> bool:
        waited_seconds = now_seconds - agent.at_seconds
        match agent.doing:
            case _Doing.BUSY:
                return False
            case _Doing.RETRYING:
                return True
            case _Doing.ASKING:
                return waited_seconds >= ASKING_SECONDS
            case _Doing.SENT:
                return not self._heard and waited_seconds >= SILENT_SECONDS
