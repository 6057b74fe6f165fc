"""Which engine of a pool gets the next sandbox: by free slots and weight, past those that are down or drained.

An engine that does not answer is looked at again, first soon and then ever more rarely, until it does. Nothing is looked
at while all are up.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from codexteam.adapters.sandbox.docker.client import ENGINE_ERRORS, said_by
from codexteam.config.settings import EngineSettings
from codexteam.errors import SandboxUnavailable
from codexteam.system.cancellation import stopped

#: An engine that has nothing to say for so long counts as down.
LOOK_SECONDS = 30.0
#: Between looks at an engine that is down: twice as long each time.
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 120.0
#: How often it is looked whether a drained engine may be used again, while somebody waits for a slot.
_DRAINED_LOOK_SECONDS = 2.0


class PooledEngine(Protocol):
    """What a pool knows of an engine."""

    @property
    def settings(self) -> EngineSettings:
        """Its name, slots and weight."""
        ...

    async def look(self) -> str:
        """Ask it for its version.

        Raises:
            SandboxUnavailable: it does not answer.
        """
        ...


EngineT = TypeVar("EngineT", bound=PooledEngine)


@dataclass(slots=True, eq=False)
class Place(Generic[EngineT]):
    """One engine, and what is known of it."""

    engine: EngineT
    taken: int = 0
    """Slots in use, by this process."""
    problem: str | None = None
    """What it said when it was last asked and had no answer; None while it is up."""
    has_answered: bool = False
    """It was up at some time."""
    watch: "asyncio.Task[None] | None" = None
    """Looks at it while it is down."""

    @property
    def name(self) -> str:
        """Return what the settings call it."""
        return self.engine.settings.name

    @property
    def free(self) -> int:
        """Return how many slots are left."""
        return self.engine.settings.slots - self.taken

    @property
    def load(self) -> float:
        """Return how full it would be with one sandbox more, in proportion to its weight."""
        settings = self.engine.settings
        return (self.taken + 1) / (settings.weight or settings.slots)


class Pool(Generic[EngineT]):
    """All engines. Owned by who made it, who closes it."""

    def __init__(
        self,
        engines: Sequence[EngineT],
        *,
        drained: Callable[[], Collection[str]] = frozenset,
        report: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the engines; nothing is asked yet.

        Args:
            engines: the pool's, in the order of the settings.
            drained: names of those on which nothing new is to start, asked each time.
            report: is told in words when an engine goes down and when it answers again.
            sleep: waits for so many seconds.
        """
        self._places = [Place(engine) for engine in engines]
        self._by_engine = {id(place.engine): place for place in self._places}
        self._drained = drained
        self._report = report
        self._sleep = sleep
        self._changed = asyncio.Condition()
        self._waking: set[asyncio.Future[None]] = set()
        self._told_drained = False

    @property
    def places(self) -> Sequence[Place[EngineT]]:
        """Return every engine with what is known of it."""
        return self._places

    def drained(self) -> frozenset[str]:
        """Return the names of the engines on which nothing new starts."""
        named = self._drained()
        return frozenset(each.name for each in self._places if each.engine.settings.draining or each.name in named)

    def up(self) -> Sequence[EngineT]:
        """Return those that are neither down nor drained; without any, those that are at least not the latter; else all."""
        drained = self.drained()
        open_ = [place for place in self._places if place.name not in drained]
        found = [place for place in open_ if place.problem is None] or open_ or self._places
        return [place.engine for place in found]

    async def take(self, *, failed: Collection[int] = (), tried_down: Collection[int] = ()) -> EngineT | None:
        """Take a slot, on an engine that is down only where none is up; waits while all slots are taken.

        Args:
            failed: ids of engines that are of no use to who asks.
            tried_down: ids of engines that who asks has tried while they were down.

        Returns:
            None where all have failed.
        """
        async with self._changed:
            while True:
                drained = self.drained()
                of_use = [place for place in self._places if id(place.engine) not in failed]
                open_ = [place for place in of_use if place.name not in drained]
                up = [place for place in open_ if place.problem is None]
                usable = up or [place for place in open_ if id(place.engine) not in tried_down]
                free = [place for place in usable if place.free > 0]
                if free:
                    best = min(free, key=lambda place: (place.load, -place.free))
                    best.taken += 1
                    return best.engine
                if not usable and (open_ or not of_use):
                    return None
                self._tell_all_drained(is_so=not open_)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DRAINED_LOOK_SECONDS if drained else None):
                        await self._changed.wait()

    def _tell_all_drained(self, *, is_so: bool) -> None:
        if is_so and not self._told_drained:
            names = ", ".join(sorted(self.drained()))
            self._report(
                f"no agent starts: drained are {names}; `codexteam cluster undrain NAME` lets them start there"
            )
        self._told_drained = is_so

    async def outlasts_outage(self, *, within_seconds: float, failed: Collection[int] = ()) -> bool:
        """Wait for one of several engines to answer that did before: all at once are rather cut off than dead.

        Args:
            within_seconds: how long at most.
            failed: ids of engines that are of no use to who asks.

        Returns:
            False where none does in that time, and at once where there is but one or none ever answered.
        """
        if len(self._places) < 2 or not any(place.has_answered for place in self._places):
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds), self._changed:
                await self._changed.wait_for(lambda: self._has_one_up(failed))
                return True
        return False

    def _has_one_up(self, failed: Collection[int]) -> bool:
        drained = self.drained()
        of_use = [place for place in self._places if id(place.engine) not in failed and place.name not in drained]
        return any(place.problem is None for place in of_use)

    def give_back(self, engine: EngineT) -> None:
        """Give a slot back."""
        self._by_engine[id(engine)].taken -= 1
        self._wake()

    def is_up(self, engine: EngineT) -> bool:
        """Return whether an engine answered when it was last asked."""
        return self._by_engine[id(engine)].problem is None

    def mark_down(self, engine: EngineT, why: str) -> None:
        """Pass an engine over until it answers again."""
        place = self._by_engine[id(engine)]
        if place.problem is None and len(self._places) > 1:
            self._report(f"host {place.name} does not answer and is passed over until it does: {why}")
        place.problem = why
        if place.watch is None or place.watch.done():
            place.watch = asyncio.ensure_future(self._look_until_up(place))
        self._wake()

    def mark_up(self, engine: EngineT) -> None:
        """Use an engine that answers."""
        place = self._by_engine[id(engine)]
        place.has_answered = True
        if place.problem is None:
            return
        place.problem = None
        if len(self._places) > 1:
            self._report(f"host {place.name} answers again")
        if place.watch is not None and place.watch is not asyncio.current_task():
            place.watch.cancel()
        self._wake()

    async def _look_until_up(self, place: Place[EngineT]) -> None:
        seconds = _FIRST_WAIT_SECONDS
        while place.problem is not None:
            await self._sleep(seconds)
            seconds = min(2 * seconds, _LONGEST_WAIT_SECONDS)
            why = await silence_of(place.engine)
            if why is None:
                self.mark_up(place.engine)
            else:
                place.problem = why

    def look_again(self) -> None:
        """Let who waits for a slot choose anew."""
        self._wake()

    def _wake(self) -> None:
        task = asyncio.ensure_future(self._notify())
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """Look at nothing any more."""
        for place in self._places:
            if place.watch is not None:
                await stopped(place.watch)


async def silence_of(engine: PooledEngine) -> str | None:
    """Return why an engine does not answer; None where it does."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await engine.look()
    except TimeoutError:
        return f"no answer within {LOOK_SECONDS:.0f} seconds"
    except (SandboxUnavailable, *ENGINE_ERRORS) as error:
        return str(error) if isinstance(error, SandboxUnavailable) else said_by(error)
    return None
