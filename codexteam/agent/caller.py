"""One agent's calls: each reserved, noted, made, stored and settled, and none made whose answer is stored."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from codexteam.agent.agent_events import AgentEvent, CallRetried, TextStreamed, TryUnanswered, TurnAnswered
from codexteam.agent.budget_gate import BudgetGate
from codexteam.agent.call_record import CallRecord, recorded, with_record
from codexteam.agent.tools.toolbox import AnswerCalls
from codexteam.config.settings import ModelSettings
from codexteam.core.budget import Exhausted, Reservation
from codexteam.core.budget_amounts import Amount, amount_of
from codexteam.core.ids import AgentKey, CallKey, Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.errors import ModelAccessError
from codexteam.ports.answer_codec import decode_answer
from codexteam.ports.endings import to_its_end
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
    usage: Usage | None = None
    """Of an answer and of the tries that failed before it; None when the service did not say."""
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
        return Given(decode_answer(stored.answer), stored.usage, recorded(stored.answer).hand_over)

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
        call = _Call(key, question, reservation, told=self._gate.ledger.lost(key))
        try:
            end = await self._stream(call, calls)
            return end if isinstance(end, Exhausted) else await self._close(call, end)
        except ModelAccessError as error:
            self._try_failed(call, None, may_be_billed=error.may_be_billed)
            await self._note(call)
            raise
        finally:
            if call.reservation is not None:
                # cancelled, or it failed on the way: nobody knows whether it is billed, and the store keeps it open
                self._gate.lose(call.settled())
            self._keep_billed(call)
            self._tell_lost(call)

    async def _reserve(self, key: CallKey, question: Question) -> Reservation | Exhausted:
        return await self._gate.reserve(
            key,
            self._settings.model,
            input_tokens=question.most_input_tokens,
            output_tokens=question.output_tokens,
            hand_over=question.hand_over,
        )

    async def _stream(self, call: "_Call", calls: AnswerCalls | None) -> CallEnd | Exhausted:
        await self._note(call)
        reach("model.call")
        stream = self._model.stream(self._request(call.question, call.key, call.held().output_tokens))
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
                    case StreamRestarted(reason, wait_seconds, tries, usage, may_be_billed):
                        self._tell(CallRetried(reason, wait_seconds, tries))
                        if calls is not None:
                            calls.restarted()
                        refused = await self._reserve_again(call, usage, may_be_billed=may_be_billed)
                        if refused is not None:
                            return refused
                    case Answered() | CutShort() | ContextExceeded() | CallFailed():
                        reach("model.answer")
                        return event
        finally:
            await _close_stream(stream)
        return CallFailed(FailureKind.PROTOCOL, "the stream ended without an end", may_be_billed=True)

    async def _reserve_again(self, call: "_Call", usage: Usage | None, *, may_be_billed: bool) -> Exhausted | None:
        """Set aside for one more try, when the last one may be billed: one reservation is for one bill."""
        if usage is None and not may_be_billed and not call.heard:
            return None
        output_tokens = call.held().output_tokens
        self._try_failed(call, usage, may_be_billed=may_be_billed)
        again = await self._reserve(call.key, call.question)
        if isinstance(again, Exhausted):
            await self._note(call)
            return again
        call.reservation = again
        if again.output_tokens < output_tokens:
            # the request that is made again asks for more than is left
            self._gate.release(call.settled())
            await self._note(call)
            return Exhausted("the stream broke, and the budget does not hold another try of the call")
        await self._note(call)
        return None

    def _try_failed(self, call: "_Call", usage: Usage | None, *, may_be_billed: bool) -> None:
        """Settle a try without an answer: as it was billed, as all of its reservation where nobody knows, or as nothing."""
        reservation = call.settled()
        if usage is not None:
            self._gate.settle(reservation, usage)
            call.billed = usage if call.billed is None else call.billed + usage
        elif may_be_billed or call.heard:
            self._gate.lose(reservation)
            self._tell_lost(call)
        else:
            self._gate.release(reservation)
        call.heard = False

    async def _note(self, call: "_Call") -> None:
        """Keep in the store what an unanswered call counts for: its failed tries, and the one on its way."""
        amount = self._gate.ledger.lost(call.key)
        if call.billed is not None:
            amount += self._amount(call.billed)
        if call.reservation is not None:
            amount += call.reservation.amount
        if amount == Amount():
            await self._store.close_call(call.key)
            return
        request_hash = call.question.request_hash
        await self._store.open_call(OpenCall(call.key, request_hash, amount.tokens, amount.usd, amount.credits))

    def _keep_billed(self, call: "_Call") -> None:
        """Count what failed tries were billed as lost, since no answer is there to be stored with it."""
        if call.billed is not None:
            self._gate.ledger.note_lost(call.key, self._amount(call.billed))
            call.billed = None

    def _tell_lost(self, call: "_Call") -> None:
        """Tell what tries without an answer count for, when it has become more."""
        lost = self._gate.ledger.lost(call.key)
        if lost != call.told:
            call.told = lost
            self._tell(TryUnanswered(call.question.turn, call.question.purpose, lost))

    def _amount(self, usage: Usage) -> Amount:
        return amount_of(usage, self._gate.prices.get(self._settings.model))

    async def _close(self, call: "_Call", end: CallEnd) -> Given:
        question = call.question
        match end:
            case Answered(usage=usage) | CutShort(usage=usage):
                if usage is None:
                    self._keep_billed(call)
                in_all = usage if usage is None or call.billed is None else usage + call.billed
                stored = with_record(end, self._record(call, call.held().amount))
                # an agent that is stopped while its answer is written would count it twice: as lost, and as stored
                await to_its_end(self._keep_answer(call, stored, usage, in_all))
                return Given(end, in_all, question.hand_over)
            case ContextExceeded(usage=usage, may_be_billed=may_be_billed):
                self._try_failed(call, usage, may_be_billed=may_be_billed)
                self._keep_billed(call)
                stored = with_record(end, self._record(call, Amount()))
                await self._store.record_answer(StoredAnswer(call.key, question.request_hash, stored, None))
            case CallFailed(usage=usage, may_be_billed=may_be_billed):
                self._try_failed(call, usage, may_be_billed=may_be_billed)
                await self._note(call)
        return Given(end, None, question.hand_over)

    async def _keep_answer(self, call: "_Call", stored: JSONObject, usage: Usage | None, in_all: Usage | None) -> None:
        """Store an answer and settle its call; `in_all` is with the bills of tries that failed before it."""
        await self._store.record_answer(StoredAnswer(call.key, call.question.request_hash, stored, in_all))
        call.billed = None
        reservation = call.settled()
        self._gate.settle(reservation, usage)
        self._tell(TurnAnswered(call.question.turn, in_all, reservation.amount if usage is None else None))

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
    billed: Usage | None = None
    """What the failed tries were billed, where the service said so."""
    told: Amount = field(default_factory=Amount)
    """What was told of tries without an answer."""

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
