"""What to do. Every effect is safe to repeat under its `key`, and answers with an event unless it says otherwise.

Whatever is to be known of a kind of effect beside its fields is its line in `EFFECTS`: what the journal tells when it
starts, the words for it, what the run does meanwhile, whether it keeps an agent busy and whether it changes what there is
to judge. `dispatch`, the facts, the progress that people see and `codexteam/README.md` all read that table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from codexteam.core.contest import Contender, UnseenTests
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, GateName, TaskId


class AttemptKind(StrEnum):
    """What an attempt is asked to do."""

    IMPLEMENT = "implement"
    RESOLVE = "resolve"
    """Do the same work again on a base with which it conflicted."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch the base commit into the hub. -> RunPrepared."""

    @property
    def key(self) -> str:
        return "prepare"


@dataclass(frozen=True, slots=True)
class CheckBase:
    """Run commands on the base commit, before anybody is paid to change it. -> BaseChecked."""

    number: int
    """Of the check, from 1: commands that come with later tasks are checked in their turn."""
    commit: CommitId
    acceptance: tuple[str, ...]
    gates: bool
    """Whether the gate commands run as well."""

    @property
    def key(self) -> str:
        """Name this effect."""
        return f"check-base.{self.number}"


@dataclass(frozen=True, slots=True)
class Scout:
    """Let explorers look at the repository. -> Scouted."""

    number: int = 1
    """Of the round, from 1."""
    areas: tuple[str, ...] = ()
    """What the planner asked for; empty in a first round, which looks everywhere."""

    @property
    def key(self) -> str:
        return "scout" if self.number == 1 else f"scout.{self.number}"


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Let the orchestrator plan. -> Planned or PlanningFailed."""

    attempt: int
    feedback: str = ""
    """Why the plan before did not hold, or what the user said of it."""

    @property
    def key(self) -> str:
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
    """The attempt whose workspace is restored first; its work continues."""
    place: int = 0
    """Its place among several attempts at the same time, from 1; 0 where it is the only one."""

    @property
    def key(self) -> str:
        return f"work.{self.task_id}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class WriteHiddenTests:
    """Let QA write tests of a task that several attempts are made at, none of which sees them. -> HiddenTestsWritten."""

    task_id: TaskId
    number: int
    """Of the contest."""
    base: CommitId

    @property
    def key(self) -> str:
        return f"hidden-tests.{self.task_id}.{self.number}"


@dataclass(frozen=True, slots=True)
class TryAttempt:
    """Run what judges one of several attempts on its work: acceptance, hidden tests, scan. -> AttemptTried."""

    task_id: TaskId
    attempt: int
    base: CommitId
    commit: CommitId | None
    """None: it changed nothing."""
    tests: UnseenTests

    @property
    def key(self) -> str:
        return f"try.{self.task_id}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class JudgeAttempts:
    """Let another model choose among works of which as much failed, and that are of a size. -> AttemptsJudged."""

    task_id: TaskId
    number: int
    """Of the contest."""
    base: CommitId
    contenders: tuple[Contender, ...]

    @property
    def key(self) -> str:
        return f"judge.{self.task_id}.{self.number}"


@dataclass(frozen=True, slots=True)
class Clarify:
    """Let the orchestrator answer a worker's question. -> Clarified."""

    task_id: TaskId
    attempt: int
    question: str

    @property
    def key(self) -> str:
        return f"clarify.{self.task_id}.{self.attempt}"


@dataclass(frozen=True, slots=True)
class StackCandidate:
    """Merge a task's work onto what is ahead of it in the merge train. -> CandidateStacked or IntegrationConflicted."""

    task_id: TaskId
    attempt: int
    number: int
    """How often this attempt has been stacked, this time included."""
    work: CommitId
    onto: CommitId
    behind: tuple[TaskId, ...] = ()
    """Tasks whose work is in `onto` and not yet in the branch."""

    @property
    def key(self) -> str:
        return f"stack.{self.task_id}.{self.attempt}.{self.number}"


