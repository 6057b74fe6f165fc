"""One agent from its prompt to its answer.

A turn is: make room, ask, do what was asked for, keep what was written, store the turn. Each step is found in the
store before it is done, so the same loop serves a fresh agent and a resumed one: the stored part is gone through again
without a call or a command, and the first turn that is not stored is the first that is done.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from codexteam.agent.agent_events import Compacted, MessagesDelivered, TurnStarted
from codexteam.agent.caller import Caller, Given, Question
from codexteam.agent.compaction import compact_at_tokens, compacted, request_for_summary
from codexteam.agent.contract import Misfit, output_schema, read_answer
from codexteam.agent.notices import CUT_SHORT, GO_ON, HAND_OVER, LAST_TURN, MESSAGE, NOT_RUN
from codexteam.agent.outcome import (
    AgentOutcome,
    BadAnswer,
    Effort,
    GaveUp,
    ModelGaveUp,
    OutOfBudget,
    OutOfTime,
    OutOfTurns,
    Refused,
    Stuck,
    Submitted,
    Unsaved,
)
from codexteam.agent.prefix import cache_key
from codexteam.agent.saving import Keeper
from codexteam.agent.spec import AgentSpec, Means
from codexteam.agent.stuck import GoingOn, InCircles, StuckDetector
from codexteam.agent.tools.toolbox import OUTPUT_TYPES, AnswerCalls, Toolbox, ToolCall, unique_calls
from codexteam.agent.transcript import Transcript, size_of, text_of, user_item
from codexteam.core.budget import Exhausted
from codexteam.core.ids import CallKey, Purpose
from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.ports.model import Answered, CallFailed, ContextExceeded, CutShort
from codexteam.ports.store import StoredTurn


async def run_agent(spec: AgentSpec, means: Means) -> AgentOutcome:
    """Let an agent work until it has answered, or cannot go on; from its last stored turn if it has any.

    Cancelling it kills its commands and leaves the store such that it can be called again. The sandbox must then be
    started with what `resume_point` gives.

    Raises:
        ModelAccessError: the model service will not serve us.
        SandboxUnavailable: the sandbox could not be started.
        SandboxLost: it went away; what is lost is the turn.
        StoreError: the store cannot be read or written.
    """
    try:
        return await _Agent(spec, means).work()
    finally:
        await means.sessions.close()


class _Agent:
    def __init__(self, spec: AgentSpec, means: Means) -> None:
        self.spec = spec
        self.means = means
        self.toolbox = Toolbox({tool.name: tool for tool in means.tools}, means.clock, means.tell)
        self.schema = output_schema(spec.key.purpose)
        definitions = (*self.toolbox.definitions, *means.hosted_tools)
        self.caller = Caller(
            spec.key,
            spec.settings,
            spec.prompt.instructions,
            definitions,
            cache_key(spec.key),
            model=means.model,
            store=means.store,
            gate=means.gate,
            tell=means.tell,
        )
        fixed = (spec.prompt.instructions, list(definitions), self.schema and self.schema.schema)
        self.transcript = Transcript(spec.prompt.items(), fixed)
        self.keeper = Keeper(spec.key, means.store, means.place, means.sessions, spec.start)
        self.detector = StuckDetector()
        self.output_tokens = spec.settings.max_output_tokens
        self.compact_at = compact_at_tokens(spec.settings.context_window_tokens, spec.settings.auto_compact_tokens)
        self.stored: dict[int, StoredTurn] = {}
        self.turns = 0
        self.usage = Usage()
        self.unknown_usage_calls = 0
        self.bad_answers = 0
        self.cut_short_turn = self.too_long_turn = -1

    async def work(self) -> AgentOutcome:
        self.stored = {turn.turn: turn for turn in await self.means.store.turns(self.spec.key)}
        started_at = self.means.clock.monotonic_seconds()
        for turn in range(1, self.spec.max_turns + 1):
            seconds = self.means.clock.monotonic_seconds() - started_at
            left_seconds = None if turn in self.stored else self.spec.max_seconds - seconds
            outcome = await self._turn_within(turn, left_seconds)
            if outcome is not None:
                return outcome
        return OutOfTurns(self.spec.max_turns, await self._effort(self.spec.max_turns))

    async def _turn_within(self, turn: int, seconds: float | None) -> AgentOutcome | None:
        """Take a turn; a call or a command under way ends with the agent's time."""
        limit = asyncio.timeout(seconds)
        try:
            if seconds is None or seconds > 0:
                async with limit:
                    return await self._turn(turn)
        except TimeoutError:
            if not limit.expired():
                raise
        return OutOfTime(self.spec.max_seconds, await self._effort(turn))

    async def _turn(self, turn: int) -> AgentOutcome | None:
        calls = AnswerCalls(self.toolbox)
        try:
            self.means.tell(TurnStarted(turn))
            given = await self._make_room(turn) or await self._answer(turn, calls)
            if isinstance(given, Exhausted):
                return await self._hand_over(turn, given)
            self.turns = turn
            match given.end:
                case Answered(refusal=str(text)):
                    self._count(given)
                    return Refused(text, await self._effort(turn))
                case Answered():
                    return await self._answered(turn, given, calls)
                case CutShort():
                    self._count(given)
                    return await self._cut_short(turn, given.end)
                case ContextExceeded(message=message):
                    return await self._too_long(turn, message)
                case CallFailed(kind=kind, message=message):
                    return ModelGaveUp(GaveUp(kind.value), message, await self._effort(turn))
        finally:
            await calls.close()

    # what the model says

    async def _answer(self, turn: int, calls: AnswerCalls) -> Given | Exhausted:
        known = await self._known(turn, self.spec.key.purpose)
        if known is not None:
            return known
        return await self.caller.ask(self._question(turn), calls)

    async def _known(self, turn: int, purpose: Purpose) -> Given | None:
        # behind the first turn that is not stored no answer can be, so nothing is looked up while an agent is at work
        return await self.caller.known(turn, purpose) if turn <= len(self.stored) + 1 else None

    def _question(self, turn: int, *, hand_over: bool = False) -> Question:
        return Question(
            turn=turn,
            purpose=self.spec.key.purpose,
            input=self.transcript.input(),
            request_hash=self.transcript.hash,
            most_input_tokens=self.transcript.most_input_tokens(),
            output_tokens=self.output_tokens,
            schema=self.schema,
            hand_over=hand_over,
        )

    async def _answered(self, turn: int, given: Given, calls: AnswerCalls) -> AgentOutcome | None:
        assert isinstance(given.end, Answered)
        items, asked = unique_calls(given.end.items, turn=turn)
        if given.hand_over:
            self.transcript.follow([user_item(HAND_OVER)])
        self.transcript.begin(items, given.end.usage)
        self._count(given)
        if given.hand_over:
            return await self._handed_over(turn, asked)
        if asked:
            return await self._do_calls(turn, asked, calls)
        return await self._final(turn, text_of(items))

    async def _do_calls(self, turn: int, asked: Sequence[ToolCall], calls: AnswerCalls) -> AgentOutcome | None:
        stored = self.stored.get(turn)
        if turn >= self.spec.max_turns and not stored:
            return OutOfTurns(self.spec.max_turns, await self._effort(turn))
        outputs = list(stored.outputs) if stored else await calls.outputs(asked)
        told = [item for item in outputs if item.get("type") in OUTPUT_TYPES.values()]
        match self.detector.after_calls(asked, told):
            case InCircles(reason=reason):
                return Stuck(reason, await self._effort(turn))
            case GoingOn(hint=hint):
                if hint and not stored:
                    outputs.append(user_item(hint))
        await self._finish_turn(turn, outputs)
        return None

    async def _final(self, turn: int, text: str) -> AgentOutcome | None:
        follow_up: list[JSONObject] = []
        outcome: AgentOutcome | None = None
        if not text.strip():
            match self.detector.after_nothing():
                case InCircles(reason=reason):
                    outcome = Stuck(reason, self._effort_so_far())
                case GoingOn(hint=hint):
                    follow_up = [user_item(hint)]
        else:
            answer = self._read(text)
            if not isinstance(answer, Misfit):
                outcome = Submitted(answer, text, self._effort_so_far())
            else:
                self.bad_answers += 1
                follow_up = [
                    user_item(f"Your final answer was not accepted: {answer.reason}\nSend it again, corrected.")
                ]
                if self.bad_answers > 1:
                    outcome = BadAnswer(answer.reason, text, self._effort_so_far())
        stored = self.stored.get(turn)
        goes_on = bool(stored.outputs) if stored else isinstance(outcome, Submitted) and self._has_mail()
        if outcome is not None and not goes_on:
            return await self._end(turn, outcome)
        await self._finish_turn(turn, follow_up)
        return None

    def _read(self, text: str) -> JSONObject | Misfit:
        if self.schema is None:
            return {}
        answer = read_answer(text, self.schema)
        if isinstance(answer, Misfit):
            return answer
        problem = self.spec.check(answer.answer) if self.spec.check else None
        return Misfit(problem) if problem else answer.answer

    async def _cut_short(self, turn: int, end: CutShort) -> AgentOutcome | None:
        if end.reason != "max_output_tokens":
            return ModelGaveUp(GaveUp.FILTERED, f"the answer ended early: {end.reason}", await self._effort(turn))
        if self.cut_short_turn == turn - 1:
            message = f"the answer passed the limit of {self.output_tokens} output tokens twice in a row"
            return ModelGaveUp(GaveUp.LENGTH, message, await self._effort(turn))
        if self.cut_short_turn < 0:
            self.output_tokens *= 2
        self.cut_short_turn = turn
        await self._finish_turn(turn, [user_item(CUT_SHORT)])
        return None

    async def _too_long(self, turn: int, message: str) -> AgentOutcome | None:
        if self.too_long_turn == turn - 1 or not self.transcript.blocks:
            return ModelGaveUp(GaveUp.CONTEXT, message, await self._effort(turn))
        self.too_long_turn = turn
        await self._finish_turn(turn, [])
        return None

    # a transcript that fits

    async def _make_room(self, turn: int) -> Given | Exhausted | None:
        """Make the transcript shorter if it is time. Gives what ends the turn instead, if it could not be."""
        known = await self._known(turn, Purpose.COMPACT)
        if known is None:
            too_long = self.too_long_turn == turn - 1
            if not too_long and not self._is_full():
                return None
            given = await self._ask_for_summary(turn, most_bytes=self._half() if too_long else None)
            if isinstance(given, Exhausted) or isinstance(given.end, CallFailed):
                return given
            known = given
        before = self.transcript.size.weight_bytes
        self._count(known)
        summary = text_of(known.end.items) if isinstance(known.end, Answered) else ""
        self.transcript.replace(compacted(self.transcript.blocks, summary))
        self.means.tell(Compacted(turn, before, self.transcript.size.weight_bytes))
        return None

    def _is_full(self) -> bool:
        if self.compact_at is None or self.transcript.likely_tokens() < self.compact_at:
            return False
        # a summary that leaves most of it as it is would be asked for again and again
        after = sum(block.size.weight_bytes for block in compacted(self.transcript.blocks, ""))
        return after < 0.7 * sum(block.size.weight_bytes for block in self.transcript.blocks)

    def _half(self) -> int:
        return self.transcript.size.weight_bytes // 2

    async def _ask_for_summary(self, turn: int, *, most_bytes: int | None) -> Given | Exhausted:
        items = request_for_summary(self.transcript, self.spec.compact_prompt, most_bytes=most_bytes)
        bound = self.transcript.most_input_tokens() + size_of(items[-1]).text_bytes
        if most_bytes is not None:
            shorter = Transcript(items, self.transcript.fixed)
            bound = shorter.most_input_tokens()
        question = Question(
            turn=turn,
            purpose=Purpose.COMPACT,
            input=items,
            request_hash=self.transcript.hash,
            most_input_tokens=bound,
            output_tokens=min(self.output_tokens, self.spec.settings.max_output_tokens),
            schema=None,
        )
        return await self.caller.ask(question)

    # the budget's end

    async def _hand_over(self, turn: int, exhausted: Exhausted) -> AgentOutcome:
        """Let the agent say what it has, out of the share that is kept back for that."""
        self.transcript.follow([user_item(HAND_OVER)])
        given = await self.caller.ask(self._question(turn, hand_over=True))
        handed_over = None
        if isinstance(given, Given):
            self.turns = turn
            self._count(given)
            if isinstance(given.end, Answered):
                answer = self._read(text_of(given.end.items))
                handed_over = None if isinstance(answer, Misfit) else answer
        return OutOfBudget(exhausted.message, exhausted.kind, handed_over, await self._effort(turn))

    async def _handed_over(self, turn: int, asked: Sequence[ToolCall]) -> AgentOutcome | None:
        """Go on behind a stored hand-over, if there is budget again."""
        if turn not in self.stored:
            text = text_of(self.transcript.blocks[-1].items)
            next_call = CallKey(self.spec.key, turn + 1, self.spec.key.purpose)
            decision = self.means.gate.refusal(
                next_call,
                self.spec.settings.model,
                input_tokens=self.transcript.most_input_tokens(),
                output_tokens=self.output_tokens,
            )
            if decision is not None:
                answer = self._read(text)
                handed_over = None if isinstance(answer, Misfit) else answer
                return OutOfBudget(decision.message, decision.kind, handed_over, await self._effort(turn))
        not_run: list[JSONObject] = [
            {"type": OUTPUT_TYPES[call.kind], "call_id": call.call_id, "output": NOT_RUN} for call in asked
        ]
        await self._finish_turn(turn, [*not_run, user_item(GO_ON)])
        return None

    # the turn's end

    async def _finish_turn(self, turn: int, outputs: Sequence[JSONObject]) -> None:
        """Store what follows an answer, and the workspace with it; a stored turn is only taken over."""
        stored = self.stored.get(turn)
        if stored is not None:
            self.keeper.replayed(stored)
            self.transcript.follow(stored.outputs)
            return
        follow = list(outputs)
        problem = await self.keeper.take_out(turn)
        if problem:
            follow.append(user_item(f"Your work cannot be saved: {problem}. Remove what does not belong to it."))
        messages = self.means.mailbox.waiting()
        follow += [user_item(MESSAGE + text) for text in messages]
        if turn == self.spec.max_turns - 1:
            follow.append(user_item(LAST_TURN))
        await self.keeper.record(turn, follow)
        self.means.mailbox.drop(len(messages))
        if messages:
            self.means.tell(MessagesDelivered(turn, messages))
        self.transcript.follow(follow)

    async def _end(self, turn: int, outcome: AgentOutcome) -> AgentOutcome:
        """Keep what commands in the background wrote since the last turn, then give the outcome with it."""
        stored = self.stored.get(turn)
        if stored is not None:
            self.keeper.replayed(stored)
        elif self._may_have_written():
            problem = await self._last_state(turn)
            if problem:
                return Unsaved(problem, self._effort_so_far())
            await self.keeper.record(turn, [])
        return _with_effort(outcome, self._effort_so_far())

    async def _effort(self, turn: int) -> Effort:
        """Give what the agent took, its last state taken out."""
        if turn not in self.stored and self._may_have_written():
            # what cannot be taken out now is lost with the attempt, which has failed anyway
            await self._last_state(turn)
        return self._effort_so_far()

    async def _last_state(self, turn: int) -> str:
        await self.means.sessions.close()
        if self.means.place is not None:
            self.means.place.wrote = True
        return await self.keeper.take_out(turn)

    def _may_have_written(self) -> bool:
        place = self.means.place
        return place is not None and not place.read_only and (place.wrote or bool(self.means.sessions.running))

    def _effort_so_far(self) -> Effort:
        return Effort(self.turns, self.usage, self.unknown_usage_calls, self.keeper.snapshot)

    def _has_mail(self) -> bool:
        return bool(self.means.mailbox.waiting())

    def _count(self, given: Given) -> None:
        if not isinstance(given.end, Answered | CutShort):
            return
        if given.usage is None:
            self.unknown_usage_calls += 1
        else:
            self.usage += given.usage


def _with_effort(outcome: AgentOutcome, effort: Effort) -> AgentOutcome:
    return replace(outcome, effort=effort)
