"""What happened. Each event is one line of a run's history; the same events give the same states again."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.findings import Finding, GateName
from codexteam.core.ids import CommitId, TaskId
from codexteam.core.plan import Plan
from codexteam.core.rules import Rules


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run begins; it is the first event of every run."""


@dataclass(frozen=True, slots=True)
class RunPrepared:
    """The base commit is in the hub and the integration branch points to it."""

    base: CommitId


@dataclass(frozen=True, slots=True)
class Scouted:
    """The scouts have reported; what they found is in the store."""

    problems: tuple[str, ...] = ()
    """Scouts that gave no report, and why."""


@dataclass(frozen=True, slots=True)
class Planned:
    """There is a plan that holds together: the orchestrator's, or the user's plan.md."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class PlanningFailed:
    """The orchestrator gave no usable plan."""

    reason: str


@dataclass(frozen=True, slots=True)
class PlanEdited:
    """The user changed plan.md while the run waited; it holds together."""

    plan: Plan


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


@dataclass(frozen=True, slots=True)
class AttemptAsked:
    """An agent cannot go on without an answer."""

    task_id: TaskId
    attempt: int
    question: str


@dataclass(frozen=True, slots=True)
class Clarified:
    """The orchestrator answered, or says that only the user can."""

    task_id: TaskId
    attempt: int
    answer: str
    ask_user: bool


@dataclass(frozen=True, slots=True)
class Integrated:
    """The work is merged, its acceptance commands passed on the merged tree, and the branch points to it."""

    task_id: TaskId
    attempt: int
    commit: CommitId


@dataclass(frozen=True, slots=True)
class IntegrationConflicted:
    """The work does not merge."""

    task_id: TaskId
    attempt: int
    paths: tuple[str, ...]
    messages: str


@dataclass(frozen=True, slots=True)
class AcceptanceFailed:
    """The work merges, but its acceptance commands fail on the merged tree."""

    task_id: TaskId
    attempt: int
    evidence: str


class Verdict(StrEnum):
    """What a gate says."""

    SHIP = "ship"
    BLOCK = "block"
    UNANSWERED = "unanswered"
    """It gave no verdict; it has not passed."""


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


@dataclass(frozen=True, slots=True)
class Released:
    """The release notes are in the run's folder, or could not be made."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class Landed:
    """The branch is in the user's repository."""

    ref: str
    commit: CommitId


@dataclass(frozen=True, slots=True)
class LandingFailed:
    """The branch could not be put into the user's repository."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A person answered a question or decided on an approval."""

    item: str
    text: str
    approved: bool = True


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """A limit of the whole run is reached; the next call was refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A person (or the surroundings) wants the run to end; attempts that run may end first."""

    reason: str
    exit_code: int = 130


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """No new agents until `Continued`."""


@dataclass(frozen=True, slots=True)
class Continued:
    """The run goes on: a pause ended, or `resume` was called."""

    rules: Rules | None = None
    """The limits from here on, where `resume` found others than before."""


Event: TypeAlias = (
    RunStarted
    | RunPrepared
    | Scouted
    | Planned
    | PlanningFailed
    | PlanEdited
    | AttemptSucceeded
    | AttemptFailed
    | AttemptAsked
    | Clarified
    | Integrated
    | IntegrationConflicted
    | AcceptanceFailed
    | GateFinished
    | Replanned
    | ExtraIntegrated
    | Documented
    | Released
    | Landed
    | LandingFailed
    | Answered
    | BudgetSpent
    | StopRequested
    | PauseRequested
    | Continued
)
