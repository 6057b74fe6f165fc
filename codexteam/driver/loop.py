"""The loop: an event comes, `step` decides, the store keeps it, and only then are effects handed out.

Rules of this module. It is the only caller of `step`. Events are durable before anything follows from them, so a crash
repeats an effect at worst. Every effect that is awaited answers with exactly one event; what it raises ends the sitting
with the state as it is, and `resume` hands it out again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from codexteam.core.codec import decode_event, decode_state, encode_event, encode_state
from codexteam.core.effects import AskPerson, Awaited, Effect, Finish, Result, WritePlan
from codexteam.core.events import Event, StopRequested
from codexteam.core.ids import RunId
from codexteam.core.state import Rules, RunState
from codexteam.core.step import step
from codexteam.errors import CodexteamError, InternalError, PlanError, StoreError
from codexteam.ports.clock import Clock
from codexteam.ports.fault_points import reach
from codexteam.ports.store import Store

#: Events between two checkpoints: what `resume` has to replay at most.
CHECKPOINT_EVERY = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that is stored, the states around it, and what follows from it."""

    event: Event
    before: RunState
    after: RunState
    effects: tuple[Effect, ...]
    number: int = 0
    """Of the event in the store, from 1."""


class Performer(Protocol):
    """Carries effects out. Every method may be called again for the same effect after a crash."""

    async def perform(self, effect: Awaited, state: RunState) -> Event:
        """Do it, and say what happened. Cancelling it leaves nothing that a repetition would not mend."""
        ...

    async def note(self, effect: AskPerson | WritePlan, state: RunState) -> None:
        """Do what nobody waits for."""
        ...

    def saw(self, seen: Seen) -> None:
        """Show an event that is stored."""
        ...


@dataclass(slots=True)
class _Outside:
    """An event from outside the core, and who waits to hear whether it was taken in."""

    event: Event | None
    """None only wakes the loop."""
    taken: "asyncio.Future[None] | None" = None
    answers: str = ""
    """The key of the effect that it answers."""


