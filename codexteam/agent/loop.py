"""One agent from its prompt to its answer.

A turn is: make room, ask, do what was asked for, keep what was written, store the turn. Each step is found in the
store before it is done, so the same loop serves a fresh agent and a resumed one: the stored part is gone through again
without a call or a command, and the first turn that is not stored is the first that is done.

A turn ends in one of these ways:

- The model asked for tools: they run, some while it still speaks, and their outputs go into the next turn. The same calls
  with the same results again and again bring a hint, and then the end (`Stuck`), and so does a check that fails fix by fix.
- It answered: an answer that fits its contract is the result, unless somebody wrote to the agent meanwhile, who is read
  first. One that does not fit is sent back once; a second misfit ends the agent, an empty answer brings a hint.
- It was cut short by the output limit: it is told so and continues, the first time with twice the limit; twice in a row is
  the end.
- The context was too long: the transcript is summarised, and the turn is taken again. Twice in a row is the end.
- The budget refused the call: one last call from the share that is kept back for it asks for what there is so far.
- The call failed for good, turns or time are used up: the end. Time in which the agent waits for budget is not its own.

What must hold: every end carries what the agent did (`AgentStats`), its snapshot included, so that no work is lost. What is
decided while a stored turn is gone through again is what was decided then: decisions depend on what is stored, never on
time. A turn is stored as a whole; its model call is stored before, by itself (`agent.caller`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from codexteam.agent.caller import Caller, Given, Question
from codexteam.agent.checkpointer import TurnCheckpointer
from codexteam.agent.compaction import (
    CUT_SHORT,
    GO_ON,
    HAND_OVER,
    LAST_TURN,
    NOT_RUN,
    compact_at_tokens,
    compacted,
    early_end,
    request_for_summary,
)
from codexteam.agent.contract import Misfit, correction, output_schema, read_answer
from codexteam.agent.deps import AgentDeps, AgentSpec
from codexteam.agent.event_fields import Compacted, PersonAwaited, TurnStarted, fields_of
from codexteam.agent.fix_cycles import FixCycles
from codexteam.agent.harness_calls import HARNESS_PROMPT, HarnessCalls
from codexteam.agent.hold import HELD
from codexteam.agent.loop_detection import Continue, Looping, StuckDetector
from codexteam.agent.mail import message_item
from codexteam.agent.outcome import (
    AgentOutcome,
    AgentStats,
    BadAnswer,
    GaveUp,
    ModelGaveUp,
    ModelRefused,
    OutOfBudget,
    OutOfTime,
    OutOfTurns,
    Stuck,
    Submitted,
    Unsaved,
)
from codexteam.agent.prefix import cache_key
from codexteam.agent.tools.toolbox import OUTPUT_TYPES, AnswerCalls, OwnCalls, Toolbox, ToolCall, unique_calls
from codexteam.agent.transcript import Transcript, size_of, text_of, user_item
from codexteam.core.budget import Exhausted
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import CallKey, JSONObject, Purpose
from codexteam.ports.model import CallFailed, CallFailureKind, ContextExceeded, CutShort, ModelAnswer
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import StoredTurn


async def run_agent(spec: AgentSpec, deps: AgentDeps) -> AgentOutcome:
    """Let an agent work until it has answered, or cannot continue; from its last stored turn if it has any.

    Cancelling it kills its commands and leaves the store such that it can be called again. The sandbox must then be
    started with what `resume_point` gives.

    Raises:
        ModelAccessError: the model service will not serve us.
        SandboxUnavailable: the sandbox could not be started.
        SandboxLost: it went away; what is lost is the turn.
        StoreError: the store cannot be read or written.
    """
    try:
        return await _AgentLoop(spec, deps).work()
    finally:
        await deps.sessions.close()


class _AgentLoop:
    def __init__(self, spec: AgentSpec, deps: AgentDeps) -> None:
        self.spec = spec
        self.deps = deps
        self.toolbox = Toolbox({tool.name: tool for tool in deps.tools}, deps.clock, deps.report, deps.late_tools)
        self.schema = output_schema(spec.key.purpose)
        self.offered = definitions = (*self.toolbox.definitions, *deps.hosted_tools)
        self.caller = Caller(
            spec.key,
            spec.settings,
            spec.prompt.instructions,
            definitions,
            cache_key(spec.key),
            model=deps.model,
            store=deps.store,
            budget=deps.budget,
            report=deps.report,
            now=deps.clock.wall_seconds,
            paused=self._paused,
        )
        self.transcript = Transcript(spec.prompt.items(), self._fixed(definitions))
        self.checkpointer = TurnCheckpointer(spec.key, deps.store, deps.place, deps.sessions, spec.start)
        self.detector = StuckDetector()
        self.fix_cycles = FixCycles(spec.checks, spec.max_fix_cycles)
        self.output_tokens = spec.settings.max_output_tokens
        self.compact_at = compact_at_tokens(spec.settings.context_window_tokens, spec.settings.auto_compact_tokens)
        if deps.harness is not None:  # it makes its own history shorter
            self.compact_at = None
        self.stored: dict[int, StoredTurn] = {}
        self.turns = 0
        self.usage = Usage()
        self.unknown_usage_calls = 0
        self.bad_answers = 0
        self.cut_short_turn = self.too_long_turn = -1
        self.limit: asyncio.Timeout | None = None
        self.waited_seconds = 0.0

    async def work(self) -> AgentOutcome:
        self.stored = {turn.turn: turn for turn in await self.deps.store.turns(self.spec.key)}
        started_at = self.deps.clock.monotonic_seconds()
        for turn in range(1, self.spec.max_turns + 1):
            if turn not in self.stored and self.deps.hold.is_taken:
                await self._held()
            seconds = self.deps.clock.monotonic_seconds() - started_at - self.waited_seconds
            left_seconds = None if turn in self.stored else self.spec.max_seconds - seconds
            outcome = await self._turn_within(turn, left_seconds)
            if outcome is not None:
                return outcome
        return OutOfTurns(self.spec.max_turns, await self._effort(self.spec.max_turns))

    async def _held(self) -> None:
        """Wait while a person looks at the workspace; that time is not the agent's own."""
        since = self.deps.clock.monotonic_seconds()
        self.deps.report(PersonAwaited(HELD))
        await self.deps.hold.wait()
        self.deps.report(PersonAwaited(""))
        self.waited_seconds += self.deps.clock.monotonic_seconds() - since

    async def _turn_within(self, turn: int, seconds: float | None) -> AgentOutcome | None:
        """Take a turn; a call or a command under way ends with the agent's time."""
        self.limit = limit = asyncio.timeout(seconds)
        try:
            if seconds is None or seconds > 0:
                async with limit:
                    return await self._turn(turn)
        except TimeoutError:
            if not limit.expired():
                raise
        return OutOfTime(self.spec.max_seconds, await self._effort(turn))

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Take the time that passes meanwhile off what the agent has: it waits for others."""
        limit, since = self.limit, self.deps.clock.monotonic_seconds()
        when = None if limit is None else limit.when()
        left = None if when is None else when - asyncio.get_running_loop().time()
        if limit is not None and left is not None:
            limit.reschedule(None)
        try:
            yield
        finally:
            self.waited_seconds += self.deps.clock.monotonic_seconds() - since
            if limit is not None and left is not None:
                limit.reschedule(asyncio.get_running_loop().time() + left)

    async def _turn(self, turn: int) -> AgentOutcome | None:
        calls = self._calls()
        try:
            self.deps.report(TurnStarted(turn))
            self._take_late_tools()
            given = await self._make_room(turn) or await self._answer(turn, calls)
            if isinstance(given, Exhausted):
                return await self._hand_over(turn, given)
            self.turns = turn
            match given.end:
                case ModelAnswer(refusal=str(text)):
                    self._count(given)
                    return ModelRefused(text, await self._effort(turn))
                case ModelAnswer():
                    return await self._answered(turn, given, calls)
                case CutShort():
                    self._count(given)
                    return await self._cut_short(turn, given.end)
                case ContextExceeded(message=message):
                    return await self._too_long(turn, message)
                case CallFailed(kind=kind, message=message):
                    filtered = kind is CallFailureKind.FILTERED
                    return ModelGaveUp(GaveUp(kind.value), message, await self._effort(turn), lasting=filtered)
        finally:
            await calls.close()

    def _calls(self) -> AnswerCalls:
        harness = self.deps.harness
        if harness is None:
            return OwnCalls(self.toolbox)
        own = Toolbox({tool.name: tool for tool in self.deps.stored_tools}, self.deps.clock, self.deps.report)
        return HarnessCalls(harness, OwnCalls(own), self.deps.clock, self.deps.report, self.deps.place)

    def _take_late_tools(self) -> None:
        """Offer the tools that have become known since the last turn."""
        self.toolbox.take_late()
        definitions = (*self.toolbox.definitions, *self.deps.hosted_tools)
        if definitions != self.offered:
            self.offered = definitions
            self.caller.offer(definitions)
            self.transcript.fix_anew(self._fixed(definitions))

    def _fixed(self, definitions: Sequence[JSONObject]) -> tuple[object, ...]:
        if self.deps.harness is not None:
            return self.spec.prompt.instructions, HARNESS_PROMPT, self.schema and self.schema.schema
        return self.spec.prompt.instructions, list(definitions), self.schema and self.schema.schema

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
        assert isinstance(given.end, ModelAnswer)
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
        answered = [item for item in outputs if item.get("type") in OUTPUT_TYPES.values()]
        known = self.checkpointer.snapshot
        judgements = (
            self.detector.after_calls(asked, answered),
            self.fix_cycles.after_calls(asked, answered, known.tip if known is not None else ""),
        )
        for judgement in (
            () if stored else judgements
        ):  # a stored turn was judged, maybe by other limits, when it was done
            match judgement:
                case Looping(reason=reason):
                    return Stuck(reason, await self._effort(turn))
                case Continue(hint=hint):
                    if hint:
                        outputs.append(user_item(hint))
        await self._finish_turn(turn, outputs)
        return None

    async def _final(self, turn: int, text: str) -> AgentOutcome | None:
        follow_up: list[JSONObject] = []
        outcome: AgentOutcome | None = None
        if not text.strip():
            match self.detector.after_nothing():
                case Looping(reason=reason):
                    outcome = Stuck(reason, self._effort_so_far())
                case Continue(hint=hint):
                    follow_up = [user_item(hint)]
        else:
            answer = self._read(text)
            if not isinstance(answer, Misfit):
                outcome = Submitted(answer, text, self._effort_so_far())
            else:
                self.bad_answers += 1
                follow_up = [user_item(correction(answer, self.schema))]
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
            return ModelGaveUp(GaveUp.FILTERED, early_end(end.reason), await self._effort(turn))
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
            lasting = not self.transcript.blocks
            return ModelGaveUp(GaveUp.CONTEXT, message, await self._effort(turn), lasting=lasting)
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
        summary = text_of(known.end.items) if isinstance(known.end, ModelAnswer) else ""
        self.transcript.replace(compacted(self.transcript.blocks, summary))
        self.deps.report(Compacted(turn, before, self.transcript.size.weight_bytes))
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
        if not self.spec.hands_over:
            return OutOfBudget(exhausted.message, exhausted.budget_scope, None, await self._effort(turn))
        self.transcript.follow([user_item(HAND_OVER)])
        given = await self.caller.ask(self._question(turn, hand_over=True))
        handed_over = None
        if isinstance(given, Given):
            self.turns = turn
            self._count(given)
            if isinstance(given.end, ModelAnswer):
                answer = self._read(text_of(given.end.items))
                handed_over = None if isinstance(answer, Misfit) else answer
        return OutOfBudget(exhausted.message, exhausted.budget_scope, handed_over, await self._effort(turn))

    async def _handed_over(self, turn: int, asked: Sequence[ToolCall]) -> AgentOutcome | None:
        """Continue after a stored hand-over, if there is budget again."""
        if turn not in self.stored:
            text = text_of(self.transcript.blocks[-1].items)
            next_call = CallKey(self.spec.key, turn + 1, self.spec.key.purpose)
            decision = await self.deps.budget.refusal(
                next_call,
                self.spec.settings.model,
                input_tokens=self.transcript.most_input_tokens(),
                output_tokens=self.output_tokens,
            )
            if decision is not None:
                answer = self._read(text)
                handed_over = None if isinstance(answer, Misfit) else answer
                return OutOfBudget(decision.message, decision.budget_scope, handed_over, await self._effort(turn))
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
            self.checkpointer.replayed(stored)
            self.transcript.follow(stored.outputs)
            return
        follow = list(outputs)
        problem = await self.checkpointer.take_out(turn)
        if problem:
            follow.append(user_item(f"Your work cannot be saved: {problem}. Remove what does not belong in it."))
        if notice := self.checkpointer.notice():
            follow.append(user_item(notice))
        messages = self.deps.mailbox.waiting()
        notes = self.deps.mailbox.notes()
        follow += [*map(message_item, messages), *map(user_item, notes)]
        late = self.deps.late_tools
        follow += [user_item(text) for text in (late.news() if late is not None else ())]
        if turn == self.spec.max_turns - 1:
            follow.append(user_item(LAST_TURN))
        await self.checkpointer.record(turn, follow, self._told(turn, messages))
        self.deps.mailbox.drop(len(messages))
        self.deps.mailbox.drop_notes(len(notes))
        self.transcript.follow(follow)

    def _told(self, turn: int, messages: Sequence[str]) -> list[RunEvent]:
        if not messages:
            return []
        agent = fields_of(self.spec.key, self.spec.settings.model)
        now = self.deps.clock.wall_seconds()
        return [RunEvent("agent.told", now, {**agent, "turn": turn, "messages": list(messages)})]

    async def _end(self, turn: int, outcome: AgentOutcome) -> AgentOutcome:
        """Keep what commands in the background wrote since the last turn, then give the outcome with it."""
        stored = self.stored.get(turn)
        if stored is not None:
            self.checkpointer.replayed(stored)
        elif self._may_have_written():
            problem = await self._last_state(turn)
            if problem:
                return Unsaved(problem, self._effort_so_far())
            await self.checkpointer.record(turn, [])
        return _with_effort(outcome, self._effort_so_far())

    async def _effort(self, turn: int) -> AgentStats:
        """Return what the agent took, its last state taken out."""
        if turn not in self.stored and self._may_have_written():
            # what cannot be taken out now is lost with the attempt, which has failed anyway
            await self._last_state(turn)
        return self._effort_so_far()

    async def _last_state(self, turn: int) -> str:
        await self.deps.sessions.close()
        if self.deps.place is not None:
            self.deps.place.wrote = True
        return await self.checkpointer.take_out(turn)

    def _may_have_written(self) -> bool:
        place = self.deps.place
        return place is not None and not place.read_only and (place.wrote or bool(self.deps.sessions.running))

    def _effort_so_far(self) -> AgentStats:
        return AgentStats(
            self.turns, self.usage, self.unknown_usage_calls, self.checkpointer.snapshot, self.checkpointer.remarks
        )

    def _has_mail(self) -> bool:
        return bool(self.deps.mailbox.waiting())

    def _count(self, given: Given) -> None:
        if not isinstance(given.end, ModelAnswer | CutShort):
            return
        if given.usage is None:
            self.unknown_usage_calls += 1
        else:
            self.usage += given.usage


def _with_effort(outcome: AgentOutcome, effort: AgentStats) -> AgentOutcome:
    return replace(outcome, effort=effort)
