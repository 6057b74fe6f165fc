"""Everything about a run that must survive a crash, and nothing else. `core.step` changes it and tells the story."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from codexteam.core.budget_scope import BudgetScope, joined
from codexteam.core.codec import StoredForm, stored
from codexteam.core.contest import Contest
from codexteam.core.effects import AttemptKind, Awaited, Clarify, Result, Work
from codexteam.core.events import (
    AcceptanceFailed,
    Answered,
    AttemptAsked,
    AttemptFailed,
    AttemptSucceeded,
    BaseCheck,
    BranchMoved,
    BudgetRefused,
    Clarified,
    Event,
    FailingCommand,
    GateCommand,
    Integrated,
    IntegrationConflicted,
    MergeRefused,
    PlanEdited,
    Rules,
    Verdict,
)
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, FindingId, GateName, RunId, TaskId
from codexteam.core.plan_graph import PlanGraph, Task, TaskStatus, graph_of
from codexteam.core.steering_events import DropRequested, RetryRequested

__all__ = [
    "HOPELESS",
    "TASK_TRANSITIONS",
    "TERMINAL",
    "Candidate",
    "FindingState",
    "FindingStatus",
    "GateRecord",
    "Hold",
    "Judging",
    "Rules",
    "RunPhase",
    "RunState",
    "Shelved",
    "Stop",
    "TaskPhase",
    "TaskState",
    "needed_budgets",
    "status_of",
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
    """Its work is in the merge train."""
    MERGED = "merged"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A task it waits for failed."""
    DROPPED = "dropped"