class Driver:
    """One sitting of one run. Made for one event loop; `drive` is called once."""

    def __init__(self, run_id: RunId, *, store: Store, performer: Performer, clock: Clock, state: RunState) -> None:
        """Take over a run at `state`, the newest that is stored."""
        self._run_id = run_id
        self._store = store
        self._performer = performer
        self._clock = clock
        self._state = state
        self._inbox: asyncio.Queue[_Outside] = asyncio.Queue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """The newest of each key."""
        self._at_work: set[asyncio.Task[None]] = set()
        """All of them: of plan.md, which is written once more for each change, several wait for each other."""
        self._answered: set[str] = set()
        """Keys of effects whose events wait in the inbox."""
        self._failure: BaseException | None = None
        self._sequence = 0
        """The last event that is in the state, once this sitting has stored one."""
        self._since_checkpoint = 0
        self._halted: StopRequested | None = None
        self._sent: set[asyncio.Future[None]] = set()
        """What who sent an event still waits for."""
        self._over = False

    @property
    def state(self) -> RunState:
        """Give the newest state; every event in it is stored."""
        return self._state

    def send(self, event: Event) -> "asyncio.Future[None]":
        """Bring an event from outside; the future says when it is stored, or raises why it was refused.

        It is cancelled when the sitting ends before the event was looked at.
        """
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._over:
            taken.cancel()
            return taken
        self._sent.add(taken)
        taken.add_done_callback(self._sent.discard)
        self._inbox.put_nowait(_Outside(event, taken))
        return taken

    def post(self, event: Event) -> None:
        """Bring an event that is allowed at any moment, and that nobody waits for."""
        self._inbox.put_nowait(_Outside(event))

    def halt(self, stop: StopRequested) -> None:
        """End the sitting now: what is in flight is cancelled, and goes on at `resume` from its last stored turn."""
        if self._halted is None:
            self._halted = stop
            self._wake()

    async def drive(self, first: Event) -> Finish:
        """Run until the sitting ends, beginning with `first`.

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
        """Take in what has come, store it, hand out what follows. Give how the sitting ends, when it does."""
        arrived = [await self._inbox.get()]
        while not self._inbox.empty():  # what came together is one transaction
            arrived.append(self._inbox.get_nowait())
        state, effects, stored = self._decide(arrived)
        now = self._clock.wall_seconds()
        if stored:
            rows = [(now, *encode_event(seen.event)) for seen in stored]
            last = await self._store.append(self._run_id, rows)
            # not before: what the store refuses must be in no checkpoint
            self._state, self._sequence = state, last
            self._since_checkpoint += len(rows)
            for number, seen in enumerate(stored, start=last - len(rows) + 1):
                self._performer.saw(replace(seen, number=number))
            if self._since_checkpoint >= CHECKPOINT_EVERY:
                await self._save()
        for outside in arrived:
            if outside.taken is not None and not outside.taken.done():
                outside.taken.set_result(None)
        if self._failure is not None:
            raise self._failure
        if self._halted is not None:
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

    def _decide(self, arrived: Sequence[_Outside]) -> tuple[RunState, list[Effect], list[Seen]]:
        state = self._state
        effects: list[Effect] = []
        stored: list[Seen] = []
        for outside in arrived:
            if outside.event is None:
                continue
            self._answered.discard(outside.answers)
            before = state
            try:
                state, more = step(before, outside.event)
            except (InternalError, PlanError) as error:
                if outside.taken is None:
                    raise
                outside.taken.set_exception(error)  # a person's event that came too late, or does not hold
                continue
            effects += more
            stored.append(Seen(outside.event, before, state, more))
        return state, effects, stored

    def _hand_out(self, effect: Awaited | AskPerson | WritePlan) -> None:
        key = effect.key
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
        self._at_work.add(task)
        task.add_done_callback(lambda done, key=key: self._drop(key, done))  # type: ignore[misc]  # bound default

    def _drop(self, key: str, done: "asyncio.Task[None]") -> None:
        self._at_work.discard(done)
        if self._tasks.get(key) is done:
            del self._tasks[key]

    async def _perform(self, effect: Awaited | AskPerson | WritePlan) -> None:
        try:
            reach(f"effect.{type(effect).__name__}.before")
            if isinstance(effect, AskPerson | WritePlan):
                await self._performer.note(effect, self._state)
            else:
                event = await self._performer.perform(effect, self._state)
                self._answered.add(effect.key)
                self._inbox.put_nowait(_Outside(event, answers=effect.key))
            reach(f"effect.{type(effect).__name__}.after")
        except Exception as error:  # noqa: BLE001 - handed to `drive`, which raises it
            self._fail(_in_words(error), effect)

    def _fail(self, error: Exception, effect: Effect) -> None:
        if self._failure is None:
            error.add_note(f"while doing {effect.key}")
            self._failure = error
            self._wake()

    def _wake(self) -> None:
        self._inbox.put_nowait(_Outside(None))

    async def _finish_notes(self) -> None:
        """Let plan.md and the inbox be written before the sitting ends."""
        await asyncio.gather(*self._at_work, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    async def _cancel_all(self) -> None:
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    async def _save(self) -> None:
        if self._since_checkpoint:
            self._since_checkpoint = 0
            await self._store.save_checkpoint(self._run_id, self._sequence, encode_state(self._state))


def _in_words(error: Exception) -> Exception:
    """Give a file's failure as what it is to the user: the state folder is full, gone, or not ours to write."""
    if not isinstance(error, OSError) or error.filename is None:
        return error
    failure = StoreError(
        f"{error.filename}: {error.strerror}",
        hint="was it removed? is there room? `codexteam resume` goes on if it can",
    )
    failure.__cause__ = error
    return failure


async def load_state(store: Store, run_id: RunId, *, goal: str, rules: Rules) -> RunState:
    """Give a run's newest state: its checkpoint, and the events since replayed; a fresh one where there is nothing.

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
