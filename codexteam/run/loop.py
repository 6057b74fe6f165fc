"""The loop: an event comes, `step` decides, the store keeps it, and only then are effects handed out.

While a run is driven, nothing else calls `step`; a run that nobody drives is changed by `app.apply_offline`. Events are
durable before anything follows from them, and with them what is told of them, so a crash repeats an effect at worst.
Every effect that is awaited answers with exactly one event; what it raises ends the session with the state as it is, and
`resume` hands it out again. An effect that a decision takes out of flight is cancelled, and its answer, should it have
come already, is not wanted any more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from codexteam.core.effects import AskPerson, Awaited, Effect, Finish, Result, WritePlan
from codexteam.core.events import Event, StopRequested
from codexteam.core.facts import signed, story
from codexteam.core.ids import JSONObject, RunId
from codexteam.core.redaction import redact_texts
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.core.stored_state import decode_event, decode_state, encode_event, encode_state
from codexteam.errors import CodexteamError, InternalError, PlanError, StoreError, UsageError
from codexteam.ports.clock import Clock
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import Store
from codexteam.system.fault_points import reach

#: Events between two checkpoints: what `resume` has to replay at most.
CHECKPOINT_EVERY = 100
#: From one version of plan.md to the next at least, but for the one that shows how a session ends: of many agents that hand
#: in at once, each would have the file written several times.
_BETWEEN_PLANS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class StoredStep:
    """An event that is about to be stored, the states around it, and what follows from it."""

    event: Event
    before: RunState
    after: RunState
    effects: tuple[Effect, ...]
    values: Sequence[tuple[str, str, JSONObject]] = ()
    by: str = ""
    """The person who asked for it."""

    def facts(self, at_seconds: float) -> list[RunEvent]:
        """Return what is told of it."""
        told = signed(story(self.event, self.before, self.after, self.effects), self.by)
        return [RunEvent(kind, at_seconds, fields) for kind, fields in told]


class EffectHandler(Protocol):
    """Carries effects out. Every method may be called again for the same effect after a crash."""

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        """Do it, and say what happened. Cancelling it leaves nothing that a repetition would not mend."""
        ...

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        """Do what nobody waits for."""
        ...


@dataclass(slots=True)
class _Outside:
    """An event from outside the core, and who waits to hear whether it was taken in."""

    event: Event | None
    """None only wakes the loop."""
    taken: "asyncio.Future[None] | None" = None
    answers: str = ""
    """The key of the effect that it answers."""
    values: Sequence[tuple[str, str, JSONObject]] = ()
    """What is stored with it and in no other case: space, key, value."""
    by: str = ""


class Driver:
    """One session of one run. Made for one event loop; `drive` is called once."""

    def __init__(
        self,
        run_id: RunId,
        *,
        store: Store,
        handler: EffectHandler,
        clock: Clock,
        state: RunState,
        redact: Callable[[str], str] = str,
        before_end: Callable[[RunState], Awaitable[None]] | None = None,
    ) -> None:
        """Take over a run at `state`, the newest that is stored.

        Args:
            run_id: the run.
            store: where events and facts go.
            handler: does what is decided.
            clock: tells when.
            state: the newest that is stored.
            redact: takes secrets out of what happens.
            before_end: reports what must be in the journal before the decision that ends the session; gets the state after it.
        """
        self._before_end = before_end
        self._redact = redact
        self._run_id = run_id
        self._store = store
        self._handler = handler
        self._clock = clock
        self._state = state
        self._inbox: asyncio.Queue[_Outside] = asyncio.Queue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """The newest of each key."""
        self._awaited: dict[str, asyncio.Task[None]] = {}
        """Those of them that answer with an event."""
        self._at_work: set[asyncio.Task[None]] = set()
        """All of them: of plan.md, which is written once more for each change, several wait for each other."""
        self._answered: set[str] = set()
        """Keys of effects whose events wait in the inbox."""
        self._failure: BaseException | None = None
        self._sequence = 0
        """The last event applied to the state, once this session has stored one."""
        self._since_checkpoint = 0
        self._halted: StopRequested | None = None
        self._plan_waits = False
        """Whether a version of plan.md is to be written soon, of what the state is then."""
        self._plan_due = False
        """Whether the state has a version that nobody has written yet."""
        self._plan_begun_seconds = -_BETWEEN_PLANS_SECONDS
        """When the last version was begun, as the event loop counts."""
        self._ending = asyncio.Event()
        self._sent: set[asyncio.Future[None]] = set()
        """What who sent an event still waits for."""
        self._over = False

    @property
    def state(self) -> RunState:
        """Return the newest state; every event in it is stored."""
        return self._state

    def send(
        self, event: Event, values: Sequence[tuple[str, str, JSONObject]] = (), *, by: str = ""
    ) -> "asyncio.Future[None]":
        """Bring an event from outside; the future says when it is stored, or raises why it was refused.

        It is cancelled if the session ends before the event is processed. `values` (space, key, value) are stored in the
        transaction of the event. `by` is who asks.
        """
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._over:
            taken.cancel()
            return taken
        self._sent.add(taken)
        taken.add_done_callback(self._sent.discard)
        self._inbox.put_nowait(_Outside(event, taken, values=values, by=by))
        return taken

    def post(self, event: Event) -> None:
        """Bring an event that is allowed at any moment, and that nobody waits for."""
        self._inbox.put_nowait(_Outside(event))

    def halt(self, stop: StopRequested) -> None:
        """End the session now: what is in flight is cancelled, and continues at `resume` from its last stored turn."""
        if self._halted is None:
            self._halted = stop
            self._wake()

    async def drive(self, first: Event) -> Finish:
        """Run until the session ends, beginning with `first`.

        Raises:
            CodexteamError: what an effect raised; the run can be resumed.
        """
        self._inbox.put_nowait(_Outside(first))
        try:
            while True:
                finish = await self._turn()
                if finish is not None:
                    return finish
        finally:
            self._over = True
            for taken in [*self._sent]:
                taken.cancel()
            await self._cancel_all()
            await self._save()

    async def _turn(self) -> Finish | None:
        """Apply the events that have arrived, store them, hand out their effects. Return how the session ends, once it does."""
        arrived = [await self._inbox.get()]
        while not self._inbox.empty():  # what came together is one transaction
            arrived.append(self._inbox.get_nowait())
        state, effects, stored = self._decide(arrived)
        ended = any(isinstance(effect, Finish) for effect in effects)
        if ended:
            self._ending.set()
            await self._report_before_end(state)
        now = self._clock.wall_seconds()
        if stored:
            rows = [(now, *encode_event(seen.event)) for seen in stored]
            values = [value for seen in stored for value in seen.values]
            last = await self._store.append(self._run_id, rows, [seen.facts(now) for seen in stored], values)
            # not before: what the store refuses must be in no checkpoint
            self._state, self._sequence = state, last
            self._since_checkpoint += len(rows)
            if self._since_checkpoint >= CHECKPOINT_EVERY:
                await self._save()
        for outside in arrived:
            if outside.taken is not None and not outside.taken.done():
                outside.taken.set_result(None)
        if self._failure is not None:
            raise self._failure
        self._cancel_unwanted()
        if self._halted is not None and not ended:  # what has ended is not interrupted any more
            return Finish(Result.INTERRUPTED, self._halted.reason, self._halted.exit_code)
        finish = None
        for effect in effects:
            if isinstance(effect, Finish):
                finish = effect
            else:
                self._hand_out(effect)
        if finish is not None:
            reach("effect.Finish.before")
            await self._finish_notes()
        return finish

    def _decide(self, arrived: Sequence[_Outside]) -> tuple[RunState, list[Effect], list[StoredStep]]:
        state = self._state
        effects: list[Effect] = []
        stored: list[StoredStep] = []
        for outside in arrived:
            if outside.event is None:
                continue
            self._answered.discard(outside.answers)
            before = state
            if outside.answers and outside.answers not in before.in_flight:
                continue  # what came before it in this very turn made it unwanted
            event = redact_texts(outside.event, self._redact)
            try:
                state, more = step(before, event)
            except (InternalError, PlanError, UsageError) as error:
                if outside.taken is None:
                    raise
                outside.taken.set_exception(error)  # a person's event that came too late, or does not hold
                continue
            effects += more
            stored.append(StoredStep(event, before, state, more, outside.values, outside.by))
        return state, effects, stored

    def _hand_out(self, effect: Awaited | AskPerson | WritePlan) -> None:
        key = effect.key
        if isinstance(effect, WritePlan):
            self._plan_due = True
            if self._plan_waits:
                return
        if not isinstance(effect, AskPerson | WritePlan) and (
            key in self._answered or key not in self._state.in_flight
        ):
            return  # handed out again by `Continued` when it was done
        running = self._tasks.get(key)
        if running is not None and not running.done():
            if not isinstance(effect, WritePlan):
                return  # handed out again by `Continued` while it still runs
            key = f"{key}+"  # the plan changed while it was being written: once more after that
        task = asyncio.create_task(self._perform(effect), name=effect.key)
        self._tasks[key] = task
        if not isinstance(effect, AskPerson | WritePlan):
            self._awaited[key] = task
        self._at_work.add(task)
        task.add_done_callback(lambda done, key=key: self._drop(key, done))  # type: ignore[misc]  # bound default

    def _cancel_unwanted(self) -> None:
        """End what works for an answer that no decision waits for any more."""
        for key, task in self._awaited.items():
            if key not in self._state.in_flight:
                task.cancel()

    def _drop(self, key: str, done: "asyncio.Task[None]") -> None:
        self._at_work.discard(done)
        for known in (self._tasks, self._awaited):
            if known.get(key) is done:
                del known[key]

    async def _perform(self, effect: Awaited | AskPerson | WritePlan) -> None:
        try:
            reach(f"effect.{type(effect).__name__}.before")
            if isinstance(effect, AskPerson | WritePlan):
                if isinstance(effect, WritePlan):
                    await self._let_plan_settle()
                    await self._write_plan(effect)
                else:
                    await self._handler.note(effect, self._state)
            else:
                event = await self._handler.perform(effect, self._state)
                self._answered.add(effect.key)
                self._inbox.put_nowait(_Outside(event, answers=effect.key))
            reach(f"effect.{type(effect).__name__}.after")
        except Exception as error:  # noqa: BLE001 - handed to `drive`, which raises it
            self._fail(_in_words(error), effect)

    async def _write_plan(self, effect: WritePlan) -> None:
        self._plan_due = False
        try:
            await self._handler.note(effect, self._state)
        except asyncio.CancelledError:
            self._plan_due = True
            raise

    async def _let_plan_settle(self) -> None:
        """Wait with plan.md where the version before it has just been written, unless the session ends."""
        loop = asyncio.get_running_loop()
        left_seconds = self._plan_begun_seconds + _BETWEEN_PLANS_SECONDS - loop.time()
        if left_seconds > 0 and not self._ending.is_set():
            self._plan_waits = True
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_seconds):
                        await self._ending.wait()
            finally:
                self._plan_waits = False
        self._plan_begun_seconds = loop.time()

    def _fail(self, error: Exception, effect: Effect) -> None:
        if self._failure is None:
            error.add_note(f"while doing {effect.key}")
            self._failure = error
            self._wake()

    def _wake(self) -> None:
        self._inbox.put_nowait(_Outside(None))

    async def _report_before_end(self, state: RunState) -> None:
        """Let everything be reported that is still to come, so that the end is the journal's last fact."""
        await asyncio.gather(*(self._at_work - {*self._awaited.values()}), return_exceptions=True)
        if self._before_end is not None:
            await self._before_end(state)

    async def _finish_notes(self) -> None:
        """Wait until plan.md and the inbox are written before the session ends."""
        await asyncio.gather(*self._at_work, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    async def _cancel_all(self) -> None:
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        # Who looks at plan.md after a stop sees where the run stands; where it fails, `resume` writes it.
        if self._plan_due:
            with suppress(CodexteamError, OSError):
                await self._write_plan(WritePlan())

    async def _save(self) -> None:
        if self._since_checkpoint:
            self._since_checkpoint = 0
            await self._store.save_checkpoint(self._run_id, self._sequence, encode_state(self._state))


def _in_words(error: Exception) -> Exception:
    """Return a file's failure as what it is to the user: the state folder is full, gone, or not ours to write."""
    if not isinstance(error, OSError) or error.filename is None:
        return error
    failure = StoreError(
        f"{error.filename}: {error.strerror}",
        hint="was it removed? is the disk full? `codexteam resume` continues if it can",
    )
    failure.__cause__ = error
    return failure


async def load_state(store: Store, run_id: RunId, *, goal: str, rules: Rules) -> RunState:
    """Return a run's newest state: its checkpoint, and the events since replayed; a fresh one where there is nothing.

    Raises:
        StoreError: what is stored cannot be read.
    """
    found = await store.checkpoint(run_id)
    after, state = (found[0], decode_state(found[1])) if found else (0, RunState(run_id, goal, rules))
    for stored in await store.events(run_id, after=after):
        event = decode_event(stored.kind, stored.payload)
        try:
            state, _ = step(state, event)
        except CodexteamError as error:
            raise StoreError(
                f"run {run_id}: event {stored.sequence} ({stored.kind}) does not follow: {error}"
            ) from error
    return state