#: The legal moves of a task. `None` stands for any event: a slot came free, a dependency failed, the plan was edited.
TASK_TRANSITIONS: Mapping[tuple[TaskPhase, type[Event] | None], frozenset[TaskPhase]] = {
    (TaskPhase.PENDING, None): frozenset({TaskPhase.WORKING, TaskPhase.BLOCKED, TaskPhase.DROPPED, TaskPhase.ON_HOLD}),
    (TaskPhase.BLOCKED, None): frozenset({TaskPhase.PENDING, TaskPhase.DROPPED}),
    (TaskPhase.FAILED, None): frozenset({TaskPhase.PENDING, TaskPhase.DROPPED}),
    (TaskPhase.DROPPED, None): frozenset({TaskPhase.PENDING}),
    (TaskPhase.ON_HOLD, None): frozenset({TaskPhase.DROPPED, TaskPhase.PENDING}),
    (TaskPhase.QUEUED, None): frozenset({TaskPhase.INTEGRATING, TaskPhase.ON_HOLD}),
    (TaskPhase.WORKING, AttemptSucceeded): frozenset({TaskPhase.QUEUED, TaskPhase.FAILED}),
    (TaskPhase.WORKING, AttemptFailed): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
    (TaskPhase.WORKING, AttemptAsked): frozenset({TaskPhase.ASKING}),
    (TaskPhase.WORKING, PlanEdited): frozenset({TaskPhase.PENDING}),
    (TaskPhase.WORKING, BudgetRefused): frozenset({TaskPhase.FAILED}),
    (TaskPhase.WORKING, Answered): frozenset({TaskPhase.FAILED}),
    (TaskPhase.ASKING, BudgetRefused): frozenset({TaskPhase.FAILED}),
    (TaskPhase.ASKING, Answered): frozenset({TaskPhase.FAILED}),
    (TaskPhase.ASKING, PlanEdited): frozenset({TaskPhase.PENDING}),
    (TaskPhase.WORKING, RetryRequested): frozenset({TaskPhase.PENDING}),
    (TaskPhase.ASKING, RetryRequested): frozenset({TaskPhase.PENDING}),
    (TaskPhase.WORKING, DropRequested): frozenset({TaskPhase.DROPPED}),
    (TaskPhase.ASKING, DropRequested): frozenset({TaskPhase.DROPPED}),
    (TaskPhase.QUEUED, DropRequested): frozenset({TaskPhase.DROPPED}),
    (TaskPhase.ASKING, Clarified): frozenset({TaskPhase.PENDING, TaskPhase.ON_HOLD}),
    (TaskPhase.ON_HOLD, Answered): frozenset({TaskPhase.PENDING, TaskPhase.QUEUED, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, BranchMoved): frozenset({TaskPhase.MERGED, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, Integrated): frozenset({TaskPhase.MERGED, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, IntegrationConflicted): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, AcceptanceFailed): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
    (TaskPhase.INTEGRATING, MergeRefused): frozenset({TaskPhase.PENDING, TaskPhase.FAILED}),
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
    granted: tuple[str, ...] = ()
    """Paths that a person wrote into it or opened for it; guarded ones among them may be written."""
    from_findings: bool = False
    """It came with findings, not with the plan: a gate's words asked for it."""
    unchanged: bool = False
    """It is merged, and no file is another one for it."""
    said: tuple[str, ...] = ()
    """What people said to who works on it, oldest first."""
    heard: int = 0
    """How many of these the newest attempt was begun with; the others are put before its next turn."""
    model: str = ""
    """What a person wants its attempts to use in place of its role's; so is `model_effort`."""
    model_effort: str = ""
    contest: Contest | None = None
    """Several attempts at it at the same time; it has one at most, and keeps what came of it."""
    numbered: int = 0
    """The highest number that an attempt of a contest had: the one that was taken may have a lower one."""
    unserved: int = 0
    """Attempts that ended since their model did not serve them; so many models of the fallbacks are passed over."""

    @property
    def attempts(self) -> int:
        """Return how many attempts were begun."""
        return max(self.attempt, self.numbered)

    @property
    def open_contest(self) -> Contest | None:
        """Return the contest that is under way."""
        return self.contest if self.contest is not None and self.contest.is_open else None


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
    failing: tuple[FailingCommand, ...] = ()
    """The gate commands that failed on that commit, also those that failed before the run."""
    unchanged: bool = False
    """That commit's files are those of the base commit."""
    ran: int = 0
    """The gate commands that ran on that commit and checked something."""
    commands: tuple[GateCommand, ...] = ()
    """What it ran, whatever came of it."""
    confidence: str = ""
    """QA's: low, medium or high."""


@dataclass(frozen=True, slots=True)
class Judging:
    """A round of gates that is under way."""

    round: int
    commit: CommitId
    waiting: frozenset[GateName]
    asked: frozenset[GateName] = frozenset()
    """All that this round asks, whether they have answered or not."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task's work in the merge train; `core.merge_train` tells how it gets through."""

    task_id: TaskId
    attempt: int
    work: CommitId | None
    """None: nothing was to be changed."""
    number: int = 0
    """How often it was stacked."""
    onto: CommitId | None = None
    """What it is stacked on, or is being stacked on; None before."""
    commit: CommitId | None = None
    """It merged onto that."""
    changed: bool = True
    """Whether a file is another one than ahead of it."""
    rides: bool = False
    """Its commands are not run on its own tree: the next one behind it that does not ride answers for it."""
    passed: bool = False
    """Its commands, and those of all that ride on it, passed on its tree."""
    problem: IntegrationConflicted | AcceptanceFailed | MergeRefused | None = None
    """Why it cannot be merged if all that it is stacked on is; others are stacked past it."""
    most_shared: int = 0
    """The most candidates that one run may answer for; 0 is any number."""
    failed_before: bool = False
    """Its commands failed on a tree that will not be: it went to the end of the train for that."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that waits for a person."""

    question: str
    task_id: TaskId | None = None


@dataclass(frozen=True, slots=True)
class Shelved:
    """An effect whose agent was refused by a budget. It is not a failure: it is handed out again when the run continues."""

    effect: Awaited
    reason: str
    budget_scope: BudgetScope


@dataclass(frozen=True, slots=True)
class Stop:
    """The run winds down: nothing new starts."""

    result: Result
    reason: str
    exit_code: int


@stored(StoredForm(derived=("graph", "missing", "ready")))
@dataclass(frozen=True, slots=True)
class RunState:
    """One run. Mappings are never changed in place."""

    run_id: RunId
    goal: str
    rules: Rules
    phase: RunPhase = RunPhase.NEW
    base: CommitId | None = None
    tip: CommitId | None = None
    """Where the integration branch points; of a review, the commit that is judged."""
    same_tree: tuple[CommitId, ...] = ()
    """Where it pointed before, oldest first, as far as its files were the very same: what was said of these holds of it."""
    judged_before: CommitId | None = None
    """What the review before this one judged, of the same change; None for a run, and for the first review."""
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
    """Work that was accepted in its sandbox and is in no train yet."""
    contests: int = 0
    """How many tasks several attempts were made at."""
    contested: tuple[TaskId, ...] = ()
    """Those at which several are made now, in the order in which that began."""
    train: tuple[Candidate, ...] = ()
    """Work that is being merged, in the order in which it is to be."""
    extras: tuple[tuple[str, CommitId], ...] = ()
    """Work of no task that waits to be merged: (name, commit)."""
    batch: tuple[tuple[str, CommitId], ...] = ()
    """What was merged since the last round began: (task id or extra's name, the commit after it)."""
    round: int = 0
    """The newest round of gates."""
    round_limit: int = 0
    """The round after which a person is asked; moves when they approve more."""
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
    shelved: Mapping[str, Shelved] = field(default_factory=dict)
    """Key to effect: what waits for more budget than there is."""
    scout_rounds: int = 0
    """How often scouts have looked; runs of older versions did not count."""
    probes: tuple[str, ...] = ()
    """What the planner wants scouts to look at."""
    answer: str = ""
    """To a goal that is a question."""
    plan_only: bool = False
    """The goal asks for a plan alone: it waits for its user, and that is a success."""
    plan_changes: tuple[str, ...] = ()
    """How the newest plan differs from the one before it that its user sent back, a line each."""
    plan_attempts: int = 0
    plan_feedback: str = ""
    """What the next planner is to consider."""
    planner_notes: tuple[str, ...] = ()
    """What people said to the planner that the next re-plan begins with, oldest first."""
    planner_mail: tuple[str, ...] = ()
    """What people said to the planner that is at work."""
    plan_corrections: tuple[str, ...] = ()
    """What the user said of plans and of questions to them, oldest first; what is too long for all is left out."""
    base_checks: Mapping[str, BaseCheck] = field(default_factory=dict)
    """What each gate and acceptance command said of the base commit."""
    base_rounds: int = 0
    """The highest number among the checks of the base commit that have ended."""
    gates_known: bool = False
    """Whether the gate commands are among `base_checks`."""
    made_from: str = ""
    """What the sandboxes of these checks were made from."""
    left_out: tuple[str, ...] = ()
    """Commands that cannot run, and that a person said to do without."""
    red_base_taken: bool = False
    """Whether what fails on the base commit has been made tasks."""
    documented: bool = False
    documentation_tries: int = 0
    """How often the documentation writer was done with it."""
    documentation_failure: str = ""
    """Why what was to be documented is not; one line."""
    released: bool = False
    release_notes: str = ""
    """The file of the release notes; empty while there is none."""
    landed: CommitId | None = None
    landed_ref: str = ""
    landed_repositories: tuple[str, ...] = ()
    """Those of several that have the branch."""
    stop: Stop | None = None
    paused: bool = False
    result: Result | None = None
    """How this session ended; None while it continues."""
    result_reason: str = ""


def needed_budgets(state: RunState) -> tuple[BudgetScope, ...]:
    """Return what each limit would have to be for the run to continue; empty if no limit stopped it."""
    merged = sum(known.phase is TaskPhase.MERGED for known in state.tasks.values())
    left = sum(known.phase not in TERMINAL for known in state.tasks.values())
    # about a task's own budget a person is asked, where the rules say so
    ends = state.rules.on_task_budget is None
    scopes = (
        known.budget_scope
        for known in state.shelved.values()
        if ends or known.budget_scope.scope != "task" or not isinstance(known.effect, Work | Clarify)
    )
    return joined(scopes, merged=merged, left=left)


def status_of(phase: TaskPhase) -> TaskStatus:
    """Return the mark that plan.md shows for a phase."""
    match phase:
        case TaskPhase.PENDING:
            return TaskStatus.TODO
        case TaskPhase.WORKING | TaskPhase.ASKING | TaskPhase.ON_HOLD | TaskPhase.QUEUED | TaskPhase.INTEGRATING:
            return TaskStatus.RUNNING
        case TaskPhase.MERGED:
            return TaskStatus.DONE
        case TaskPhase.FAILED | TaskPhase.BLOCKED:
            return TaskStatus.FAILED
        case TaskPhase.DROPPED:
            return TaskStatus.DROPPED
