"""Follows what each agent at work does at this moment."""

from collections.abc import Callable, Iterator

from codexteam.agent.event_fields import (
    AgentEvent,
    BudgetAwaited,
    CallRetried,
    CallSent,
    PersonAwaited,
    StreamBegan,
    TextStreamed,
    ToolFinished,
    ToolStarted,
    TurnAnswered,
    TurnStarted,
    action_words,
)
from codexteam.core.activity import Activity, Doing
from codexteam.core.ids import AgentKey


class Activities:
    """Follows the agents of a run."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        """Follow none yet; `redact` takes secrets out of commands and reasons."""
        self._redact = redact
        self._agents: dict[AgentKey, Activity] = {}
        self._calls: dict[AgentKey, dict[str, str]] = {}
        """Tool calls that run, by their id: their commands."""
        self._printed: dict[str, Callable[[], str]] = {}

    def __iter__(self) -> Iterator[Activity]:
        """Yield the agents at work."""
        return iter([*self._agents.values()])

    def begins(self, agent: AgentKey, now_seconds: float) -> None:
        """Note that an agent is at work."""
        self._agents[agent] = Activity(str(agent), Doing.WORKING, now_seconds, now_seconds)
        self._calls[agent] = {}

    def ends(self, agent: AgentKey) -> None:
        """Note that an agent is at work no more."""
        self._agents.pop(agent, None)
        self._calls.pop(agent, None)
        self._printed.pop(str(agent), None)

    def prints(self, agent: AgentKey, printed: Callable[[], str]) -> None:
        """Note how it is found out what an agent's commands have printed that it has not seen itself."""
        self._printed[str(agent)] = printed

    def printed(self, agent: str) -> str:
        """Return what commands of an agent at work have printed that it has not seen itself, without secrets."""
        printed = self._printed.get(agent)
        return printed() if printed is not None else ""

    def take(self, agent: AgentKey, event: AgentEvent, now_seconds: float) -> None:
        """Follow what an agent does."""
        before = self._agents.get(agent)
        if before is None:
            return
        doing, detail = self._doing(agent, event, before)
        same = doing is before.doing and detail == before.detail
        since_seconds = before.since_seconds if same else now_seconds
        self._agents[agent] = Activity(before.agent, doing, since_seconds, now_seconds, detail)

    def _doing(self, agent: AgentKey, event: AgentEvent, before: Activity) -> tuple[Doing, str]:
        calls = self._calls[agent]
        match event:
            case TurnStarted():
                calls.clear()
                return Doing.WORKING, ""
            case CallSent():
                return Doing.MODEL, ""
            case CallRetried(reason=reason):
                return Doing.MODEL, self._redact(f"asked again: {reason}")
            case StreamBegan() | TextStreamed():
                return (before.doing, before.detail) if calls else (Doing.MODEL, "")
            case BudgetAwaited(reason=reason):
                return (Doing.LIMIT, reason) if reason else (Doing.WORKING, "")
            case PersonAwaited(reason=reason):
                return (Doing.PERSON, reason) if reason else (Doing.WORKING, "")
            case ToolStarted(call_id=call_id, name=name, what=what):
                calls[call_id] = self._redact(action_words(name, what))
                return Doing.COMMAND, calls[call_id]
            case ToolFinished(call_id=call_id):
                calls.pop(call_id, None)
                return (Doing.COMMAND, next(iter(calls.values()))) if calls else (Doing.WORKING, "")
            case TurnAnswered():
                return (before.doing, before.detail) if calls else (Doing.WORKING, "")
            case _:
                return before.doing, before.detail
