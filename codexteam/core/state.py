"""Everything about a run that must survive a crash, and nothing else. Changed by `core.step` alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from codexteam.core.effects import AttemptKind, Awaited, Result
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    Clarified,
    Event,
    Integrated,
    IntegrationConflicted,
    Verdict,
)
from codexteam.core.findings import Finding, GateName
from codexteam.core.ids import CommitId, FindingId, RunId, TaskId
from codexteam.core.plan import Task
from codexteam.core.plan_graph import PlanGraph, graph_of
from codexteam.core.rules import Rules

__all__ = [
    "HOPELESS",
    "TASK_TRANSITIONS",
    "TERMINAL",
    "FindingState",
    "FindingStatus",
    "GateRecord",
    "Hold",
    "Judging",
    "Rules",
    "RunPhase",
    "RunState",
    "Stop",
    "TaskPhase",
    "TaskState",
    "task_diagram",
]


class RunPhase(StrEnum):
    """Where a run is."""

    NEW = "new"
    PREPARING = "preparing"
    SCOUTING = "scouting"
    PLANNING = "planning"
    APPROVING = "approving"
    """The plan waits for a person."""
    WORKING = "working"
    DOCUMENTING = "documenting"
    RELEASING = "releasing"
    LANDING = "landing"
    FINISHED = "finished"


class TaskPhase(StrEnum):
    """Where a task is."""

    PENDING = "pending"
    """Waits for dependencies, a slot or a free write scope."""
    WORKING = "working"
    ASKING = "asking"
    """Its question is with the orchestrator."""
    ON_HOLD = "on_hold"
    """Waits for a person."""
    QUEUED = "queued"
    """Its work is accepted and waits to be merged."""
    INTEGRATING = "integrating"
    MERGED = "merged"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A task it waits for failed."""
    DROPPED = "dropped"


#: The legal moves of a task. `None` stands for any event: a slot came free, a dependency failed, the plan was edited.
TASK_TRANSITIONS: Mapping[tuple[TaskPhase, type[Event] | None], frozenset[TaskPhase]] = {
    (TaskPhase.PENDING, None): frozenset({TaskPhase.WORKING, TaskPhase.BLOCKED, TaskPhase.DROPPED}),
    (TaskPhase.BLOCKED, None): frozenset({TaskPhase.PENDING, TaskPhase.DROPPED}),
    (TaskPhase.FAILED, None): frozenset({TaskPhase.PENDING, TaskPhase.DROPPED}),
    (TaskPhase.DROPPED, None): frozenset({TaskPhase.PENDING}),
    (TaskPhase.ON_HOLD, None): frozenset({TaskPhase.DROPPED}),
    (TaskPhase.QUEUED, None): frozenset({TaskPhase.INTEGRATING, TaskPhase.ON_HOLD}),
    (TaskPhase.WORKING, AttemptSucceeded): frozenset({TaskPhase.QUEUED}),
    (TaskPhase.WORKING, AttemptFailed): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
    (TaskPhase.WORKING, AttemptAsked): frozenset({TaskPhase.ASKING}),
    (TaskPhase.ASKING, Clarified): frozenset({TaskPhase.PENDING, TaskPhase.ON_HOLD}),
    (TaskPhase.ON_HOLD, Answered): frozenset({TaskPhase.PENDING, TaskPhase.QUEUED, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, Integrated): frozenset({TaskPhase.MERGED}),
    (TaskPhase.INTEGRATING, IntegrationConflicted): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, AcceptanceFailed): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
}

#: Phases in which a task gives its dependents nothing to build on.
HOPELESS = frozenset({TaskPhase.FAILED, TaskPhase.BLOCKED, TaskPhase.DROPPED})

