"""One call: its tries, each a request and the reading of its stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from codexteam.adapters.responses.answer import MAX_EVENT_BYTES, AnswerEnd, AnswerReader
from codexteam.adapters.responses.clients import ProviderClient
from codexteam.adapters.responses.event_stream import EventStream, EventTooLongError
from codexteam.adapters.responses.failures import Phase, TryAgain, from_plain_answer, from_status
from codexteam.adapters.responses.retry_after import quotas
from codexteam.ports.clock import Clock
from codexteam.ports.model import (
    CallEnd,
    CallFailed,
    CallFailureKind,
    ContextExceeded,
    CutShort,
    ItemDone,
    ModelAnswer,
    Passage,
    Sending,
    StreamOpened,
    TextDelta,
)
from codexteam.system.cancellation import LATE_SECONDS, PIECE_SECONDS, stopped

if TYPE_CHECKING:
    import httpx2


_Result = TypeVar("_Result")
#: The end of a stream's transport follows its last event at once, or the connection is not worth keeping.
_DRAIN_SECONDS = 0.05
#: Types of bodies that are read whole: a page, or an object. All others may be a stream that is called otherwise.
_NO_STREAMS = ("text/html", "json")
StreamPart: TypeAlias = Sending | StreamOpened | ItemDone | TextDelta


class Opening:
    """One request on its way to a response: its body is held back, once there is a connection, until it may go."""

    def __init__(self, client: ProviderClient, body: bytes, idempotency_key: str) -> None:
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._may_go: asyncio.Future[None] = loop.create_future()
        self._taken = False
        self._request = asyncio.ensure_future(client.open(self._held_back(body), len(body), idempotency_key))
        self._request.add_done_callback(lambda _: self._note_ready())

    async def connected(self) -> bool:
        """Wait for a connection; return whether there is one, and `response` will send the request."""
        await self._ready
        return not self._request.done()

    async def response(self) -> "httpx2.Response":
        """Send the request and wait for the response.

        Raises:
            openai.APIError: no 2xx came back.
        """
        if not self._may_go.done():
            self._may_go.set_result(None)
        response = await self._request
        self._taken = True
        return response

    async def close(self) -> None:
        """End what nobody waits for any more."""
        if not self._request.done():
            await stopped(self._request)
        elif not (self._taken or self._request.cancelled() or self._request.exception()):
            await self._request.result().aclose()

    async def _held_back(self, body: bytes) -> AsyncIterator[bytes]:
        self._note_ready()
        await self._may_go
        yield body

    def _note_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)


class DeadlineError(Exception):
    """A deadline passed; the text says which."""


class StreamDeadline:
    """Watches one try: `wait` ends with an error once nothing has moved for `idle_seconds`, or all took too long.

    One sleeping task for the whole try: a stream has thousands of events, and a timer for each would cost more than
    reading it. Time in which this process was stopped does not count: the answer may have come meanwhile, is paid for,
    and lies unread.
    """

    def __init__(self, clock: Clock, *, idle_seconds: float, total_seconds: float) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._total_seconds = total_seconds
        self._began_at = clock.monotonic_seconds()
        self._moved_at = self._began_at
        self._passed = ""
        self._scope: asyncio.Timeout | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "StreamDeadline":
        self._watch = asyncio.create_task(self._watching())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()

    @property
    def spent_seconds(self) -> float:
        """How long it has run."""
        return self._clock.monotonic_seconds() - self._began_at

    def moved(self) -> None:
        """Note progress."""
        self._moved_at = self._clock.monotonic_seconds()

    async def wait(self, what: Awaitable[_Result]) -> _Result:
        """Wait for something.

        Raises:
            DeadlineError: a deadline passed before it came.
        """
        try:
            async with asyncio.timeout(0 if self._passed else None) as scope:
                self._scope = scope
                return await what
        except TimeoutError as error:
            if not self._passed:
                raise
            raise DeadlineError(self._passed) from error
        finally:
            self._scope = None

    async def _watching(self) -> None:
        while True:
            now = self._clock.monotonic_seconds()
            idle_left = self._moved_at + self._idle_seconds - now
            total_left = self._began_at + self._total_seconds - now
            if idle_left <= 0:
                self._passed = f"nothing came for {self._idle_seconds:g} s"
            elif total_left <= 0:
                self._passed = f"it did not end within {self._total_seconds:g} s"
            if self._passed:
                break
            piece_seconds = min(idle_left, total_left, PIECE_SECONDS)
            await self._clock.sleep(piece_seconds)
            late_seconds = self._clock.monotonic_seconds() - now - piece_seconds
            if late_seconds > LATE_SECONDS:
                self._moved_at += late_seconds
                self._began_at += late_seconds
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())


class Call:
    """One call over its tries."""

    def __init__(self, client: ProviderClient, clock: Clock, call_seconds: float) -> None:
        self.end: AnswerEnd = TryAgain(Phase.OPENING, "not tried yet")
        """How the last try ended."""
        self.may_be_billed = False
        """Whether the last try may be billed: it was sent, and nobody turned it away before a stream opened."""
        self._clock = clock
        self._client = client
        self._left_seconds = call_seconds

    @property
    def out_of_time(self) -> bool:
        """Whether no try may follow."""
        return self._left_seconds <= 0

    def settled(self, end: ModelAnswer | CutShort | ContextExceeded | CallFailed) -> CallEnd:
        """Return the call's end: without secrets, and with whether it may be billed."""
        match end:
            case ModelAnswer() | CutShort():
                return end
            case ContextExceeded() | CallFailed():
                message = self._client.credentials.redact(end.message)
                return replace(end, message=message, may_be_billed=self.may_be_billed)

    async def one_try(self, body: bytes, idempotency_key: str, passage: Passage) -> AsyncGenerator[StreamPart, None]:
        """Ask once; give what the answer brings and leave its end in `end`."""
        import httpx2
        import openai

        deadline = StreamDeadline(
            self._clock,
            idle_seconds=self._client.provider.stream_idle_timeout_seconds,
            total_seconds=self._left_seconds,
        )
        phase = Phase.OPENING
        self.may_be_billed = False
        opening = Opening(self._client, body, idempotency_key)
        try:
            async with deadline:
                if await deadline.wait(opening.connected()):
                    # also when no stream opens: a request that was sent may be at work behind a connection that broke
                    self.may_be_billed = True
                    yield Sending()
                response = await deadline.wait(opening.response())
                phase = Phase.STREAM
                try:
                    # a plain mapping: theirs looks each name up by decoding all of them
                    passage.let_in(*quotas(dict(response.headers)))
                    yield StreamOpened()
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
                refused.status_code,
                refused.headers,
                refused.content,
                wall_seconds=self._clock.wall_seconds(),
                sent_bytes=len(body),
            )
            if self._client.proxy_words and isinstance(self.end, TryAgain):
                # it may be the proxy that speaks
                self.end = replace(self.end, reason=self.end.reason + self._client.proxy_words)
        except (openai.APIConnectionError, httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError) as error:
            self.end = TryAgain(phase, _network_reason(error, phase) + self._client.proxy_words)
        finally:
            await opening.close()
            self._left_seconds -= deadline.spent_seconds

    async def _read(
        self, response: "httpx2.Response", passage: Passage, deadline: StreamDeadline
    ) -> AsyncGenerator[StreamPart, None]:
        content_type = response.headers.get("content-type", "")
        answer = AnswerReader(self._clock.wall_seconds())
        chunks = response.aiter_bytes()
        if any(kind in content_type.lower() for kind in _NO_STREAMS):
            body = await _whole(chunks, deadline)
            answer.read_whole(body)
            for item in answer.late_items:
                yield ItemDone(item)
            self.end = answer.end or from_plain_answer(content_type, body)
            return
        events = EventStream(max_event_bytes=MAX_EVENT_BYTES)
        while answer.end is None:
            chunk = await deadline.wait(anext(chunks, None))
            if chunk is None:
                break
            try:
                complete = events.feed(chunk)
            except EventTooLongError as error:
                self.end = CallFailed(CallFailureKind.PROTOCOL, str(error))
                return
            if complete:
                # comments are not progress: they would keep a dead stream alive for ever
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


async def _whole(chunks: AsyncIterator[bytes], deadline: StreamDeadline) -> bytes:
    """Return a body that is not a stream; only the beginning if it is larger than any answer."""
    body = bytearray()
    while len(body) <= MAX_EVENT_BYTES:
        chunk = await deadline.wait(anext(chunks, None))
        if chunk is None:
            break
        body += chunk
    return bytes(body)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    # read to its very end, the connection can be used again
    with suppress(TimeoutError, *_transport_errors()):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await anext(chunks, None) is not None:
                pass


def _transport_errors() -> tuple[type[Exception], ...]:
    import httpx2

    return (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError)


def _network_reason(error: Exception, phase: Phase) -> str:
    cause = error.__cause__ or error
    text = str(cause) or type(cause).__name__
    return f"no connection: {text}" if phase is Phase.OPENING else f"the stream broke: {text}"
