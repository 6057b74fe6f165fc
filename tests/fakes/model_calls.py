"""Requests to a model, and what comes of them, for tests of everything that implements `Model`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from codexteam.config.settings import ModelSettings, ProviderSettings
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose, RunId
from codexteam.ports.model import (
    CallEnd,
    CallFailed,
    ContextExceeded,
    CutShort,
    Model,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    OutputSchema,
    StreamRestarted,
)

KEY = "sk-test-0123456789abcdef"
_Event = TypeVar("_Event", bound=ModelEvent)


def call_key(
    *,
    role: str = "implementer",
    purpose: Purpose = Purpose.IMPLEMENT,
    task_id: str = "T1",
    attempt: int = 1,
    turn: int = 1,
) -> CallKey:
    """The name of a call in run `20261121-0231-7f3a`."""
    agent = AgentKey(RunId("20261121-0231-7f3a"), role, purpose, task_id, attempt)
    return CallKey(agent, turn, purpose)


def model_request(
    *,
    key: CallKey | None = None,
    settings: ModelSettings | None = None,
    input: Sequence[JSONObject] = (),  # noqa: A002 - the port's word
    tools: Sequence[JSONObject] = (),
    instructions: str = "You implement one task.",
    output_schema: OutputSchema | None = None,
) -> ModelRequest:
    """A request with something in every required field."""
    said: JSONObject = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}
    return ModelRequest(
        key=key or call_key(),
        settings=settings or ModelSettings("local", "test-model"),
        instructions=instructions,
        input=input or (said,),
        tools=tools,
        prompt_cache_key="20261121-0231-7f3a-implementer",
        output_schema=output_schema,
    )


def provider(base_url: str, **changes: object) -> ProviderSettings:
    """A provider `local` that needs the variable `LOCAL_KEY`.

    It may be quiet for long: on a clock that runs ahead the usual five minutes are three seconds, and a busy machine
    takes as long.
    """
    fields: dict[str, object] = {"id": "local", "name": "Local", "base_url": base_url, "api_key_variable": "LOCAL_KEY"}
    fields["stream_idle_timeout_seconds"] = 30_000.0
    return ProviderSettings(**(fields | changes))  # type: ignore[arg-type]  # a wrong field fails in its test


@dataclass(frozen=True, slots=True)
class Collected:
    """All events of one call."""

    events: tuple[ModelEvent, ...]

    @property
    def end(self) -> CallEnd:
        """The one end, which must be the last event."""
        last = self.events[-1]
        ends = self.of(ModelAnswer) + self.of(CutShort) + self.of(ContextExceeded) + self.of(CallFailed)
        assert isinstance(last, ModelAnswer | CutShort | ContextExceeded | CallFailed)
        assert len(ends) == 1
        return last

    @property
    def answer(self) -> ModelAnswer:
        """The end, which must be an answer."""
        end = self.end
        assert isinstance(end, ModelAnswer), end
        return end

    @property
    def failure(self) -> CallFailed:
        """The end, which must be a failure."""
        end = self.end
        assert isinstance(end, CallFailed), end
        return end

    @property
    def restarts(self) -> list[StreamRestarted]:
        """The streams that were begun again."""
        return self.of(StreamRestarted)

    def of(self, kind: type[_Event]) -> list[_Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


async def restarted(stream: AsyncIterator[ModelEvent]) -> StreamRestarted:
    """Read on until the stream is begun again."""
    while not isinstance(event := await anext(stream), StreamRestarted):
        pass
    return event


async def collect(model: Model, request: ModelRequest) -> Collected:
    """Ask, and wait for the end."""
    events: list[ModelEvent] = []
    stream = model.stream(request)
    async with aclosing(stream) as open_stream:  # type: ignore[type-var]  # all implementations are generators
        async for event in open_stream:
            events.append(event)  # noqa: PERF401
    return Collected(tuple(events))