#: Phases in which a task is over.
TERMINAL = frozenset({TaskPhase.MERGED, TaskPhase.FAILED, TaskPhase.BLOCKED, TaskPhase.DROPPED})


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task and how far it is."""

    task: Task
    phase: TaskPhase = TaskPhase.PENDING
    attempt: int = 0
    """The newest attempt; 0 before the first."""
    failures: int = 0
    """Attempts that count against the limit."""
    resolves: int = 0
    kind: AttemptKind = AttemptKind.IMPLEMENT
    """Of the newest or the next attempt."""
    commit: CommitId | None = None
    """Accepted work that waits to be merged."""
    evidence: str = ""
    """What the next attempt gets to read."""
    reason: str = ""
    """Why it failed, is blocked or waits; one line."""
    restore_attempt: int | None = None
    round: int = 0
    """The round of gates that judges its merge; 0 before."""
    summary: str = ""
    ask: str = ""
    """What a person has to approve before its work is merged."""


class FindingStatus(StrEnum):
    """What became of a finding."""

    OPEN = "open"
    FIXED = "fixed"
    WAIVED = "waived"
    """A person decided that it may stay."""
    LATER = "later"
    """It does not block; it is listed under Later."""


@dataclass(frozen=True, slots=True)
class FindingState:
    """A finding over the rounds."""

    finding: Finding
    """With its id."""
    fingerprint: str
    status: FindingStatus
    first_round: int
    last_round: int
    times: int = 1
    """Rounds in which it was said."""


@dataclass(frozen=True, slots=True)
class GateRecord:
    """A gate's newest verdict, and the commit that it is on."""

    commit: CommitId
    verdict: Verdict
    unanswered: int = 0
    """Times in a row that it gave no answer."""
    judged: CommitId | None = None
    """The commit of its newest real verdict: what came after has not been judged. None before its first."""


@dataclass(frozen=True, slots=True)
class Judging:
    """A round of gates that is under way."""

    round: int
    commit: CommitId
    waiting: frozenset[GateName]
    asked: frozenset[GateName] = frozenset()
    """All that this round asks, whether they have answered or not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that waits for a person."""

    question: str
    task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The run winds down: nothing new starts."""

    result: Result
    reason: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class RunState:
    """One run. Mappings are never changed in place."""

    run_id: RunId
    goal: str
    rules: Rules
    phase: RunPhase = RunPhase.NEW
    base: CommitId | None = None
    tip: CommitId | None = None
    """Where the integration branch points."""
    summary: str = ""
    tasks: Mapping[TaskId, TaskState] = field(default_factory=dict)
    """In plan order."""
    graph: PlanGraph = field(default_factory=lambda: graph_of(()))
    """Follows from the tasks; not stored."""
    missing: Mapping[TaskId, int] = field(default_factory=dict)
    """Pending task to the number of its dependencies that are not merged; not stored."""
    ready: tuple[TaskId, ...] = ()
    """Pending tasks whose dependencies are merged, best first; not stored."""
    merge_queue: tuple[TaskId, ...] = ()
    extras: tuple[tuple[str, CommitId], ...] = ()
    """Work of no task that waits to be merged: (name, commit)."""
    batch: tuple[tuple[str, CommitId], ...] = ()
    """What was merged since the last round began: (task id or extra's name, the commit after it)."""
    round: int = 0
    """The newest round of gates."""
    round_limit: int = 0
    """The round after which a person is asked; moves when one says to go on."""
    judging: Judging | None = None
    gates: Mapping[GateName, GateRecord] = field(default_factory=dict)
    findings: Mapping[FindingId, FindingState] = field(default_factory=dict)
    weights: tuple[int, ...] = ()
    """Weighted open findings after each round since a person last looked."""
    later: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    holds: Mapping[str, Hold] = field(default_factory=dict)
    in_flight: Mapping[str, Awaited] = field(default_factory=dict)
    """Key to effect: handed out and not yet answered."""
    plan_attempts: int = 0
    plan_feedback: str = ""
    """What the next planner is told."""
    plan_corrections: tuple[str, ...] = ()
    """What the user said of plans and of questions to them, oldest first; what is too long for all is left out."""
    documented: bool = False
    released: bool = False
    landed: CommitId | None = None
    landed_ref: str = ""
    stop: Stop | None = None
    paused: bool = False
    result: Result | None = None
    """How this sitting ended; None while it goes on."""
    result_reason: str = ""


def task_diagram() -> str:
    """Draw the life of a task from the table, as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for (phase, event), targets in TASK_TRANSITIONS.items():
        label = event.__name__ if event else "scheduled"
        lines += [f"    {phase.value} --> {target.value}: {label}" for target in sorted(targets)]
    return "\n".join(lines) + "\n"
