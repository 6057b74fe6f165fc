"""What agents answer: a dataclass for each contract, field by field as its schema in `agent/contracts` has it.

An answer is read into one of these as soon as it fits its contract. It is the agent's word, not yet a fact.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.codec import StoredForm, stored
from codexteam.core.events import Verdict
from codexteam.core.findings import Category, Severity
from codexteam.core.plan_graph import OwedTests, TaskRisk

_BARE = StoredForm(tag="")


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ScoutedFile:
    """What a scout says of one file."""

    path: str
    purpose: str
    symbols: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class CiCommand:
    """A local command that mirrors a step of CI."""

    file: str
    """Where the step stands."""
    command: str


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ScoutReport:
    """What a scout found (`scout_report`)."""

    summary: str
    files: tuple[ScoutedFile, ...]
    ci: tuple[CiCommand, ...]
    next_probes: tuple[str, ...]
    questions: tuple[str, ...] | None = None
    """Of the requirement analyst: what only the user can answer."""


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class PlannedAcceptance:
    """A criterion of a planned task."""

    criterion: str
    command: str | None


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task as the orchestrator wrote it; nothing of it is checked yet."""

    id: str
    title: str
    description: str
    role: str
    deps: tuple[str, ...]
    paths: tuple[str, ...]
    acceptance: tuple[PlannedAcceptance, ...]
    effort: int
    fixes: tuple[str, ...]
    tests: OwedTests | None = None
    """What it owes in tests; None: what its paths say."""
    risk: TaskRisk | None = None


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """The orchestrator's plan (`plan`)."""

    summary: str
    tasks: tuple[PlannedTask, ...]
    later: tuple[str, ...]
    risks: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str | None = None
    """To a goal that only asks a question."""
    plan_only: bool | None = None
    """The goal asks for a plan, and for nothing to be done."""
    probes: tuple[str, ...] | None = None
    """What scouts are to look at before there can be a plan."""


class WorkStatus(StrEnum):
    """What an agent says of its task."""

    DONE = "done"
    BLOCKED = "blocked"
    NEEDS_CLARIFICATION = "needs_clarification"


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ReportedCommand:
    """A command that an agent says it ran."""

    command: str
    exit_code: int | None
    note: str


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class TaskReport:
    """What an agent that writes says of its work (`task_report`)."""

    status: WorkStatus
    summary: str
    commands: tuple[ReportedCommand, ...]
    question: str | None
    later: tuple[str, ...]
    risks: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ReportedFinding:
    """A finding as a gate's agent wrote it."""

    title: str
    detail: str
    severity: Severity
    category: Category
    file: str | None
    line: int | None
    suggestion: str | None
    paths: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class Review:
    """A reviewer's or security reviewer's verdict (`review`)."""

    verdict: Verdict
    """Ship or block."""
    summary: str
    findings: tuple[ReportedFinding, ...]
    risks: tuple[str, ...]


class Confidence(StrEnum):
    """How sure QA is of its verdict."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class QaReport:
    """What QA found, and the tests it wrote (`qa_report`)."""

    summary: str
    tests_changed: tuple[str, ...]
    commands: tuple[ReportedCommand, ...]
    confidence: Confidence
    findings: tuple[ReportedFinding, ...]
    risks: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class CiAnalysis:
    """Why gate commands fail (`ci_analysis`)."""

    summary: str
    findings: tuple[ReportedFinding, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class Clarification:
    """The orchestrator's answer to a question of an agent (`clarification`)."""

    answer: str
    ask_user: bool


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ReleaseNotes:
    """What the release manager wrote (`release_notes`)."""

    user_notes: str
    internal_notes: str
    rollout: tuple[str, ...]
    rollback: tuple[str, ...]
    checklist: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class SetupScript:
    """A script that may make a repository's tests run (`setup_script`)."""

    summary: str
    script: str
    test_command: str


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class HiddenTestsReport:
    """Tests that decide between several attempts at a task (`hidden_tests`)."""

    summary: str
    command: str
    tests_changed: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class AttemptChoice:
    """Which of several changes is to be merged (`attempt_choice`)."""

    choice: str
    reason: str


RoleAnswer: TypeAlias = (
    ScoutReport
    | PlanAnswer
    | TaskReport
    | Review
    | QaReport
    | CiAnalysis
    | Clarification
    | ReleaseNotes
    | SetupScript
    | HiddenTestsReport
    | AttemptChoice
)