@dataclass(frozen=True, slots=True)
class CheckCandidate:
    """Run acceptance commands on a candidate's merged tree. -> CandidateAccepted or AcceptanceFailed."""

    task_id: TaskId
    attempt: int
    number: int
    commit: CommitId
    riders: tuple[TaskId, ...] = ()
    """Tasks directly ahead whose commands are among its own: this run is theirs too."""

    @property
    def key(self) -> str:
        return f"check.{self.task_id}.{self.attempt}.{self.number}"


@dataclass(frozen=True, slots=True)
class MergedCandidate:
    """A task's work as it is merged."""

    task_id: TaskId
    attempt: int
    commit: CommitId
    changed: bool = True
    """Whether a file of the branch is another one than before."""
    number: int = 0
    """How often this attempt was stacked; 0 if an older version merged it."""


@dataclass(frozen=True, slots=True)
class AdvanceBranch:
    """Move the integration branch to a candidate that was accepted. -> BranchMoved or MergeRefused."""

    commit: CommitId
    onto: CommitId
    """Where the branch points before."""
    merges: tuple[MergedCandidate, ...]
    """What is merged by it, oldest first."""

    @property
    def key(self) -> str:
        return f"advance.{self.commit}"


@dataclass(frozen=True, slots=True)
class Integrate:
    """Merge as older versions did. -> Integrated, IntegrationConflicted, AcceptanceFailed or MergeRefused."""

    task_id: TaskId
    attempt: int
    commit: CommitId | None
    onto: CommitId

    @property
    def key(self) -> str:
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
        return f"gate.{self.round}.{self.gate.value}"


@dataclass(frozen=True, slots=True)
class Replan:
    """Let the orchestrator turn findings into tasks. -> Replanned."""

    round: int
    findings: tuple[Finding, ...]
    said: tuple[str, ...] = ()
    """What people said to the planner since it last planned."""

    @property
    def key(self) -> str:
        return f"replan.{self.round}"


@dataclass(frozen=True, slots=True)
class Document:
    """Let the documentation writer write what the goal asked for. -> Documented."""

    commit: CommitId
    number: int = 1
    """Counted from 1: it is tried again when a run continues that ended for lack of it."""

    @property
    def key(self) -> str:
        return "document" if self.number == 1 else f"document.{self.number}"


@dataclass(frozen=True, slots=True)
class Release:
    """Let the release manager write its notes into the run's folder. -> Released."""

    commit: CommitId

    @property
    def key(self) -> str:
        return "release"


@dataclass(frozen=True, slots=True)
class Land:
    """Put the branch into the user's repository. -> Landed or LandingFailed."""

    commit: CommitId

    @property
    def key(self) -> str:
        return f"land.{self.commit}"


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Put a question or an approval into the inbox. No event: `Answered` comes when somebody answers."""

    item: str
    """`plan`, `merge.T3.1`, `guarded.T3`, `question.T3.1`, `rounds.5`, ..."""
    question: str
    task_id: TaskId | None = None

    @property
    def key(self) -> str:
        return f"ask.{self.item}"


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Write plan.md as the state has it. No event."""

    @property
    def key(self) -> str:
        return "write-plan"


class Result(StrEnum):
    """How a run, or one session of it, ends."""

    GREEN = "green"
    NOT_GREEN = "not_green"
    LIMIT = "limit"
    """Budget or a limit is reached."""
    WAITING = "waiting"
    """It needs a person to continue."""
    LANDING_FAILED = "landing_failed"
    CANNOT_RUN = "cannot_run"
    """A command that is to check the work cannot run, whatever the work is."""
    INTERRUPTED = "interrupted"
    ANSWERED = "answered"
    """The goal was a question: it is answered, and nothing was to be changed."""

    @property
    def exit_code(self) -> int:
        """Return the exit code of the command (DESIGN of the command line); an interruption brings its own."""
        codes = {"green": 0, "not_green": 3, "limit": 4, "waiting": 5, "cannot_run": 6, "landing_failed": 7}
        codes |= {"interrupted": 130, "answered": 0}
        return codes[self.value]


