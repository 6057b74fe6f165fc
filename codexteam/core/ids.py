"""Names of things. They are computed, never drawn, so that an effect can be repeated under the same name."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, TypeAlias

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
JSONObject: TypeAlias = dict[str, JSONValue]


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
    """Return the integration branch of a run, without `refs/heads/`."""
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
    SETUP = "setup"
    LOOKUP = "lookup"
    HIDDEN_TESTS = "hidden_tests"
    JUDGE = "judge"


#: Agents whom a task's budget pays, and who do not work on it: they have ordinals of their own.
BESIDE_A_TASK = frozenset({Purpose.LOOKUP, Purpose.HIDDEN_TESTS, Purpose.JUDGE})


class GateName(StrEnum):
    """The gates, by the roles that hold them; a scan is nobody's role."""

    CI = "ci_runner"
    SCAN = "scan"
    REVIEW = "reviewer"
    QA = "qa_test_author"
    SECURITY = "security_reviewer"

    @property
    def purpose(self) -> Purpose | None:
        """What its agent is called for: the purpose of the same name; None where no model is asked."""
        return None if self is GateName.SCAN else Purpose[self.name]


#: The gates that agents hold. Runs that were begun before there was a scan had these.
AGENT_GATES = tuple(gate for gate in GateName if gate is not GateName.SCAN)


@dataclass(frozen=True, slots=True, order=True)
class AgentKey:
    """The identity of one agent in a run.

    `attempt` counts from 1. For agents at work on a task it is the task's attempt; for the others it is their ordinal among
    the agents of that purpose in the run (the second scout, the third review), so that a key is never used twice. Who
    answers a question of an agent at work, writes hidden tests or chooses among attempts has the task whose budget pays,
    and such an ordinal.
    """

    run_id: RunId
    role: str
    purpose: Purpose
    task_id: str
    """A task's id, or the empty string."""
    attempt: int

    def __str__(self) -> str:
        """Return a short name for messages and logs, such as `implementer T3.1` or `explorer scout.2`."""
        return f"{self.role} {self.work}"

    @property
    def work(self) -> str:
        """What its work is called: `T1.2`, `document.1`, `qa.3`."""
        return f"{self.work_task or self.purpose.value}.{self.attempt}"

    @property
    def work_task(self) -> str:
        """The id of the task that it works on, or the empty string."""
        return "" if self.purpose in BESIDE_A_TASK else self.task_id


@dataclass(frozen=True, slots=True, order=True)
class CallKey:
    """The identity of one model call: an agent and its turn, counted from 1.

    A compaction has the purpose of its own call (`compact`) and the agent's turn.
    """

    agent: AgentKey
    turn: int
    purpose: Purpose

    def metadata(self) -> dict[str, str]:
        """Return the request's `metadata`: all strings, as the Responses API requires."""
        return {
            "run_id": self.agent.run_id,
            "role": self.agent.role,
            "purpose": self.purpose.value,
            "task_id": self.agent.task_id,
            "attempt": str(self.agent.attempt),
            "turn": str(self.turn),
        }

    def idempotency_key(self, model: str) -> str:
        """Return the same key for every try of the same turn, and another for every other turn or model.

        A turn that one model does not serve may be asked of another, often at the same service: under the same key that
        would be taken for the first request once more, with another body.
        """
        fields = self.metadata()
        # an agent may compact more than once for different purposes of its own: both purposes are in the key
        return "codexteam-" + "-".join([*fields.values(), self.agent.purpose.value, model]).replace(" ", "_")
