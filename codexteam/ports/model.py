"""A model: one request in, a stream of events out, always ended by exactly one `CallEnd`; what its servers refuse."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from codexteam.config.settings import ModelSettings
from codexteam.core.budget_amounts import Amount, Usage
from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import CallKey, JSONObject

#: Of the stored form of a call's end. A reader accepts its own version and older ones.
ANSWER_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A contract that the final answer must fit, sent as strict structured output."""

    name: str
    schema: JSONObject


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call."""

    key: CallKey
    settings: ModelSettings
    instructions: str
    """Equal for all agents of a role."""
    input: Sequence[JSONObject]
    """The transcript: Responses items, oldest first."""
    tools: Sequence[JSONObject]
    prompt_cache_key: str
    output_schema: OutputSchema | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """The request goes out now: from the next step on this try may be billed, and before it costs nothing.

    Once for each try, when all waiting for a place and for a connection is over.
    """


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The server took the request, and its answer may follow. Not said by a model without a server."""


@dataclass(frozen=True, slots=True)
class ItemDone:
    """An output item that is complete in the stream, before the answer is."""

    item: JSONObject


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text, for the live view only."""

    text: str


@dataclass(frozen=True, slots=True)
class StreamRestarted:
    """The stream failed and is asked for again from its start; what came before is void."""

    reason: str
    wait_seconds: float
    tries: int
    usage: Usage | None = None
    """What the failed try is billed, where the server said so."""
    may_be_billed: bool = True
    """False when it was turned away: no connection, or a status instead of a stream. That costs nothing."""


@stored(StoredForm(tag="end", name="answered", version=ANSWER_VERSION))
@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The model answered in full."""

    items: tuple[JSONObject, ...]
    usage: Usage | None
    """Of this try alone, as in every end; None when the server did not say."""
    response_id: str = ""
    refusal: str | None = None
    """The text of a refusal, which does not count as a success."""


@stored(StoredForm(tag="end", name="cut_short", version=ANSWER_VERSION))
@dataclass(frozen=True, slots=True)
class CutShort:
    """`response.incomplete`: nothing of it may be executed."""

    reason: str
    """`max_output_tokens`, `content_filter` or what the server says."""
    items: tuple[JSONObject, ...] = ()
    usage: Usage | None = None


@stored(StoredForm(tag="end", name="context_exceeded", version=ANSWER_VERSION))
@dataclass(frozen=True, slots=True)
class ContextExceeded:
    """The request is longer than the model's context window."""

    message: str
    usage: Usage | None = None
    may_be_billed: bool = False
    """As in `StreamRestarted`, of the last try."""


class CallFailureKind(StrEnum):
    """Why a call has no answer."""

    UNAVAILABLE = "unavailable"
    """After all retries: 5xx, refused, reset, stalled, dropped, rate limited."""
    REJECTED = "rejected"
    """A 4xx that will be the same again."""
    PROTOCOL = "protocol"
    """An answer that cannot be read."""
    FILTERED = "filtered"
    """The server's content filter does not let the request through."""


@stored(StoredForm(tag="end", name="failed", version=ANSWER_VERSION))
@dataclass(frozen=True, slots=True)
class CallFailed:
    """No answer, after all retries."""

    kind: CallFailureKind
    message: str
    usage: Usage | None = None
    may_be_billed: bool = False
    """As in `StreamRestarted`, of the last try."""


CallEnd: TypeAlias = ModelAnswer | CutShort | ContextExceeded | CallFailed
ModelEvent: TypeAlias = Sending | StreamOpened | ItemDone | TextDelta | StreamRestarted | CallEnd


@stored(StoredForm(tag="", required=("counted", "lost", "hand_over")))
@dataclass(frozen=True, slots=True)
class CallRecord:
    """How a call was made."""

    model: str
    counted: Amount = field(default_factory=Amount)
    """What it counts for when its usage is not known."""
    lost: Amount = field(default_factory=Amount)
    """What earlier tries of it, that gave no answer, count for."""
    hand_over: bool = False
    """It was the last call of an agent whose budget was spent."""


@stored(StoredForm(tag="", flat=("end",), names={"made": "call"}))
@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call's end, and how it was made."""

    end: CallEnd
    made: CallRecord


class Model(Protocol):
    """All providers behind one door: the adapter picks the client by `request.settings.provider_id`."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Ask; yield events as they come and end with one `CallEnd`.

        `Sending` comes before anything leaves this machine. Closing the iterator (`aclose`, or cancelling the task) ends
        the request. Retries happen inside and show as `StreamRestarted`, each with what its try costs. May be called by
        hundreds of tasks at once.

        Raises:
            ModelAccessError: credentials, permission, model name or quota; the run stops, resumable.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Quota:
    """What a provider says of one of its limits."""

    remaining: int
    """Requests that it still accepts; for tokens only 0 and more than 0 are distinguished."""
    reset_seconds: float
    """From now, until there is more."""


class Passage(Protocol):
    """One call's stay behind the gate of its provider and model."""

    def let_in(self, requests: Quota | None, tokens: Quota | None) -> None:
        """Note that the provider took the call, and what it says is left."""
        ...

    def first_event(self) -> None:
        """Note that the answer has begun: the prefix is in the provider's cache now."""
        ...

    def slowed_down(self, retry_after_seconds: float | None) -> float:
        """Note a 429; give how long all calls wait from now on."""
        ...


class CallGates(Protocol):
    """What all calls to a provider and model pass, so that no more go out at once than it takes."""

    def passage(self, provider_id: str, model: str, cache_key: str) -> AbstractAsyncContextManager[Passage]:
        """Wait until a call may start, and count it until the end of the block."""
        ...


class ServerMemory(Protocol):
    """Kept for a run, over its resumes."""

    async def left_out(self, provider_id: str, model: str) -> tuple[str, ...]:
        """Return the parts that are left out of requests to a model."""
        ...

    async def leave_out(self, provider_id: str, model: str, parts: Sequence[str], why: str) -> None:
        """Record parts that are omitted from now on, and report why, once."""
        ...
