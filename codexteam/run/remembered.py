"""What a run remembers between effects and sessions, in the store's spaces of that run, read and written by `core.codec`."""

from dataclasses import dataclass
from typing import Final

from codexteam.core.codec import StoredForm, stored
from codexteam.core.findings import Finding
from codexteam.core.ids import CommitId, TaskId

_BARE: Final = StoredForm(tag="")


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class FirstTime:
    """When something was first done (space `times`)."""

    at_seconds: int


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class AcceptedWork:
    """The commit of an attempt's work that its policy let through (space `accepted`, by `T1.2`)."""

    base: CommitId
    commit: CommitId


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ReviewedChange:
    """What a review judges (space `review`, `change`); a run has none."""

    title: str
    subject: str
    """What a later review of the same change is known by; empty where nothing says that it is the same."""
    head: CommitId | None
    """None: what is not committed when the review begins."""
    author_says: str = ""
    """The change's title and its commits' messages: data, which instructs nobody."""
    judged_before: CommitId | None = None
    """What the review before this one judged."""
    known: tuple[Finding, ...] = ()
    """What that one left open."""
    waived: tuple[Finding, ...] = ()
    """What a person waived in it."""
    audit: tuple[str, ...] | None = None
    """Of an audit, which judges what is there and no change: the paths, all of the repository without any."""


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class LeftOut:
    """What an attempt had in its workspace and not in its work, a line each (space `left_out`, by `T1.2`)."""

    lines: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class DrawnMap:
    """The map of the code that an agent began with (space `map`, by its name): resumed, it is asked the same."""

    text: str


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ScoutAreas:
    """What the first scouts are sent to (space `scouts`, `areas`): after a crash each is sent to the same."""

    words: tuple[str, ...]
    about_build: tuple[bool, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class CiCommands:
    """The commands by which the scouts say that CI checks the repository (space `scouts`, `ci`)."""

    commands: tuple[str, ...]


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class FailedSetup:
    """A set-up that came to nothing, for later runs of the repository (space `failed set-ups`, by key)."""

    at_seconds: int
    reason: str
    log: str = ""


@stored(StoredForm(tag="", optional=("scouts",)))
@dataclass(frozen=True, slots=True)
class ChosenEnvironment:
    """What the base commit's commands work in, and why (space `environment`, `base`)."""

    key: str = ""
    """Empty where it is a sandbox as it comes."""
    kind: str = ""
    """Whose plan it is: a `SourceKind`."""
    gates: tuple[str, ...] = ()
    """Test commands of the repository that ran in it."""
    offered: tuple[str, ...] = ()
    """Test commands of the repository, whether they ran or not."""
    made_from: str = ""
    """What it was made from, in words; foreign text, escaped."""
    ran: bool = False
    """Whether the gate commands ran in it, as far as any are known."""
    is_empty: bool = False
    """Nothing had to be set up."""
    script: str = ""
    """The set-up agent's, where it is that."""
    touched: tuple[str, ...] = ()
    """What tasks write, as it counted when it was chosen (`environment.folders.literal_prefixes`)."""


@stored(StoredForm(tag="", optional=("scouts",)))
@dataclass(frozen=True, slots=True)
class ScoutsText:
    """What the orchestrator gets to read of the scouts' reports (space `scouts`, `report`)."""

    text: str
    scouts: int | None = None
    """How many were asked; runs of older versions did not count."""


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class GoalReading:
    """What the requirement analyst reads in the goal, and what it would ask the user (space `scouts`, `reading`)."""

    text: str
    questions: tuple[str, ...] = ()


@stored(StoredForm(tag="", names={"task_id": "task", "at_seconds": "at"}))
@dataclass(frozen=True, slots=True)
class AskedPerson:
    """A question that waits for a person (space `inbox`)."""

    question: str
    task_id: TaskId | None
    at_seconds: float


@stored(_BARE)
@dataclass(frozen=True, slots=True)
class ForecastPlan:
    """What the newest forecast was made for, a line a task (space `forecast`, `plan`)."""

    tasks: tuple[str, ...]
