"""One call: its tries, each a request and the reading of its stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from codexteam.adapters.responses.answer import MAX_EVENT_BYTES, AnswerEnd, AnswerReader
from codexteam.adapters.responses.clients import ProviderClient
from codexteam.adapters.responses.deadline import Deadline, DeadlineError
from codexteam.adapters.responses.event_stream import EventStream, EventTooLongError
from codexteam.adapters.responses.failures import Phase, TryAgain, from_status, unreadable
from codexteam.adapters.responses.gate import Passage
from codexteam.adapters.responses.waiting import quotas
from codexteam.ports.clock import Clock
from codexteam.ports.model import (
    Answered,
    CallEnd,
    CallFailed,
    ContextExceeded,
    CutShort,
    FailureKind,
    ItemDone,
    TextDelta,
)

if TYPE_CHECKING:
    import httpx2

#: The end of a stream's transport follows its last event at once, or the connection is not worth keeping.
_DRAIN_SECONDS = 0.05

Piece: TypeAlias = ItemDone | TextDelta


class Call:
    """One call over its tries."""

    def __init__(
        self, body: bytes, idempotency_key: str, client: ProviderClient, clock: Clock, call_seconds: float
    ) -> None:
        self.end: AnswerEnd = TryAgain(Phase.OPENING, "not tried yet")
        """How the last try ended."""
        self.may_be_billed = False
        """Whether the last try may be billed: nobody turned it away before a stream opened."""
        self._body = body
        self._idempotency_key = idempotency_key
        self._clock = clock
        self._client = client
        self._left_seconds = call_seconds

    @property
    def out_of_time(self) -> bool:
        """Whether no try may follow."""
        return self._left_seconds <= 0

    def settled(self, end: Answered | CutShort | ContextExceeded | CallFailed) -> CallEnd:
        """Give the call's end: without secrets, and with whether it may be billed."""
        match end:
            case Answered() | CutShort():
                return end
            case ContextExceeded() | CallFailed():
                message = self._client.credentials.redact(end.message)
                return replace(end, message=message, may_be_billed=self.may_be_billed)

    async def one_try(self, passage: Passage) -> AsyncGenerator[Piece, None]:
        """Ask once; give what the answer brings and leave its end in `end`."""
        import httpx2
        import openai

        deadline = Deadline(
            self._clock,
            idle_seconds=self._client.provider.stream_idle_timeout_seconds,
            total_seconds=self._left_seconds,
        )
        phase = Phase.OPENING
        # also when no stream opens: a request that was sent may be at work behind a connection that broke
        self.may_be_billed = True
        try:
            async with deadline:
                response = await deadline.wait(self._client.open(self._body, self._idempotency_key))
                phase = Phase.STREAM
                try:
                    # a plain mapping: theirs looks each name up by decoding all of them
                    passage.let_in(*quotas(dict(response.headers)))
                    async with aclosing(self._read(response, passage, deadline)) as pieces:
                        async for piece in pieces:
                            yield piece
                finally:
                    await response.aclose()
        except DeadlineError as error:
            self.end = TryAgain(phase, f"the stream stalled: {error}")
        except openai.APIStatusError as error:
            refused = error.response
            self.may_be_billed = False
            self.end = from_status(
                refused.status_code, refused.headers, refused.content, wall_seconds=self._clock.wall_seconds()
            )
        except (openai.APIConnectionError, httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError) as error:
            self.may_be_billed = not _is_without_connection(error)
            self.end = TryAgain(phase, _network_reason(error, phase))
        finally:
            self._left_seconds -= deadline.spent_seconds

    async def _read(
        self, response: "httpx2.Response", passage: Passage, deadline: Deadline
    ) -> AsyncGenerator[Piece, None]:
        content_type = response.headers.get("content-type", "")
        if content_type.lower().startswith("text/html"):
            self.end = unreadable(f"an event stream was expected, not {content_type}")
            return
        events = EventStream(max_event_bytes=MAX_EVENT_BYTES)
        answer = AnswerReader()
        chunks = response.aiter_bytes()
        while answer.end is None:
            chunk = await deadline.wait(anext(chunks, None))
            if chunk is None:
                break
            try:
                complete = events.feed(chunk)
            except EventTooLongError as error:
                self.end = CallFailed(FailureKind.PROTOCOL, str(error))
                return
            if complete:
                # comments are no progress: they would keep a dead stream alive for ever
                deadline.moved()
                passage.first_event()
            for event in complete:
                piece = answer.read(event)
                if piece is not None:
                    yield piece
        if answer.end is None:
            answer.read_last(events.finish())
        else:
            await _drain(chunks)
        for item in answer.late_items:
            yield ItemDone(item)
        self.end = answer.end or TryAgain(Phase.STREAM, "the stream ended before response.completed")


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    # read to its very end, the connection can be used again
    with suppress(TimeoutError, *_transport_errors()):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await anext(chunks, None) is not None:
                pass


def _transport_errors() -> tuple[type[Exception], ...]:
    import httpx2

    return (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError)


def _is_without_connection(error: BaseException) -> bool:
    """Whether nothing was sent. Their transport calls a connection that broke a connection that timed out as well."""
    import aiohttp

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
            return True
        cause = cause.__cause__
    return False


def _network_reason(error: Exception, phase: Phase) -> str:
    cause = error.__cause__ or error
    text = str(cause) or type(cause).__name__
    return f"no connection: {text}" if phase is Phase.OPENING else f"the stream broke: {text}"
