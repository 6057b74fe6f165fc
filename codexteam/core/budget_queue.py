"""Who goes first when a limit is short: agents that come later wait, so that those before them can end what they began.

A limit of the run or of a role is shared. A reservation alone does not protect it: between two calls an agent holds
nothing, and others could spend what it needs to end. So agents stand in a queue, in the order in which their work
counts, and a call is let through only if the limit then still holds what the agents before are expected to need. The
first in the queue is held back by nothing but calls on their way. Hence:

- Nobody waits for ever: the first one always continues, and when it ends the next becomes the first.
- Where there is enough for all, all work at once. The less there is, the fewer do; at the end it is one.
- As long as no agent needs more than is expected of it, what width 1 finishes is finished at any width.

What an agent needs cannot be known. It is expected to need as much as work of its role took so far, with a margin;
before any has ended, some calls of full size; always as much again as it used already, and one full call beyond that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from codexteam.core.ids import AgentKey

#: What is expected of an agent before one of its role has ended, in calls of full size: all their output used.
EXPECTED_CALLS: Final = 8

#: What is expected of an agent once others of its role have ended, as a multiple of the most that one of them took.
MARGIN: Final = 2

#: Amounts by the unit of a limit, in the ledger's whole numbers.
Amounts: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an agent stands among others."""

    rank: tuple[int, ...] = ()
    """Smallest first."""
    effort: int = 1
    """How much its work is, beside that of others of its role."""


#: The rank of agents that judge what others did: they come after all work.
JUDGES: Final = (1,)


def work_rank(priority: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rank of an agent that works on a task, by the task's place in the plan."""
    return (0, *priority)


@dataclass(slots=True)
class _Agent:
    standing: Standing
    number: int
    largest: dict[str, int] = field(default_factory=dict)
    """The most that one of its calls asked for, by unit."""

    @property
    def place(self) -> tuple[tuple[int, ...], int]:
        return self.standing.rank, self.number


@dataclass(slots=True)
class BudgetQueue:
    """The agents at work, first to last, and what their work is expected to take."""

    _agents: dict[AgentKey, _Agent] = field(default_factory=dict)
    _took: dict[tuple[str, str], float] = field(default_factory=dict)
    """(Role, unit) to the most that a piece of work took, for one of effort 1."""
    _last: int = 0

    def enter(self, agent: AgentKey, standing: Standing) -> None:
        """Let an agent stand behind all of the same or a smaller rank."""
        self._last += 1
        self._agents[agent] = _Agent(standing, self._last)

    def leave(self, agent: AgentKey) -> None:
        """Let an agent out; what it did not use is everybody's again."""
        self._agents.pop(agent, None)

    def rank(self, task_id: str, rank: tuple[int, ...]) -> None:
        """Let the agents that work on a task stand elsewhere."""
        for key, agent in self._agents.items():
            if key.work_task == task_id:
                agent.standing = replace(agent.standing, rank=rank)

    def learn(self, role: str, effort: int, took: Amounts) -> None:
        """Remember what a piece of work took that has ended well."""
        for unit, amount in took.items():
            self._took[role, unit] = max(self._took.get((role, unit), 0.0), amount / max(1, effort))

    def place(self, agent: AgentKey) -> tuple[tuple[int, ...], int]:
        """Return where an agent stands, smallest first; who never entered stands before all."""
        known = self._agents.get(agent)
        return known.place if known else ((), 0)

    def effort(self, agent: AgentKey) -> int:
        """Return how much an agent's work is."""
        known = self._agents.get(agent)
        return known.standing.effort if known else 1

    def note_call(self, agent: AgentKey, full: Amounts) -> None:
        """Remember how large an agent's calls are."""
        known = self._agents.get(agent)
        if known is not None:
            for unit, amount in full.items():
                known.largest[unit] = max(known.largest.get(unit, 0), amount)

    def ahead(self, agent: AgentKey) -> list[AgentKey]:
        """Return the agents that stand before this one."""
        place = self.place(agent)
        return [other for other, known in self._agents.items() if known.place < place]

    def expected(self, agent: AgentKey, unit: str, *, spent: int, held: int, call: int) -> int:
        """Return what an agent is expected to need yet, beyond what it holds.

        `spent` is what its work took until now, and `call` stands for its calls as long as it made none.
        """
        known = self._agents[agent]
        largest = known.largest.get(unit, call)
        took = self._took.get((agent.role, unit))
        whole = EXPECTED_CALLS * largest if took is None else int(MARGIN * took * known.standing.effort)
        return max(0, max(whole - spent, spent) + largest - held)
