"""Names of things. They are computed, never drawn, so that an effect can be repeated under the same name."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

RunId = NewType("RunId", str)
"""Such as `20261121-0231-7f3a`: UTC date, time and four hex digits."""

TaskId = NewType("TaskId", str)
"""`T1`, `T2`, ...; never reused within a run."""

FindingId = NewType("FindingId", str)
"""`F1`, `F2`, ...; never reused within a run."""

CommitId = NewType("CommitId", str)
"""A full-length lower-case hexadecimal object id of a commit."""

TreeId = NewType("TreeId", str)
"""A full-length lower-case hexadecimal object id of a tree."""

#: Every branch that codexteam makes in the user's repository lies under this prefix.
BRANCH_PREFIX = "codexteam/"


def branch_name(run_id: RunId) -> str:
    """Give the integration branch of a run, without `refs/heads/`."""
    return f"{BRANCH_PREFIX}{run_id}"


class Purpose(StrEnum):
    """Why a model is called; the `purpose` of a request's metadata."""

    SCOUT = "scout"
    PLAN = "plan"
    REPLAN = "replan"
    IMPLEMENT = "implement"
    RESOLVE = "resolve"
    CLARIFY = "clarify"
    CI = "ci"
    REVIEW = "review"
    SECURITY = "security"
    QA = "qa"
    RELEASE = "release"
    DOCUMENT = "document"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True, order=True)
class AgentKey:
    """The identity of one agent in a run.

    `attempt` counts from 1. For agents of a task it is the task's attempt; for the others it is their ordinal among
    the agents of that purpose in the run (the second scout, the third review), so that a key is never used twice.
    """

    run_id: RunId
    role: str
    purpose: Purpose
    task_id: str
    """A task's id, or the empty string."""
    attempt: int

    def __str__(self) -> str:
        """Give a short name for messages and logs, such as `implementer T3.1` or `explorer scout.2`."""
        what = self.task_id or self.purpose.value
        return f"{self.role} {what}.{self.attempt}"


@dataclass(frozen=True, slots=True, order=True)
class CallKey:
    """The identity of one model call: an agent and its turn, counted from 1.

    A compaction has the purpose of its own call (`compact`) and the agent's turn.
    """

    agent: AgentKey
    turn: int
    purpose: Purpose

    def metadata(self) -> dict[str, str]:
        """Give the request's `metadata`: all strings, as the Responses API requires."""
        return {
            "run_id": self.agent.run_id,
            "role": self.agent.role,
            "purpose": self.purpose.value,
            "task_id": self.agent.task_id,
            "attempt": str(self.agent.attempt),
            "turn": str(self.turn),
        }

    def idempotency_key(self) -> str:
        """Give the same key for every try of the same turn, and another for every other turn."""
        fields = self.metadata()
        # an agent may compact more than once for different purposes of its own: both purposes are in the key
        return "codexteam-" + "-".join([*fields.values(), self.agent.purpose.value]).replace(" ", "_")
