"""What a run took, by the stages of its work: what forecasts rest on, and what they are held against."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from codexteam.core.budget_amounts import Amount, Price, Usage, amount_of
from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import AgentKey, GateName, Purpose, TaskId


class Stage(StrEnum):
    """A part of a run that is forecast by itself."""

    SCOUTS = "scouts"
    PLANNING = "planning"
    TASKS = "tasks"
    """The plan's tasks with all their attempts, conflicts and questions."""
    GATES = "gates"
    FIXES = "fixes"
    """Re-planning, and the tasks that come of findings."""
    DOCUMENTATION = "documentation"
    RELEASE = "release"


_STAGES: Final[Mapping[Purpose, Stage]] = {
    Purpose.SCOUT: Stage.SCOUTS,
    Purpose.PLAN: Stage.PLANNING,
    Purpose.REPLAN: Stage.FIXES,
    **{gate.purpose: Stage.GATES for gate in GateName if gate.purpose is not None},
    Purpose.DOCUMENT: Stage.DOCUMENTATION,
    Purpose.RELEASE: Stage.RELEASE,
}


def stage_of(agent: AgentKey, fixes: Collection[str]) -> Stage:
    """Return the stage that an agent works for; `fixes` are the tasks that came of findings."""
    if agent.task_id:
        return Stage.FIXES if agent.task_id in fixes else Stage.TASKS
    # who reads a vague goal prepares the plan, though it answers as a scout does
    return Stage.PLANNING if agent.role == "requirement_analyst" else _STAGES.get(agent.purpose, Stage.TASKS)


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class SpentBy:
    """What the calls of one role and model took for one stage, or one task."""

    stage: Stage
    role: str
    model: str
    usage: Usage
    calls: int
    task_id: str = ""
    unreported_tokens: int = 0
    """What the budget counts for calls whose usage nobody knows."""

    def amount(self, price: Price | None) -> Amount:
        """Return what it comes to; calls of unknown usage count in tokens alone."""
        each = amount_of(_share(self.usage, max(1, self.calls)), price)
        known = Amount(
            self.usage.total_tokens,
            None if each.nano_usd is None else each.nano_usd * self.calls,
            None if each.nano_credits is None else each.nano_credits * self.calls,
        )
        return known + Amount(self.unreported_tokens)


@stored(StoredForm(tag=""))
@dataclass(frozen=True, slots=True)
class PastRun:
    """What one run took, and what it had to do."""

    spent: tuple[SpentBy, ...]
    efforts: Mapping[TaskId, int]
    """Its planned tasks that were merged, with their effort."""
    rounds: int = 0
    """Passes of the gates."""
    batches: int = 1
    """Passes that its merges alone would have needed."""


def _share(usage: Usage, calls: int) -> Usage:
    """Return the usual call among several, since a price may depend on how long a call's input is."""
    charged = usage.charged_nano_usd
    return Usage(
        -(-usage.input_tokens // calls),
        usage.cached_input_tokens // calls,
        -(-usage.output_tokens // calls),
        usage.reasoning_tokens // calls,
        None if charged is None else -(-charged // calls),
    )
