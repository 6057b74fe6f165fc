"""A model: one request in, a stream of events out, always ended by exactly one `CallEnd`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from codexteam.config.settings import ModelSettings
from codexteam.core.ids import CallKey
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage


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


@dataclass(frozen=True, slots=True)
class Answered:
    """The model answered in full."""

    items: tuple[JSONObject, ...]
    usage: Usage | None
    """Of this try alone, as in every end; None when the server did not say."""
    response_id: str = ""
    refusal: str | None = None
    """The text of a refusal, which is no success."""


@dataclass(frozen=True, slots=True)
class CutShort:
    """`response.incomplete`: nothing of it may be executed."""

    reason: str
    """`max_output_tokens`, `content_filter` or what the server says."""
    items: tuple[JSONObject, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class ContextExceeded:
    """The request is longer than the model's context window."""

    message: str
    usage: Usage | None = None
    may_be_billed: bool = False
    """As in `StreamRestarted`, of the last try."""


class FailureKind(StrEnum):
    """Why a call has no answer."""

    UNAVAILABLE = "unavailable"
    """After all retries: 5xx, refused, reset, stalled, dropped, rate limited."""
    REJECTED = "rejected"
    """A 4xx that will be the same again."""
    PROTOCOL = "protocol"
    """An answer that cannot be read."""


@dataclass(frozen=True, slots=True)
class CallFailed:
    """No answer, after all retries."""

    kind: FailureKind
    message: str
    usage: Usage | None = None
    may_be_billed: bool = False
    """As in `StreamRestarted`, of the last try."""


CallEnd: TypeAlias = Answered | CutShort | ContextExceeded | CallFailed
ModelEvent: TypeAlias = ItemDone | TextDelta | StreamRestarted | CallEnd


class Model(Protocol):
    """All providers behind one door: the adapter picks the client by `request.settings.provider_id`."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Ask; yield events as they come and end with one `CallEnd`.

        Closing the iterator (`aclose`, or cancelling the task) ends the request. Retries happen inside and show as
        `StreamRestarted`, each with what its try costs. May be called by hundreds of tasks at once.

        Raises:
            ModelAccessError: credentials, permission, model name or quota; the run stops, resumable.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
