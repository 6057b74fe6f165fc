"""What happened. Each event is one line of a run's history; the same events give the same states again."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.budget_scope import BudgetScope
from codexteam.core.codec import StoredForm, stored
from codexteam.core.command_ending import Cause, Ending
from codexteam.core.contest import Trial, UnseenTests
from codexteam.core.effects import MergedCandidate
from codexteam.core.findings import Finding
from codexteam.core.ids import AGENT_GATES, CommitId, GateName, RunId, TaskId
from codexteam.core.limits import RunLimits
from codexteam.core.plan_graph import Plan
from codexteam.core.steering_events import Steering

#: The version of decisions. 2: a fix that changes nothing fails; gates do not judge the untouched base while tasks are
#: left; a fix that is not needed any more is dropped;
#: a run that changed nothing is green by a reviewer's verdict alone; a task that names what is guarded waits for a person.
#: 3: a task that names no paths is worked on alone; documentation that could not be merged is said where the run ends.
#: 4: documentation that the goal asks for and nobody wrote, as the step is off, is said where the run ends.
#: 5: work is merged by a train (`core.merge_train`) instead of one after the other.
#: 6: the train uses the sandboxes that agents leave free, and what runs fail with that a change overtook; each acceptance
#: command is checked on the base commit by itself.
DECISIONS = 6


@stored(StoredForm(missing={"decisions": 1}))
@dataclass(frozen=True, slots=True)
class Rules(RunLimits):
    """What a run is decided under; taken from the settings when it starts, and anew when it is resumed."""

    gates: tuple[GateName, ...] = AGENT_GATES
    approve: tuple[str, ...] = ()
    """`plan`, `merge`."""
    plan_attempts: int = 2
    scout: bool = True
    document: bool = True
    release: bool = True
    release_unchanged: bool = True
    """Whether there are release notes also where no file was changed."""
    decisions: int = DECISIONS
    """The version of what is decided from events: those of an older version are replayed as they were decided then."""
    guarded: tuple[str, ...] = ()
    """Globs that are guarded beside the built-in ones."""
    allow_guarded: tuple[str, ...] = ()
    """Globs of guarded paths that the user opened for every task."""
    check_base: bool = False
    """Whether gate and acceptance commands run on the base commit before anybody implements, and a run that no gate
    command checked is not green. Runs of older versions were decided without it."""
    red_base: str = "allow"
    """What gate commands that fail on the base commit lead to: `ask`, `allow`, or `fix`, which makes them tasks."""
    allow_unchecked: bool = False
    """Whether a run may be green that no gate command checked."""
    on_task_budget: str | None = None
    """What follows when a task has used its own budget: `ask`, `fail` or `extend`; None is as older versions did, which
    ended the run."""
    documentation_asked: bool = False
    """Whether the goal asks for documentation: without it the run is not green."""
    person: bool = False
    """Whether somebody sits at the terminal: what cannot run is then a question instead of the run's end."""
    review: bool = False
    """Whether a change that others made is judged as it is: nothing is planned, changed or landed."""
    fallbacks: int = 0
    """How often another model is asked for a task whose model does not serve it."""
    best_of: int = 0
    """How many attempts at a time are made at a task that is hard; with less than 2 it is always one."""
    best_of_tasks: tuple[str, ...] = ("high_risk", "failed")
    """Which tasks these are: what the plan marks `risk: high`, and what an attempt has failed of."""
    last_round: int = 0
    """The round of gates after which the session ends, whatever is left to do; 0 is none."""
    repositories: tuple[str, ...] = ()
    """The names of several repositories that the run works on, each a folder of the tree; empty where there is one. They
    get the result together, and only where it is green."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run begins; it is the first event of every run."""


@dataclass(frozen=True, slots=True)
class RunPrepared:
    """The base commit is in the hub and the integration branch points to it, or to the commit that a review judges."""

    base: CommitId
    head: CommitId | None = None
    """What a review judges."""
    judged_before: CommitId | None = None
    """What the review before this one judged, of the same change."""
    known: tuple[Finding, ...] = ()
    """What that one left open."""
    waived: tuple[Finding, ...] = ()
    """What a person waived in it."""


@dataclass(frozen=True, slots=True)
class BaseCheck:
    """What a gate or acceptance command said of the base commit; its texts are hostile."""

    command: str
    ending: Ending
    exit_code: int | None = None
    reason: str = ""
    """Why it ended so; one line."""
    cause: Cause | None = None
    """What keeps it from running."""
    missing: str = ""
    """The program, module, script or path that is missing, where it is named."""
    executed: int | None = None
    """Tests that ran; None where no known runner reported."""
    failed: int = 0
    failing: tuple[str, ...] = ()
    """Names of tests that fail, the first ones where there are many."""
    output: str = ""
    """Its last lines."""
    gate: bool = False
    """It is a gate command; else an acceptance command alone."""
    later: bool = False
    """It did not run, and can once the plan's tasks are done: what it wants is theirs to make."""


