"""The agents at work, as people reach them: to tell them something, to hold them back, to end them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.outcome import AgentOutcome
from codexteam.core.ids import AgentKey, Purpose
from codexteam.core.steering_events import PLANNER
from codexteam.run.context import work_name


@dataclass(slots=True)
class ReachableAgents:
    """Who is at work. For tasks of one event loop."""

    _mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    _holds: dict[str, AgentHold] = field(default_factory=dict)
    _at_work: dict[str, "asyncio.Task[AgentOutcome]"] = field(default_factory=dict)
    _stopped: set[str] = field(default_factory=set)
    """Agents that a person has stopped, and that have not ended yet."""
    _over: set[str] = field(default_factory=set)
    """By their `mailbox_name`, those that have had their last turn."""

    def say(self, name: str, text: str) -> bool:
        """Leave a message for an agent, by its `mailbox_name`; one that has not begun reads it when it has.

        Returns False when it has had its last turn: nobody reads it.
        """
        if name in self._over:
            return False
        self._mailboxes.setdefault(name, Mailbox()).say(text)
        return True

    def hold(self, name: str, pid: int, mark: str) -> bool:
        """Let an agent at work begin no turn while a process lives, by its `mailbox_name`; False when none is."""
        hold = self._holds.get(name)
        if hold is not None:
            hold.take(pid, mark)
        return hold is not None

    def let_go(self, name: str, pid: int) -> None:
        """Let an agent continue that a process held back."""
        if (hold := self._holds.get(name)) is not None:
            hold.let_go(pid)

    def let_go_for_dead(self, mark_of: Callable[[int], str]) -> None:
        """Let agents continue that were held back by processes that are gone."""
        for hold in self._holds.values():
            hold.let_go_for_dead(mark_of)

    def stop(self, agent: str) -> bool:
        """End an agent that is at work, by its name; False when none of that name is."""
        work = self._at_work.get(agent)
        if work is not None:
            self._stopped.add(agent)
            work.cancel()
        return work is not None

    @contextmanager
    def reached(self, key: AgentKey) -> Iterator[tuple[Mailbox, AgentHold]]:
        """Give an agent what reaches it, while it works."""
        name = mailbox_name(key)
        self._over.discard(name)
        mailbox = self._mailboxes.setdefault(name, Mailbox())
        hold = self._holds.setdefault(name, AgentHold())
        try:
            yield mailbox, hold
        finally:
            if self._mailboxes.get(name) is mailbox:
                del self._mailboxes[name]
                self._over.add(name)
            if self._holds.get(name) is hold:
                del self._holds[name]

    async def stoppable(self, key: AgentKey, work: Coroutine[Any, Any, AgentOutcome]) -> AgentOutcome | None:
        """Return how an agent ended; None when a person stopped it."""
        name = str(key)
        task = self._at_work[name] = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if name in self._stopped and not (current is not None and current.cancelling()):
                return None
            raise
        finally:
            self._stopped.discard(name)
            del self._at_work[name]


def mailbox_name(key: AgentKey) -> str:
    """Return what the mailbox of an agent is called: people write to an attempt at a task, or to the planner."""
    match key.purpose:
        case Purpose.IMPLEMENT | Purpose.RESOLVE:
            return work_name(key)
        case Purpose.PLAN | Purpose.REPLAN:
            return PLANNER
        case _:
            return str(key)
