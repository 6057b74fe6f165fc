"""What to do. Every effect is safe to repeat under its `key`, and answers with an event unless it says otherwise."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from codexteam.core.findings import Finding, GateName
from codexteam.core.ids import CommitId, TaskId


class AttemptKind(StrEnum):
    """What an attempt is asked to do."""

    IMPLEMENT = "implement"
    RESOLVE = "resolve"
    """Do the same work again on a base with which it conflicted."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch the base commit into the hub and start the baseline. -> RunPrepared."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return "prepare"


@dataclass(frozen=True, slots=True)
class Scout:
    """Let explorers look at the repository. -> Scouted."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return "scout"


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Let the orchestrator plan. -> Planned or PlanningFailed."""

    attempt: int
    feedback: str = ""
    """Why the plan before did not hold, or what the user said of it."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"plan.{self.attempt}"


@dataclass(frozen=True, slots=True)
class Work:
    """Let an agent try a task. -> AttemptSucceeded, AttemptFailed or AttemptAsked."""

    task_id: TaskId
    attempt: int
    kind: AttemptKind
    base: CommitId
    evidence: str = ""
    """What earlier attempts left: why they failed, what conflicted, what was answered."""
    restore_attempt: int | None = None
    """The attempt whose workspace is put in place first; its work goes on."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"work.{self.task_id}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class Clarify:
    """Let the orchestrator answer a worker's question. -> Clarified."""

    task_id: TaskId
    attempt: int
    question: str

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"clarify.{self.task_id}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class Integrate:
    """Merge, accept on the merged tree, move the branch. -> Integrated, IntegrationConflicted or AcceptanceFailed."""

    task_id: TaskId
    attempt: int
    commit: CommitId | None
    onto: CommitId

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"integrate.{self.task_id}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class IntegrateExtra:
    """Merge work that belongs to no task when the gate commands still pass with it. -> ExtraIntegrated."""

    name: str
    """`qa.<round>` or `documentation`."""
    commit: CommitId
    onto: CommitId

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"integrate.{self.name}"


@dataclass(frozen=True, slots=True)
class RunGate:
    """Judge a commit. -> GateFinished."""

    round: int
    gate: GateName
    commit: CommitId
    since: CommitId
    """The commit that this gate's last verdict was on; the base in the first round."""
    merges: tuple[tuple[str, CommitId], ...]
    """What this round judges, oldest first, for bisecting: task id or extra's name, and the commit after it."""
    open_findings: tuple[Finding, ...] = ()
    """What earlier rounds found and this one should see fixed."""
    only_tests_since: bool = False
    """Nothing but QA's own tests came since its last verdict."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"gate.{self.round}.{self.gate.value}"


@dataclass(frozen=True, slots=True)
class Replan:
    """Let the orchestrator turn findings into tasks. -> Replanned."""

    round: int
    findings: tuple[Finding, ...]

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"replan.{self.round}"


@dataclass(frozen=True, slots=True)
class Document:
    """Let the documentation writer write what the goal asked for. -> Documented."""

    commit: CommitId

    @property
    def key(self) -> str:
        """Name this effect."""
        return "document"


@dataclass(frozen=True, slots=True)
class Release:
    """Let the release manager write its notes into the run's folder. -> Released."""

    commit: CommitId

    @property
    def key(self) -> str:
        """Name this effect."""
        return "release"


@dataclass(frozen=True, slots=True)
class Land:
    """Put the branch into the user's repository. -> Landed or LandingFailed."""

    commit: CommitId

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"land.{self.commit}"


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Put a question or an approval into the inbox. No event: `Answered` comes when somebody answers."""

    item: str
    """`plan`, `merge.T3.1`, `question.T3.1`, `rounds.5`, ..."""
    question: str
    task_id: TaskId | None = None

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"ask.{self.item}"


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Write plan.md as the state has it. No event."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return "write-plan"


class Result(StrEnum):
    """How a run, or one sitting of it, ends."""

    GREEN = "green"
    NOT_GREEN = "not_green"
    LIMIT = "limit"
    """Budget or a limit is reached."""
    WAITING = "waiting"
    """Only a person can let it go on."""
    LANDING_FAILED = "landing_failed"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> int:
        """Give the exit code of the command (DESIGN of the command line); an interruption brings its own."""
        codes = {"green": 0, "not_green": 3, "limit": 4, "waiting": 5, "landing_failed": 7, "interrupted": 130}
        return codes[self.value]


@dataclass(frozen=True, slots=True)
class Finish:
    """End this sitting. No event; nothing else is in flight."""

    result: Result
    reason: str
    exit_code: int

    @property
    def key(self) -> str:
        """Name this effect."""
        return "finish"


Effect: TypeAlias = (
    Prepare
    | Scout
    | MakePlan
    | Work
    | Clarify
    | Integrate
    | IntegrateExtra
    | RunGate
    | Replan
    | Document
    | Release
    | Land
    | AskPerson
    | WritePlan
    | Finish
)
"""What `step` hands out."""

Awaited: TypeAlias = (
    Prepare
    | Scout
    | MakePlan
    | Work
    | Clarify
    | Integrate
    | IntegrateExtra
    | RunGate
    | Replan
    | Document
    | Release
    | Land
)
"""Effects that answer with an event; until it comes they are in flight, and `resume` hands them out again."""
