"""The store: what survives a crash. Everything returns once it is durable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codexteam.core.ids import AgentKey, CallKey, RunId
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage


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
class StoredSitting:
    """One process's time at a run: from `run` or `resume` to its end."""

    run_id: RunId
    number: int
    """Counted from 1, per run."""
    version: str
    """The codexteam that sat."""
    host: str
    pid: int
    process: str
    """Tells this process from every other that ever had its pid on this host; empty where the system does not say."""
    started_at_seconds: float
    ended_at_seconds: float | None = None
    """None while it goes on, and for ever when its process was killed."""
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
    answer: JSONObject
    """The call's end, encoded by `ports.answer_codec`."""
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A finished turn: the answer's tool outputs, what was put in after them, and the workspace as it was then."""

    agent: AgentKey
    turn: int
    outputs: tuple[JSONObject, ...]
    """Input items that follow the answer: tool outputs, messages put in between."""
    snapshot: JSONObject | None
    """The newest snapshot, None when nothing was written so far."""


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

    async def set_run_state(self, run_id: RunId, state: str) -> None:
        """Change a run's state."""
        ...

    async def runs(self) -> list[RunRecord]:
        """Give all runs, newest first."""
        ...

    async def begin_sitting(self, sitting: StoredSitting) -> int:
        """Add a sitting and give its number, the next one of its run; the one in `sitting` does not count."""
        ...

    async def end_sitting(self, run_id: RunId, number: int, *, at_seconds: float, ending: str) -> None:
        """Note that a sitting has ended, and how."""
        ...

    async def sittings(self, run_id: RunId) -> list[StoredSitting]:
        """Give a run's sittings in order; runs of versions that did not count them have none."""
        ...

    async def append(self, run_id: RunId, events: Sequence[tuple[float, str, JSONObject]]) -> int:
        """Append events (seconds since 1970, kind, payload) in one transaction; give the last sequence number."""
        ...

    async def events(self, run_id: RunId, *, after: int = 0) -> list[StoredEvent]:
        """Give events in order."""
        ...

    async def save_checkpoint(self, run_id: RunId, sequence: int, state: JSONObject) -> None:
        """Keep the state that results from all events up to `sequence`, so that resume need not read them all."""
        ...

    async def checkpoint(self, run_id: RunId) -> tuple[int, JSONObject] | None:
        """Give the newest checkpoint and its sequence number."""
        ...

    async def open_call(self, call: OpenCall) -> None:
        """Note that a call is about to be sent, or what it counts for now; the newest note stays."""
        ...

    async def close_call(self, key: CallKey) -> None:
        """Note that a call ended without an answer and will not be billed."""
        ...

    async def record_answer(self, answer: StoredAnswer) -> None:
        """Store an answer and settle its call in one transaction."""
        ...

    async def answer(self, key: CallKey) -> StoredAnswer | None:
        """Give the stored answer of a call."""
        ...

    async def answers(self, run_id: RunId) -> list[StoredAnswer]:
        """Give all answers of a run, without order; what the ledger is rebuilt from."""
        ...

    async def open_calls(self, run_id: RunId) -> list[OpenCall]:
        """Give the calls that were sent and not answered."""
        ...

    async def record_turn(self, turn: StoredTurn) -> None:
        """Store a finished turn."""
        ...

    async def turns(self, agent: AgentKey) -> list[StoredTurn]:
        """Give an agent's finished turns, in order."""
        ...

    async def put(self, space: str, key: str, value: JSONObject) -> None:
        """Store a value under a name: receipts, scout memory, baselines, the inbox."""
        ...

    async def get(self, space: str, key: str) -> JSONObject | None:
        """Give the value under a name."""
        ...

    async def list(self, space: str, *, prefix: str = "") -> list[tuple[str, JSONObject]]:
        """Give all values of a space whose key starts with `prefix`, by key."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        ...