@dataclass(frozen=True, slots=True)
class BaseChecked:
    """Commands ran on the base commit."""

    number: int
    commit: CommitId
    checks: tuple[BaseCheck, ...]
    made_from: str = ""
    """What their sandbox was made from: an image, or the host."""


@dataclass(frozen=True, slots=True)
class Scouted:
    """The scouts have reported; what they found is in the store."""

    problems: tuple[str, ...] = ()
    """Scouts that gave no report, and why."""
    next_probes: tuple[str, ...] = ()
    """What they would look at next."""


@dataclass(frozen=True, slots=True)
class Planned:
    """There is a plan that holds together: the orchestrator's, or the user's plan.md."""

    plan: Plan
    by_person: bool = False
    """A person wrote it: what its tasks name is opened."""


@dataclass(frozen=True, slots=True)
class PlanningFailed:
    """The orchestrator gave no usable plan."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlanEdited:
    """The user changed plan.md while the run waited; it holds together."""

    plan: Plan
    restarted: tuple[TaskId, ...] = ()
    """Tasks at work, or waiting for a person, whose text changed: what was begun continues under the new text."""


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """An agent handed in work that holds to the policy."""

    task_id: TaskId
    attempt: int
    commit: CommitId | None
    """Its work as one commit on the attempt's base; None when it says that nothing was to be changed."""
    summary: str
    later: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    ask: str = ""
    """What a person has to approve before this is merged; empty when nothing."""


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt ended without usable work."""

    task_id: TaskId
    attempt: int
    reason: str
    """One line."""
    evidence: str = ""
    """What the next attempt gets to read."""
    final: bool = False
    """No further attempt can help: its budget is spent."""
    unserved: bool = False
    """Its model refuses, is missing or is down: another one may do it."""


@dataclass(frozen=True, slots=True)
class AttemptAsked:
    """An agent cannot continue without an answer."""

    task_id: TaskId
    attempt: int
    question: str


@dataclass(frozen=True, slots=True)
class HiddenTestsWritten:
    """QA wrote tests that several attempts at a task are held against, or could not."""

    task_id: TaskId
    number: int
    tests: UnseenTests


@dataclass(frozen=True, slots=True)
class AttemptTried:
    """What judges the work of one of several attempts has run on it."""

    task_id: TaskId
    attempt: int
    trial: Trial


@dataclass(frozen=True, slots=True)
class AttemptsJudged:
    """Another model chose among several attempts, or did not."""

    task_id: TaskId
    number: int
    attempt: int
    """The chosen one; 0 for none."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Clarified:
    """The orchestrator answered, or says that only the user can."""

    task_id: TaskId
    attempt: int
    answer: str
    ask_user: bool


@dataclass(frozen=True, slots=True)
class CandidateStacked:
    """A task's work is merged onto what is ahead of it in the train; nothing has run on that yet."""

    task_id: TaskId
    attempt: int
    number: int
    commit: CommitId
    changed: bool = True
    """Whether a file is another one than ahead of it."""


@dataclass(frozen=True, slots=True)
class CandidateAccepted:
    """Acceptance commands passed on a candidate's merged tree."""

    task_id: TaskId
    attempt: int
    number: int


@dataclass(frozen=True, slots=True)
class BranchMoved:
    """The branch points to a candidate that was accepted: its work and that of those ahead of it is merged."""

    commit: CommitId
    merges: tuple[MergedCandidate, ...]


@dataclass(frozen=True, slots=True)
class Integrated:
    """The work is merged, its commands passed, and the branch points to it. Runs of older versions have it."""

    task_id: TaskId
    attempt: int
    commit: CommitId
    changed: bool = True
    """Whether a file of the branch is another one than before."""


@dataclass(frozen=True, slots=True)
class IntegrationConflicted:
    """The work does not merge."""

    task_id: TaskId
    attempt: int
    paths: tuple[str, ...]
    messages: str
    number: int = 0
    """Of the stacking that it answers; 0 in runs of older versions."""


@dataclass(frozen=True, slots=True)
class AcceptanceFailed:
    """The work merges, but acceptance commands fail on the merged tree."""

    task_id: TaskId
    attempt: int
    evidence: str
    number: int = 0
    """Of the stacking that was checked; 0 in runs of older versions."""


@dataclass(frozen=True, slots=True)
class MergeRefused:
    """The work merges and is accepted, and a hook of the user's refuses it."""

    task_id: TaskId
    attempt: int
    reason: str
    number: int = 0
    """Of the stacking that was refused; 0 in runs of older versions."""


class Verdict(StrEnum):
    """What a gate says."""

    SHIP = "ship"
    BLOCK = "block"
    UNANSWERED = "unanswered"
    """It gave no verdict; it has not passed."""


@dataclass(frozen=True, slots=True)
class FailingCommand:
    """A gate command that fails on the judged commit, for whatever reason."""

    command: str
    reason: str
    """How it ended, and since when; one line."""
    as_before: bool = False
    """It failed in the same way before the run, so that it does not block."""


