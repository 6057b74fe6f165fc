"""What a run and a worker say to each other about one agent.

The worker speaks first (`Opened`) and is answered (`Welcome`). From then on it *asks*, and each `WorkerAsk` gets its
`RunReply`, and it *tells*, which is not answered. The run *nudges*: mail, a hold, the wish to stop. The last word is the
worker's: `WorkerEnded`. Messages of one side arrive in order. Paths in them are of the run's machine, except of what comes as
bytes beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from codexteam.agent.event_fields import AgentEvent
from codexteam.agent.outcome import AgentOutcome
from codexteam.agent.prefix import Prompt
from codexteam.core.budget import Reservation
from codexteam.core.budget_amounts import Amount, Price, Usage
from codexteam.core.ids import AgentKey, CallKey, CommitId, JSONObject
from codexteam.errors import CodexteamError
from codexteam.ports.model import Quota
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import SandboxFacts
from codexteam.ports.store import OpenCall, StoredAnswer, StoredTurn
from codexteam.run.host import AgentOrder


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """What a worker gets first."""

    order: AgentOrder
    version: str
    """The run's codexteam: a worker of another version refuses."""
    owner: str
    """Whose sandboxes they are: the run's state folder, as a name."""
    surroundings: object
    """What the worker needs to make its engine and its model: see `app.worker`."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The worker has begun."""

    host: str
    version: str


@dataclass(frozen=True, slots=True)
class RunToolForm:
    """A tool that the run answers, as a worker offers it."""

    definition: JSONObject
    only_reads: bool


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the worker is told once it has begun."""

    price: Price | None
    """Of the agent's model."""
    tools: Mapping[str, RunToolForm]
    mail: tuple[str, ...]
    notes: tuple[str, ...]
    held: bool
    at_work: tuple[AgentKey, ...] | None
    """The run's agents that are at work anywhere, where the host is to be swept of others' sandboxes; None: it was."""


# what a worker asks


@dataclass(frozen=True, slots=True)
class SandboxAsked:
    """Gets a `SandboxSpec`, once it is known."""


@dataclass(frozen=True, slots=True)
class EnvironmentAsked:
    """Gets the handle of a file that `Environments.unpack` takes."""

    key: str


@dataclass(frozen=True, slots=True)
class FilesAsked:
    """Gets (path, mode, blob id) of every file at a commit."""

    commit: CommitId


@dataclass(frozen=True, slots=True)
class BlobAsked:
    """Gets the bytes of a file at a commit, or None."""

    commit: CommitId
    path: bytes
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class TurnsAsked:
    """Gets the agent's stored turns."""


@dataclass(frozen=True, slots=True)
class AnswerAsked:
    """Gets the stored answer of a call, or None."""

    key: CallKey


@dataclass(frozen=True, slots=True)
class CallOpened:
    """To be stored: a call that is about to be sent."""

    call: OpenCall


@dataclass(frozen=True, slots=True)
class CallClosed:
    """To be stored: a call that will not be billed."""

    key: CallKey


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """To be stored: an answer."""

    answer: StoredAnswer
    facts: tuple[RunEvent, ...]


@dataclass(frozen=True, slots=True)
class TurnDone:
    """To be stored: a turn."""

    turn: StoredTurn
    facts: tuple[RunEvent, ...]
    left: "LeftFiles"


@dataclass(frozen=True, slots=True)
class ReservationAsked:
    """Gets a `Granted`, or why there is none."""

    key: CallKey
    model: str
    input_tokens: int
    output_tokens: int
    hand_over: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """A reservation."""

    reservation: Reservation
    lost: Amount
    """What earlier tries of its call count for."""


@dataclass(frozen=True, slots=True)
class RefusalAsked:
    """Gets why a call would be refused, or None."""

    key: CallKey
    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class RunToolCalled:
    """Gets a `ToolOutput`, or a `ToolProblem` as its error."""

    name: str
    arguments: str
    call_id: str


