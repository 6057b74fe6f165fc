"""Which agents may be at work: as many as there is something for them to work with, the most important ones first.

The scheduler hands out what is ready, up to `max_threads`. An agent more is of use only if there is a sandbox for it and
the model service takes its calls: where hosts have fewer slots, or the service has just said that calls are too many, it
would wait with a place that another could have. So it waits here, and whoever waits is told why. When a place is free, the
one that stands first gets it, by what its task's priority is then. Hence:

- One sandbox is left for what agents wait for: checks of their work, and look-ups.
- No place is free while somebody could use it: each end, each answer and each change of priority lets the next in.
- One agent always works: where none does, nothing that changes by their work is waited for.
- Who is at work is never taken off it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from codexteam.config.settings import ModelSettings
from codexteam.core.budget_queue import Standing
from codexteam.core.ids import AgentKey


@dataclass(slots=True, eq=False)
class _WaitingAgent:
    key: AgentKey
    standing: Standing
    model: ModelSettings
    number: int
    """Of those of the same rank, who came first is first."""
    admitted: "asyncio.Future[None]"


@dataclass(slots=True)
class AgentPlaces:
    """The places of agents. For tasks of one event loop."""

    most: int
    """The run's limit: `max_threads`."""
    sandboxes: Callable[[], int | None] = lambda: None
    """Says for how many sandboxes there is room at once; None where nothing limits them."""
    crowding: Callable[[ModelSettings], str] = lambda _: ""
    """Says why one more agent of a model would only wait for its calls; empty where it would not."""
    _at_work: int = 0
    _waiting: list[_WaitingAgent] = field(default_factory=list)
    _last: int = 0

    @asynccontextmanager
    async def place(
        self, key: AgentKey, standing: Standing, model: ModelSettings, report: Callable[[str], None]
    ) -> AsyncIterator[None]:
        """Give an agent a place while the block runs; `report` gets why it waits, and an empty text when it begins."""
        self._last += 1
        waits = _WaitingAgent(key, standing, model, self._last, asyncio.get_running_loop().create_future())
        self._waiting.append(waits)
        self.look_again()
        if not waits.admitted.done():
            report(self._why(waits, self.sandboxes()))
            try:
                await waits.admitted
            except asyncio.CancelledError:
                if waits in self._waiting:
                    self._waiting.remove(waits)
                else:  # it was let in at the same moment
                    self._leave()
                raise
            report("")
        try:
            yield
        finally:
            self._leave()

    def rank(self, task_id: str, rank: tuple[int, ...]) -> None:
        """Give those who wait with a task another rank."""
        for waits in self._waiting:
            if waits.key.task_id == task_id:
                waits.standing = replace(waits.standing, rank=rank)
        self.look_again()

    def look_again(self) -> None:
        """Let in who can be let in."""
        if not self._waiting:  # as nearly always, and this is asked after every turn
            return
        room = self.sandboxes()
        for waits in sorted(self._waiting, key=lambda each: (each.standing.rank, each.number)):
            # who is being cancelled has not left yet
            if not waits.admitted.cancelled() and not self._why(waits, room):
                self._waiting.remove(waits)
                self._at_work += 1
                waits.admitted.set_result(None)

    def _leave(self) -> None:
        self._at_work -= 1
        self.look_again()

    def _why(self, waits: _WaitingAgent, room: int | None) -> str:
        """Say why an agent does not begin, where there is room for so many sandboxes; empty where it may."""
        if not self._at_work:
            return ""
        if self._at_work >= self.most:
            return f"waits for one of {self.most} agents to end (max_threads)"
        # one is left for acceptance commands and look-ups, or agents that wait for these would hold all there are
        if room is not None and self._at_work >= room - 1:
            return f"waits for a sandbox: the hosts that are up have {room} slots, one of them for checks"
        crowd = self.crowding(waits.model)
        return f"waits: {crowd}" if crowd else ""
