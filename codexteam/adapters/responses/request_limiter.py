"""Admission of requests to one provider and model: all agents pass it, and all wait if one has to."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from codexteam.adapters.responses.concurrency_limiter import ConcurrencyLimiter
from codexteam.ports.clock import Clock
from codexteam.ports.model import Quota
from codexteam.system.cancellation import stopped

#: Between two requests. All answers of one moment would be read at once, each agent waiting for all the others' work, and
#: the next requests would leave in one moment again. A timer is late on a busy loop, which makes the distance what the
#: loop can bear. Measured with 64 agents on two cores, 5 ms of work a turn: 3 to 5 ms are best.
_SECONDS = 0.004


class Pace:
    """Lets callers through in order, a little time apart; a caller that comes alone does not wait."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pausing = False

    async def turn(self) -> None:
        """Wait for one's turn. Cancelling it gives the turn to the next."""
        if not self._pausing:
            self._pause()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        await place

    def _pause(self) -> None:
        self._pausing = True
        asyncio.get_running_loop().call_later(self._seconds, self._next)

    def _next(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                self._pause()
                return
        self._pausing = False


class LimitedPassage:
    """One call's stay behind the gate."""

    def __init__(self, gate: "RequestLimiter", began_at: float, cache_key: str) -> None:
        self._gate = gate
        self._began_at = began_at
        self._cache_key = cache_key

    def let_in(self, requests: Quota | None, tokens: Quota | None) -> None:
        """Note that the provider took the call, and what it says is left."""
        self._gate.let_in(requests, tokens)

    def first_event(self) -> None:
        """Note that the answer has begun: the prefix is in the provider's cache now."""
        self._gate.warmed(self._cache_key)

    def slowed_down(self, retry_after_seconds: float | None) -> float:
        """Note a 429; give how long all calls wait from now on."""
        return self._gate.slowed_down(self._began_at, retry_after_seconds)


class RequestLimiter:
    """The governor's state, and the calls that wait for it, first come first served.

    With `warm_first`, of the calls with one cache key that come at the same time the first goes ahead until its answer
    begins, so that the others find their common prefix in the provider's cache; they wait `warm_seconds` at most.
    """

    def __init__(
        self,
        clock: Clock,
        jitter: Callable[[], float],
        *,
        max_width: int,
        warm_first: bool = False,
        warm_seconds: float = 5.0,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._state = ConcurrencyLimiter(max_width=max_width, width=float(max_width))
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.Task[None] | None = None
        self._warm_first = warm_first
        self._warm_seconds = warm_seconds
        self._warming: dict[str, asyncio.Event] = {}
        self._warm: set[str] = set()

    @property
    def state(self) -> ConcurrencyLimiter:
        """The governor as it is now."""
        return self._state

    @property
    def crowding(self) -> str:
        """Why one call more would only wait, for others that wait; empty where it would soon go out."""
        waiting, width = len(self._waiting), max(1, int(self._state.width))
        if waiting < width:
            return ""
        return f"the model service takes {width} calls at once at the moment, and {waiting} wait"

    @asynccontextmanager
    async def passage(self, cache_key: str) -> AsyncIterator[LimitedPassage]:
        """Wait until a call may start, and count it until the end of the block."""
        leads = self._warm_first and bool(cache_key) and await self._take_lead(cache_key)
        try:
            await self._enter()
            try:
                yield LimitedPassage(self, self._clock.monotonic_seconds(), cache_key)
            finally:
                self._state = self._state.ended()
                self._let_through()
        finally:
            if leads:
                # also when it failed: the next one leads
                self._warming.pop(cache_key).set()

    def let_in(self, requests: Quota | None, tokens: Quota | None) -> None:
        """Take in that a call was accepted."""
        self._state = self._state.let_in().observed(self._clock.monotonic_seconds(), requests=requests, tokens=tokens)
        self._let_through()

    def warmed(self, cache_key: str) -> None:
        """Take in that an answer with this cache key has begun."""
        if self._warm_first:
            self._warm.add(cache_key)
        if cache_key in self._warming:
            self._warming[cache_key].set()

    def slowed_down(self, began_at: float, retry_after_seconds: float | None) -> float:
        """Take in a 429; give the pause."""
        now = self._clock.monotonic_seconds()
        self._state = self._state.slowed_down(
            now, began_at=began_at, retry_after_seconds=retry_after_seconds, jitter=self._jitter()
        )
        return self._state.wait_seconds(now)

    async def close(self) -> None:
        """Stop waiting for time. Calls that still wait are for their owners to cancel."""
        if self._alarm is not None:
            await stopped(self._alarm)

    async def _enter(self) -> None:
        now = self._clock.monotonic_seconds()
        if not self._waiting and self._state.admits(now):
            self._state = self._state.started(now)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._let_through()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # let through and cancelled in the same moment: the place goes to the next
                self._state = self._state.ended()
            else:
                # unless it was passed over already
                with suppress(ValueError):
                    self._waiting.remove(place)
            self._let_through()
            raise

    def _let_through(self) -> None:
        now = self._clock.monotonic_seconds()
        while self._waiting and self._state.admits(now):
            place = self._waiting.popleft()
            if not place.done():
                self._state = self._state.started(now)
                place.set_result(None)
        if self._waiting and (self._alarm is None or self._alarm.done()):
            wait_seconds = self._state.wait_seconds(now)
            if wait_seconds > 0:
                self._alarm = asyncio.create_task(self._wake_after(wait_seconds))

    async def _wake_after(self, seconds: float) -> None:
        while seconds > 0:
            await self._clock.sleep(seconds)
            # the pause may have grown meanwhile
            seconds = self._state.wait_seconds(self._clock.monotonic_seconds())
        self._alarm = None
        self._let_through()

    async def _take_lead(self, cache_key: str) -> bool:
        while cache_key not in self._warm:
            leader = self._warming.get(cache_key)
            if leader is None:
                self._warming[cache_key] = asyncio.Event()
                return True
            if not await self._within_warm_seconds(leader):
                break
        return False

    async def _within_warm_seconds(self, leader: asyncio.Event) -> bool:
        begun = asyncio.ensure_future(leader.wait())
        late = asyncio.ensure_future(self._clock.sleep(self._warm_seconds))
        try:
            await asyncio.wait({begun, late}, return_when=asyncio.FIRST_COMPLETED)
            return begun.done()
        finally:
            begun.cancel()
            late.cancel()