@dataclass(frozen=True, slots=True)
class PassageAsked:
    """Answered once a call may go out; it counts until `PassageLeft`."""

    number: int
    """Distinguishes it from others of this worker."""
    provider_id: str
    model: str
    cache_key: str


WorkerQuestion: TypeAlias = (
    SandboxAsked
    | EnvironmentAsked
    | FilesAsked
    | BlobAsked
    | TurnsAsked
    | AnswerAsked
    | CallOpened
    | CallClosed
    | CallAnswered
    | TurnDone
    | ReservationAsked
    | RefusalAsked
    | RunToolCalled
    | PassageAsked
)


@dataclass(frozen=True, slots=True)
class LeftFiles:
    """What an agent left on its worker that the run has not got yet."""

    pack: bytes | None = None
    """What the file of its newest snapshot holds; None where the run has it."""
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    """Whole outputs of commands, by file name."""


@dataclass(frozen=True, slots=True)
class WorkerAsk:
    """Gets a `RunReply` of the same number."""

    number: int
    question: WorkerQuestion


# what a worker tells


@dataclass(frozen=True, slots=True)
class PassageLeft:
    """The call is over, however it ended."""


@dataclass(frozen=True, slots=True)
class LetIn:
    """The provider took it."""

    requests: Quota | None
    tokens: Quota | None


@dataclass(frozen=True, slots=True)
class FirstEventCame:
    """Its answer has begun."""


@dataclass(frozen=True, slots=True)
class SlowedDown:
    """The provider said 429."""

    retry_after_seconds: float | None


@dataclass(frozen=True, slots=True)
class PassageNews:
    """What became of a call at its gate."""

    number: int
    """As in `PassageAsked`."""
    what: LetIn | FirstEventCame | SlowedDown | PassageLeft


@dataclass(frozen=True, slots=True)
class CallSettled:
    """A call was billed: as its usage says, or all of its reservation."""

    reservation: Reservation
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class CallLost:
    """A try of a call may have been billed and gave no answer."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class CallReleased:
    """A call will not be billed."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class LostNoted:
    """A try of a call was settled without an answer."""

    key: CallKey
    amount: Amount


@dataclass(frozen=True, slots=True)
class AgentDid:
    """Something happened to the agent."""

    event: AgentEvent


@dataclass(frozen=True, slots=True)
class AgentBegins:
    """What the agent is asked first, and the names of its tools."""

    prompt: Prompt
    offered: frozenset[str]


@dataclass(frozen=True, slots=True)
class SandboxIs:
    """What its sandbox really is."""

    facts: SandboxFacts


@dataclass(frozen=True, slots=True)
class CommandsPrinted:
    """All that its commands have printed and it has not seen yet, as far as people are shown it."""

    text: str


WorkerWord: TypeAlias = (
    CallSettled
    | CallLost
    | CallReleased
    | LostNoted
    | AgentDid
    | AgentBegins
    | SandboxIs
    | CommandsPrinted
    | PassageNews
)


@dataclass(frozen=True, slots=True)
class Tell:
    """Is not answered."""

    word: WorkerWord


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    """The worker's last word: how the agent ended, or why it could not; neither: it was stopped."""

    outcome: AgentOutcome | None = None
    error: CodexteamError | None = None
    left: LeftFiles = field(default_factory=LeftFiles)
    """The pack is of the snapshot in the outcome."""


@dataclass(frozen=True, slots=True)
class RunReply:
    """What a `WorkerAsk` was answered."""

    number: int
    value: object = None
    error: Exception | None = None
    files: Mapping[str, object] = field(default_factory=dict)
    """Handles of shared files, by the paths in `value`."""


class NudgeKind(StrEnum):
    """What a run tells."""

    SAY = "say"
    NOTE = "note"
    HOLD = "hold"
    LET_GO = "let_go"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Nudge:
    """Is not answered."""

    kind: NudgeKind
    text: str = ""