@dataclass(frozen=True, slots=True)
class Finish:
    """End this session. No event; nothing else is in flight."""

    result: Result
    reason: str
    exit_code: int

    @property
    def key(self) -> str:
        return "finish"


Effect: TypeAlias = (
    Prepare
    | CheckBase
    | Scout
    | MakePlan
    | Work
    | WriteHiddenTests
    | TryAttempt
    | JudgeAttempts
    | Clarify
    | StackCandidate
    | CheckCandidate
    | AdvanceBranch
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
    | CheckBase
    | Scout
    | MakePlan
    | Work
    | WriteHiddenTests
    | TryAttempt
    | JudgeAttempts
    | Clarify
    | StackCandidate
    | CheckCandidate
    | AdvanceBranch
    | Integrate
    | IntegrateExtra
    | RunGate
    | Replan
    | Document
    | Release
    | Land
)
"""Effects that answer with an event; until it comes they are in flight, and `resume` hands them out again."""


@dataclass(frozen=True, slots=True)
class EffectKind:
    """What is to be known of a kind of effect."""

    tells: str = ""
    """The kind of the fact that says that it starts; empty where the fact of a task or of the run's end says it."""
    fields: tuple[str, ...] = ()
    """Its fields that this fact has; `task_id` is told as `task`, a finding by its id."""
    words: str = ""
    """The fact for people, with its fields in braces; empty for one that is not worth a line."""
    phase: str = ""
    """What the run does meanwhile, in a word or two."""
    busy: bool = False
    """It keeps one agent busy, and with it one of the threads."""
    changes: bool = False
    """It will change what there is to judge: no round of gates begins before it was answered."""


EFFECTS: Final[Mapping[type[Effect], EffectKind]] = MappingProxyType(
    {
        Prepare: EffectKind(),
        CheckBase: EffectKind(changes=True),
        Scout: EffectKind(),
        MakePlan: EffectKind(busy=True),
        Work: EffectKind(busy=True, changes=True),
        WriteHiddenTests: EffectKind(busy=True, changes=True),
        TryAttempt: EffectKind(changes=True),
        JudgeAttempts: EffectKind(busy=True, changes=True),
        Clarify: EffectKind(busy=True, changes=True),
        StackCandidate: EffectKind(changes=True),
        CheckCandidate: EffectKind(changes=True),
        AdvanceBranch: EffectKind(changes=True),
        Integrate: EffectKind(changes=True),
        IntegrateExtra: EffectKind(changes=True),
        RunGate: EffectKind(
            "gate.started",
            ("gate", "round", "commit"),
            words="{gate} judges {commit} (round {round})",
            phase="judging",
            busy=True,
        ),
        Replan: EffectKind(
            "replan.started",
            ("round", "findings"),
            words="planning fixes for {findings}",
            phase="planning fixes",
            busy=True,
            changes=True,
        ),
        Document: EffectKind(
            "documentation.started", ("commit",), words="documentation", phase="documenting", busy=True
        ),
        Release: EffectKind("release.started", ("commit",), words="release notes", phase="writing notes", busy=True),
        Land: EffectKind("branch.landing", ("commit",), phase="landing"),
        AskPerson: EffectKind(
            "person.asked", ("item", "question", "task_id"), words="waits for you: {item}: {question}"
        ),
        WritePlan: EffectKind(),
        Finish: EffectKind("run.finished", ("result", "reason", "exit_code"), words="{result}", phase="finished"),
    }
)

#: Effects that are handed out in runs of older versions alone.
FORMER: Final = (Integrate,)
#: Effects that keep one agent busy.
BUSY: Final = tuple(kind for kind, known in EFFECTS.items() if known.busy)
#: Effects that will change what there is to judge.
CHANGES: Final = tuple(kind for kind, known in EFFECTS.items() if known.changes)
#: The kinds of facts that say that an effect starts.
START_FACTS: Final = tuple(known.tells for known in EFFECTS.values() if known.tells)
