"""One agent's calls: each reserved, noted, made, stored and settled, and none made whose answer is stored.

The way of a call:

1. *Reserve* the most that it can cost (`CallBudget`); it waits its turn while others use the budget, or is refused.
2. *Note* it in the store as open, at the moment in which the request goes out (`Sending`), with what it may be billed. From
   here on a crash counts it as spent.
3. *Stream* the answer. What a stream said before it broke is forgotten; the try itself may be billed. A next try needs a
   reservation of its own, and an output limit that is not lower than the one the request already asks for.
4. *Store* the answer, which closes the note in the same write, then *settle* the reservation to what was billed.

What must hold: the store never knows less than what may be billed, at any moment a process can die in. A try ends in
exactly one of three ways: billed as the service said, counted as its whole reservation where nobody knows, or released
where it is certain that it costs nothing (it never went out, or the service refused it unread). An answer is given only
after it is stored, so that an answered call is never asked again; a failed call is not stored and may be made again under
the same key.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from codexteam.agent.desk import AgentStore, CallBudget
from codexteam.agent.event_fields import (
    AgentEvent,
    BudgetAwaited,
    CallRetried,
    CallSent,
    StreamBegan,
    TextStreamed,
    TryUnanswered,
    TurnAnswered,
    fields_of,
    turn_fields,
)
from codexteam.agent.reservations import Patience
from codexteam.agent.tools.toolbox import AnswerCalls
from codexteam.config.settings import ModelSettings
from codexteam.core.budget import Exhausted, Reservation
from codexteam.core.budget_amounts import Amount, Usage, amount_of
from codexteam.core.ids import AgentKey, CallKey, JSONObject, Purpose
from codexteam.errors import ModelAccessError
from codexteam.ports.model import (
    AnsweredCall,
    CallEnd,
    CallFailed,
    CallFailureKind,
    CallRecord,
    ContextExceeded,
    CutShort,
    ItemDone,
    Model,
    ModelAnswer,
    ModelEvent,
    ModelRequest,
    OutputSchema,
    Sending,
    StreamOpened,
    StreamRestarted,
    TextDelta,
)
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import OpenCall, StoredAnswer
from codexteam.system.cancellation import to_its_end
from codexteam.system.fault_points import reach


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
        store: AgentStore,
        budget: CallBudget,
        report: Callable[[AgentEvent], None],
        now: Callable[[], float],
        paused: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Take what is the same in all calls.

        `now` gives seconds since 1970; `paused` is entered while a call waits for budget.
        """
        self._agent = agent
        self._settings = settings
        self._instructions = instructions
        self._tools = tools
        self._cache_key = cache_key
        self._model = model
        self._store = store
        self._budget = budget
        self._report = report
        self._now = now
        self._patience = Patience(paused, lambda reason: report(BudgetAwaited(reason)))

    def offer(self, tools: Sequence[JSONObject]) -> None:
        """Offer other tools from now on."""
        self._tools = tools

    async def known(self, turn: int, purpose: Purpose) -> Given | None:
        """Return the stored end of a call."""
        stored = await self._store.answer(CallKey(self._agent, turn, purpose))
        if stored is None:
            return None
        return Given(stored.answer.end, stored.usage, stored.answer.made.hand_over)

    async def ask(self, question: Question, calls: AnswerCalls | None = None) -> Given | Exhausted:
        """Make a call. Its end is stored before it is given; a failed call is not stored and may be made again.

        `calls` receives items as they arrive.

        Raises:
            ModelAccessError: the model service will not serve us.
            StoreError: the call cannot be noted, or its answer not stored.
        """
        key = CallKey(self._agent, question.turn, question.purpose)
        reservation = await self._reserve(key, question)
        if isinstance(reservation, Exhausted):
            return reservation
        call = _Call(key, question, reservation, self._now(), reported=self._budget.lost(key))
        try:
            end = await self._stream(call, calls)
            return end if isinstance(end, Exhausted) else await self._close(call, end)
        except ModelAccessError as error:
            self._try_failed(call, None, may_be_billed=error.may_be_billed)
            await self._note(call)
            raise
        finally:
            if call.reservation is not None:
                # cancelled, or it failed on the way: where it was sent nobody knows whether it is billed, and the store
                # keeps it open
                self._try_failed(call, None, may_be_billed=call.sent)
            self._keep_billed(call)
            self._tell_lost(call)

    async def _reserve(self, key: CallKey, question: Question) -> Reservation | Exhausted:
        return await self._budget.reserve(
            key,
            self._settings.model,
            input_tokens=question.most_input_tokens,
            output_tokens=question.output_tokens,
            hand_over=question.hand_over,
            patience=self._patience,
        )

    async def _stream(self, call: "_Call", calls: AnswerCalls | None) -> CallEnd | Exhausted:
        stream = self._model.stream(self._request(call.question, call.key, call.held().output_tokens))
        try:
            async for event in stream:
                match event:
                    case Sending():
                        call.sent = True
                        await self._note(call)
                        reach("model.call")
                        self._report(CallSent())
                    case StreamOpened():
                        self._report(StreamBegan())
                    case ItemDone(item=item):
                        call.heard = True
                        if calls is not None:
                            calls.item_done(item)
                    case TextDelta(text=text):
                        call.heard = True
                        self._report(TextStreamed(text))
                    case StreamRestarted(reason, wait_seconds, tries, usage, may_be_billed):
                        self._report(CallRetried(reason, wait_seconds, tries))
                        if calls is not None:
                            calls.restarted()
                        refused = await self._reserve_again(call, usage, may_be_billed=may_be_billed)
                        if refused is not None:
                            return refused
                    case ModelAnswer() | CutShort() | ContextExceeded() | CallFailed():
                        reach("model.answer")
                        return event
        finally:
            await _close_stream(stream)
        return CallFailed(CallFailureKind.PROTOCOL, "the stream ended without an end", may_be_billed=True)

    async def _reserve_again(self, call: "_Call", usage: Usage | None, *, may_be_billed: bool) -> Exhausted | None:
        """Set aside for one more try, when the last one may be billed: one reservation is for one bill."""
        if usage is None and not may_be_billed and not call.heard:
            call.sent = False
            await self._note(call)
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
            self._budget.release(call.settled())
            await self._note(call)
            return Exhausted("the stream broke, and too little budget is left to ask again with the same output limit")
        await self._note(call)
        return None

    def _try_failed(self, call: "_Call", usage: Usage | None, *, may_be_billed: bool) -> None:
        """Settle a try without an answer: as it was billed, as all of its reservation where nobody knows, or as nothing."""
        reservation = call.settled()
        if usage is not None:
            self._budget.settle(reservation, usage)
            call.billed = usage if call.billed is None else call.billed + usage
        elif may_be_billed or call.heard:
            self._budget.lose(reservation)
            self._tell_lost(call)
        else:
            self._budget.release(reservation)
        call.heard = call.sent = False

    async def _note(self, call: "_Call") -> None:
        """Keep in the store what an unanswered call counts for: its failed tries, and the one that was sent."""
        amount = self._budget.lost(call.key)
        if call.billed is not None:
            amount += self._amount(call.billed)
        if call.reservation is not None and call.sent:
            amount += call.reservation.amount
        if amount == Amount():
            await self._store.close_call(call.key)
            return
        request_hash = call.question.request_hash
        await self._store.open_call(OpenCall(call.key, request_hash, amount.tokens, amount.usd, amount.credits))

    def _keep_billed(self, call: "_Call") -> None:
        """Count what failed tries were billed as lost, since no answer is there to be stored with it."""
        if call.billed is not None:
            self._budget.note_lost(call.key, self._amount(call.billed))
            call.billed = None

    def _tell_lost(self, call: "_Call") -> None:
        """Report what tries without an answer count for, if it has grown."""
        lost = self._budget.lost(call.key)
        if lost != call.reported:
            call.reported = lost
            self._report(TryUnanswered(call.question.turn, call.question.purpose, lost))

    def _amount(self, usage: Usage) -> Amount:
        return amount_of(usage, self._budget.prices.get(self._settings.model))

    async def _close(self, call: "_Call", end: CallEnd) -> Given:
        question = call.question
        match end:
            case ModelAnswer(usage=usage) | CutShort(usage=usage):
                if usage is None:
                    self._keep_billed(call)
                in_all = usage if usage is None or call.billed is None else usage + call.billed
                stored = AnsweredCall(end, self._record(call, call.held().amount))
                # an agent that is stopped while its answer is written would count it twice: as lost, and as stored
                await to_its_end(self._keep_answer(call, stored, usage, in_all))
                return Given(end, in_all, question.hand_over)
            case ContextExceeded(usage=usage, may_be_billed=may_be_billed):
                self._try_failed(call, usage, may_be_billed=may_be_billed)
                self._keep_billed(call)
                stored = AnsweredCall(end, self._record(call, Amount()))
                await self._store.record_answer(StoredAnswer(call.key, question.request_hash, stored, None))
            case CallFailed(usage=usage, may_be_billed=may_be_billed):
                self._try_failed(call, usage, may_be_billed=may_be_billed)
                await self._note(call)
        return Given(end, None, question.hand_over)

    async def _keep_answer(
        self, call: "_Call", stored: AnsweredCall, usage: Usage | None, in_all: Usage | None
    ) -> None:
        """Store an answer and settle its call; `in_all` is with the bills of tries that failed before it."""
        counted = call.held().amount if usage is None else None
        fact = self._turn_fact(call, in_all, counted)
        await self._store.record_answer(StoredAnswer(call.key, call.question.request_hash, stored, in_all), [fact])
        call.billed = None
        self._budget.settle(call.settled(), usage)
        self._report(TurnAnswered(call.question.turn))

    def _turn_fact(self, call: "_Call", usage: Usage | None, counted: Amount | None) -> RunEvent:
        model, turn = self._settings.model, call.question.turn
        agent, price, now = fields_of(self._agent, model), self._budget.prices.get(model), self._now()
        fields = turn_fields(agent, turn, usage, price, counted)
        return RunEvent("agent.turn", now, {**fields, "seconds": round(max(0.0, now - call.made_seconds), 3)})

    def _record(self, call: "_Call", counted: Amount) -> CallRecord:
        lost = self._budget.lost(call.key)
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
    made_seconds: float
    """When its budget was there and it could be sent, wall seconds."""
    sent: bool = False
    """Whether the current try has gone out: one that waits for its place or a connection costs nothing."""
    heard: bool = False
    """Whether something of the answer came in the current try."""
    billed: Usage | None = None
    """What the failed tries were billed, where the service said so."""
    reported: Amount = field(default_factory=Amount)
    """What was reported for tries without an answer."""

    def held(self) -> Reservation:
        assert self.reservation is not None
        return self.reservation

    def settled(self) -> Reservation:
        """Return the reservation away, to be settled."""
        reservation = self.held()
        self.reservation = None
        return reservation


async def _close_stream(stream: AsyncIterator[ModelEvent]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