@dataclass(frozen=True, slots=True)
class GateCommand:
    """A command that a gate ran: ci_runner as we saw it ourselves, QA as its agent says."""

    command: str
    ok: bool
    how: str = ""
    """How it ended, and what was said of it; one line."""


@dataclass(frozen=True, slots=True)
class GateFinished:
    """A gate judged a commit."""

    round: int
    gate: GateName
    commit: CommitId
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    note: str = ""
    """Why it was not needed, or why it gave no answer."""
    tests_commit: CommitId | None = None
    """QA only: its tests, as a commit on the judged one, still to be merged."""
    failing: tuple[FailingCommand, ...] = ()
    """ci_runner only: the commands that fail on this commit, also those that do not block."""
    unchanged: bool = False
    """The judged commit's files are those of the base commit."""
    ran: int = 0
    """ci_runner only: the commands that ran on this commit and checked something, whatever came of it."""
    commands: tuple[GateCommand, ...] = ()
    """ci_runner and QA: what they ran, whatever came of it."""
    confidence: str = ""
    """QA only: how sure it is that the goal is met: low, medium or high."""
    risks: tuple[str, ...] = ()
    """What it warns of, also where it ships."""


@dataclass(frozen=True, slots=True)
class Replanned:
    """The orchestrator turned findings into tasks, or failed to; what it left out becomes a task anyway."""

    round: int
    plan: Plan
    """Only its new tasks, later and risks count."""


@dataclass(frozen=True, slots=True)
class ExtraIntegrated:
    """Work that belongs to no task (QA's tests, documentation) is merged, or is not and why."""

    name: str
    commit: CommitId | None
    """Where the branch points now; None when it was not merged."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Documented:
    """The documentation writer is done."""

    commit: CommitId | None
    """Its work as a commit on the branch's tip; None when nothing was to be written."""
    note: str = ""
    failure: str = ""
    """Why there is none although something was to be written: it was refused, or the writer gave no answer; one line."""


@dataclass(frozen=True, slots=True)
class Released:
    """The release notes are in the run's folder, or could not be made."""

    note: str = ""
    path: str = ""
    """Where they are; empty if there are none."""


@dataclass(frozen=True, slots=True)
class Landed:
    """The branch is in the user's repository."""

    ref: str
    commit: CommitId
    repositories: tuple[str, ...] = ()
    """Those of several that have it."""


@dataclass(frozen=True, slots=True)
class LandingFailed:
    """The branch could not be put into the user's repository."""

    reason: str


@stored(StoredForm(tag="kind", name="answer"))
@dataclass(frozen=True, slots=True)
class Answered:
    """A person answered a question or decided on an approval."""

    item: str
    text: str
    approved: bool = True


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """A limit of the whole run is reached; the next call was refused.

    Runs of older versions have it; `BudgetRefused` took its place.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class BudgetRefused:
    """A limit does not hold the next call of an agent, and nothing on its way would change that: its effect waits."""

    key: str
    """Of the effect, which is handed out again unchanged when the run continues."""
    reason: str
    budget_scope: BudgetScope = field(default_factory=BudgetScope)


@stored(StoredForm(tag="kind", name="stop"))
@dataclass(frozen=True, slots=True)
class StopRequested:
    """A person (or the surroundings) wants the run to end; attempts that run may end first."""

    reason: str
    exit_code: int = 130


@stored(StoredForm(tag="kind", name="pause"))
@dataclass(frozen=True, slots=True)
class PauseRequested:
    """No new agents until `Continued`."""


@stored(StoredForm(tag="kind", name="continue"))
@dataclass(frozen=True, slots=True)
class Continued:
    """The run continues: a pause ended, or `resume` was called."""

    rules: Rules | None = None
    """The limits from here on, where `resume` found others than before."""


@stored(StoredForm(tag="kind", name="fork", names={"source": "from"}))
@dataclass(frozen=True, slots=True)
class Forked:
    """A run is made of another one's first events; what those left in flight begins anew when it continues."""

    source: RunId
    event: int
    """The last one that is taken over."""
    rewound: bool = False
    """This run takes the other one's place."""


DecidedEvent: TypeAlias = (
    RunStarted
    | RunPrepared
    | BaseChecked
    | Scouted
    | Planned
    | PlanningFailed
    | PlanEdited
    | AttemptSucceeded
    | AttemptFailed
    | AttemptAsked
    | HiddenTestsWritten
    | AttemptTried
    | AttemptsJudged
    | Clarified
    | CandidateStacked
    | CandidateAccepted
    | BranchMoved
    | Integrated
    | IntegrationConflicted
    | AcceptanceFailed
    | MergeRefused
    | GateFinished
    | Replanned
    | ExtraIntegrated
    | Documented
    | Released
    | Landed
    | LandingFailed
    | Answered
    | BudgetSpent
    | BudgetRefused
    | StopRequested
    | PauseRequested
    | Continued
    | Forked
)

Event: TypeAlias = DecidedEvent | Steering
