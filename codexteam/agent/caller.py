"""One agent's calls: each reserved, noted, made, stored and settled, and none made whose answer is stored."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from codexteam.agent.agent_events import AgentEvent, CallRetried, TextStreamed, TurnAnswered
from codexteam.agent.budget_gate import BudgetGate
from codexteam.agent.call_record import CallRecord, recorded, with_record
from codexteam.agent.tools.toolbox import AnswerCalls
from codexteam.config.settings import ModelSettings
from codexteam.core.budget import Exhausted, Reservation
from codexteam.core.budget_amounts import Amount
from codexteam.core.ids import AgentKey, CallKey, Purpose
from codexteam.core.json_types import JSONObject
from codexteam.errors import ModelAccessError
from codexteam.ports.answer_codec import decode_answer
from codexteam.ports.fault_points import reach
from codexteam.ports.model import (
    Answered,
    CallEnd,
    CallFailed,
    ContextExceeded,
    CutShort,
    FailureKind,
    ItemDone,
    Model,
    ModelEvent,
    ModelRequest,
    OutputSchema,
    StreamRestarted,
    TextDelta,
)
from codexteam.ports.store import OpenCall, Store, StoredAnswer


@dataclass(frozen=True, slots=True)
class Question:
    """What one call asks, beyond what is the same in all calls of the agent."""

    turn: int
    purpose: Purpose
    input: Sequence[JSONObject]
    request_hash: str
    most_input_tokens: int
    output_tokens: int
    schema: OutputSchema | None
    hand_over: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """A call's end, from the store or fresh."""

    end: CallEnd
    hand_over: bool = False


class Caller:
    """One agent's way to its model."""

    def __init__(
        self,
        agent: AgentKey,
        settings: ModelSettings,
        instructions: str,
        tools: Sequence[JSONObject],
        cache_key: str,
        *,
        model: Model,
        store: Store,
        gate: BudgetGate,
        tell: Callable[[AgentEvent], None],
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._instructions = instructions
        self._tools = tools
        self._cache_key = cache_key
        self._model = model
        self._store = store
        self._gate = gate
        self._tell = tell

    async def known(self, turn: int, purpose: Purpose) -> Given | None:
        """Give the stored end of a call."""
        stored = await self._store.answer(CallKey(self._agent, turn, purpose))
        if stored is None:
            return None
        return Given(decode_answer(stored.answer), recorded(stored.answer).hand_over)

    async def ask(self, question: Question, calls: AnswerCalls | None = None) -> Given | Exhausted:
        """Make a call. Its end is stored before it is given; a failed call is not stored and may be made again.

        `calls` is told of items as they come.

        Raises:
            ModelAccessError: the model service will not serve us.
            StoreError: the call cannot be noted, or its answer not stored.
        """
        key = CallKey(self._agent, question.turn, question.purpose)
        reservation = await self._reserve(key, question)
        if isinstance(reservation, Exhausted):
            return reservation
        call = _Call(key, question, reservation)
        try:
            end = await self._stream(call, calls)
            if not isinstance(end, Exhausted):
                await self._close(call, end)
                return Given(end, question.hand_over)
            return end
        except ModelAccessError:
            self._gate.release(call.settled())
            await self._store.close_call(key)
            raise
        finally:
            if call.reservation is not None:
                # cancelled, or it failed on the way: nobody knows whether it is billed, and the store keeps it open
                self._gate.lose(call.settled())

    async def _reserve(self, key: CallKey, question: Question) -> Reservation | Exhausted:
        return await self._gate.reserve(
            key,
            self._settings.model,
            input_tokens=question.most_input_tokens,
            output_tokens=question.output_tokens,
            hand_over=question.hand_over,
        )

    async def _stream(self, call: "_Call", calls: AnswerCalls | None) -> CallEnd | Exhausted:
        reservation = call.held()
        await self._store.open_call(
            OpenCall(
                call.key,
                call.question.request_hash,
                reservation.amount.tokens,
                reservation.amount.usd,
                reservation.amount.credits,
            )
        )
        reach("model.call")
        stream = self._model.stream(self._request(call.question, call.key, reservation.output_tokens))
        try:
            async for event in stream:
                match event:
                    case ItemDone(item=item):
                        call.heard = True
                        if calls is not None:
                            calls.item_done(item)
                    case TextDelta(text=text):
                        call.heard = True
                        self._tell(TextStreamed(text))
                    case StreamRestarted(reason, wait_seconds, tries):
                        self._tell(CallRetried(reason, wait_seconds, tries))
                        if calls is not None:
                            calls.restarted()
                        refused = await self._reserve_again(call)
                        if refused is not None:
                            return refused
                    case Answered() | CutShort() | ContextExceeded() | CallFailed():
                        reach("model.answer")
                        return event
        finally:
            await _close_stream(stream)
        return CallFailed(FailureKind.PROTOCOL, "the stream ended without an end")

    async def _reserve_again(self, call: "_Call") -> Exhausted | None:
        """Set aside for one more try, when something of the last one came and so may be billed."""
        if not call.heard:
            return None
        before = call.settled()
        self._gate.lose(before)
        again = await self._reserve(call.key, call.question)
        if isinstance(again, Exhausted):
            return again
        call.reservation = again
        call.heard = False
        if again.output_tokens < before.output_tokens:
            # the request that is made again asks for more than is left
            self._gate.release(call.settled())
            return Exhausted("the stream broke, and the budget does not hold another try of the call")
        return None

    async def _close(self, call: "_Call", end: CallEnd) -> None:
        match end:
            case Answered(usage=usage) | CutShort(usage=usage):
                record = self._record(call, call.held().amount)
                await self._store.record_answer(
                    StoredAnswer(call.key, call.question.request_hash, with_record(end, record), usage)
                )
                self._gate.settle(call.settled(), usage)
                self._tell(TurnAnswered(call.question.turn, usage))
            case ContextExceeded():
                # turned away at the door, which costs nothing
                stored = with_record(end, self._record(call, Amount()))
                await self._store.record_answer(StoredAnswer(call.key, call.question.request_hash, stored, None))
                self._gate.release(call.settled())
            case CallFailed(usage=None) if not call.heard:
                self._gate.release(call.settled())
                await self._store.close_call(call.key)
            case CallFailed(usage=None):
                self._gate.lose(call.settled())
            case CallFailed(usage=usage):
                self._gate.settle(call.settled(), usage)

    def _record(self, call: "_Call", counted: Amount) -> CallRecord:
        lost = self._gate.ledger.lost(call.key)
        return CallRecord(self._settings.model, counted, lost, call.question.hand_over)

    def _request(self, question: Question, key: CallKey, output_tokens: int) -> ModelRequest:
        return ModelRequest(
            key=key,
            settings=self._settings,
            instructions=self._instructions,
            input=question.input,
            tools=self._tools,
            prompt_cache_key=self._cache_key,
            output_schema=question.schema,
            max_output_tokens=output_tokens,
        )


@dataclass(slots=True)
class _Call:
    """One call on its way."""

    key: CallKey
    question: Question
    reservation: Reservation | None
    heard: bool = False
    """Whether something of the answer came in the current try."""

    def held(self) -> Reservation:
        """Give the reservation."""
        assert self.reservation is not None
        return self.reservation

    def settled(self) -> Reservation:
        """Give the reservation away, to be settled."""
        reservation = self.held()
        self.reservation = None
        return reservation


async def _close_stream(stream: AsyncIterator[ModelEvent]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
