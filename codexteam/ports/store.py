"""The store: what survives a crash. Everything returns once it is durable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, CallKey, JSONObject, RunId
from codexteam.ports.model import AnsweredCall
from codexteam.ports.reporter import RunEvent
from codexteam.ports.sandbox import WorkspaceState


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, as `codexteam runs` lists it."""

    run_id: RunId
    goal: str
    base: str
    state: str
    """`running`, `waiting`, `interrupted`, or how it finished."""
    created_at_seconds: float
    settings: JSONObject
    """What the run was started with, without secrets, so that `resume` needs no flags."""


@dataclass(frozen=True, slots=True)
class ForkRecord:
    """A run that begins with events of another one, as it is stored."""

    run: RunRecord
    events: Sequence[tuple[float, str, JSONObject]]
    """Seconds since 1970, kind, payload."""
    checkpoint: JSONObject
    """The state that results from all of them."""
    facts: Sequence[RunEvent]
    """What is told of the last event; they get its number as their field `event`."""
    values: Sequence[tuple[str, str, JSONObject]] = ()
    """Space, key, value."""
    replaces: tuple[RunId, str] | None = None
    """The run whose place it takes, and the state that this one gets."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One process's time at a run: from `run` or `resume` to its end."""

    run_id: RunId
    number: int
    """Counted from 1, per run."""
    version: str
    """The codexteam that sat."""
    host: str
    pid: int
    process: str
    """Distinguishes this process from every other that ever had its pid on this host; empty if unknown."""
    started_at_seconds: float
    ended_at_seconds: float | None = None
    """None while it runs, and for ever if its process was killed."""
    ending: str = ""
    """How it ended, in words for people: a result and its reason, or an error."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a run, in order."""

    sequence: int
    """Counted from 1, without gaps, per run."""
    at_seconds: float
    kind: str
    payload: JSONObject


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answered call. A call that was answered is never asked again."""

    key: CallKey
    request_hash: str
    answer: AnsweredCall
    usage: Usage | None
    """Of the answer and of the tries before it."""


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A finished turn: the answer's tool outputs, what was put in after them, and the workspace as it was then."""

    agent: AgentKey
    turn: int
    outputs: tuple[JSONObject, ...]
    """Input items that follow the answer: tool outputs, messages put in between."""
    workspace: WorkspaceState = field(default_factory=WorkspaceState)
    """The newest that is safe."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call that was sent and has no stored answer: it may or may not have been billed."""

    key: CallKey
    request_hash: str
    reserved_tokens: int
    """Of the try on its way, and with it what failed tries before it count for; so in money too."""
    reserved_usd: float | None
    reserved_credits: float | None


class Store(Protocol):
    """One repository's state file. Any number of tasks may call at once; writes are grouped into transactions."""

    async def create_run(self, run: RunRecord) -> None:
        """Add a run. Repeating it with the same id changes nothing."""
        ...

    async def create_fork(self, fork: ForkRecord) -> None:
        """Add a run that begins with events of another one, in one transaction."""
        ...

    async def set_run_state(self, run_id: RunId, state: str) -> None:
        """Change a run's state."""
        ...

    async def runs(self) -> list[RunRecord]:
        """Return all runs, newest first."""
        ...

    async def begin_session(self, session: StoredSession) -> int:
        """Add a session and return its number, the next one of its run; the number in `session` is ignored."""
        ...

    async def end_session(self, run_id: RunId, number: int, *, at_seconds: float, ending: str) -> None:
        """Record that a session has ended, and how."""
        ...

    async def sessions(self, run_id: RunId) -> list[StoredSession]:
        """Return a run's sessions in order; runs of older versions have none."""
        ...

    async def append(
        self,
        run_id: RunId,
        events: Sequence[tuple[float, str, JSONObject]],
        facts: Sequence[Sequence[RunEvent]] = (),
        values: Sequence[tuple[str, str, JSONObject]] = (),
    ) -> int:
        """Append events (seconds since 1970, kind, payload) in one transaction; give the last sequence number.

        `facts` are for each event what is told of it; they get the event's number as their field `event`. `values`
        (space, key, value) are put in the same transaction.
        """
        ...

    async def events(self, run_id: RunId, *, after: int = 0) -> list[StoredEvent]:
        """Return events in order."""
        ...

    async def save_checkpoint(self, run_id: RunId, sequence: int, state: JSONObject) -> None:
        """Keep the state that results from all events up to `sequence`, so that resume need not read them all."""
        ...

    async def checkpoint(self, run_id: RunId) -> tuple[int, JSONObject] | None:
        """Return the newest checkpoint and its sequence number."""
        ...

    async def open_call(self, call: OpenCall) -> None:
        """Note that a call is about to be sent, or what it counts for now; the newest note stays."""
        ...

    async def close_call(self, key: CallKey) -> None:
        """Note that a call ended without an answer and will not be billed."""
        ...

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        """Store an answer, settle its call and record its facts, in one transaction.

        Nothing is told of an answer that is stored already.
        """
        ...

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        """Return the stored answer of a call."""
        ...

    async def answers(self, run_id: RunId) -> list[StoredAnswer]:
        """Return all answers of a run, without order; what the ledger is rebuilt from."""
        ...

    async def open_calls(self, run_id: RunId) -> list[OpenCall]:
        """Return the calls that were sent and not answered."""
        ...

    async def record_turn(self, turn: StoredTurn, facts: Sequence[RunEvent] = ()) -> None:
        """Store a finished turn and record its facts, in one transaction."""
        ...

    async def turns(self, agent: AgentKey, *, after: int = 0) -> list[StoredTurn]:
        """Return an agent's finished turns with a number above `after`, in order."""
        ...

    def record_facts(self, run_id: RunId, facts: Sequence[RunEvent]) -> None:
        """Write down what belongs to no other write, from any thread; it is written with the next transaction.

        If there is none within a tenth of a second, it gets one of its own, which a power failure may take back.
        """
        ...

    async def facts_recorded(self) -> None:
        """Return once all facts given before are written and passed to watchers.

        Raises:
            StoreError: they cannot be written; they are kept, and tried again with the next write.
        """
        ...

    async def facts(self, run_id: RunId, *, after: int = 0) -> list[RunEvent]:
        """Return a run's facts in order, each with its number."""
        ...

    def watch(self, run_id: RunId, seen: Callable[[Sequence[RunEvent]], None]) -> Callable[[], None]:
        """Have `seen` called with each fact that is written from now on, once it is durable; the result ends it.

        It is called in order, on the loop on which `watch` was, before a write that is awaited there returns.
        """
        ...

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value under a name: scout memory, baselines, the inbox."""
        ...

    def put_soon(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value under a name as `record_facts` writes a fact: for what is replaced before long."""
        ...

    async def get(self, space: str, key: str) -> JSONObject | None:
        """Return the value under a name."""
        ...

    async def list(self, space: str, *, prefix: str = "") -> list[tuple[str, JSONObject]]:
        """Return all values of a space whose key starts with `prefix`, by key."""
        ...

    async def clear(self, space: str) -> int:
        """Remove all values of a space; return how many there were."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        ...
