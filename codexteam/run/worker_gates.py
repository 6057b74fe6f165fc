"""One gate for all calls to a provider and model, also those that go out from workers: both ends of it.

The gate stays in the run's process. A worker's call asks to pass, and tells what became of it; a worker that is lost leaves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from codexteam.ports.model import CallGates, Passage, Quota
from codexteam.run.worker_desk import WorkerDesk
from codexteam.run.worker_messages import (
    FirstEventCame,
    LetIn,
    PassageAsked,
    PassageLeft,
    PassageNews,
    SlowedDown,
)
from codexteam.system.cancellation import stopped


@dataclass(slots=True)
class _Stay:
    passage: Passage
    over: asyncio.Event


@dataclass(slots=True)
class PassagesHeld:
    """The run's end, of one worker. Closed by its owner."""

    gates: CallGates
    _stays: dict[int, _Stay] = field(default_factory=dict)
    _tasks: "dict[int, asyncio.Task[None]]" = field(default_factory=dict)

    async def enter(self, asked: PassageAsked) -> None:
        """Return once a call may go out; it counts until the worker says that it is over, or is lost."""
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._stay(asked, entered))
        self._tasks[asked.number] = task
        task.add_done_callback(lambda _: self._tasks.pop(asked.number, None))
        await asyncio.wait({entered, task}, return_when=asyncio.FIRST_COMPLETED)
        if not entered.done() and not task.cancelled():
            await task  # says why

    async def _stay(self, asked: PassageAsked, entered: "asyncio.Future[None]") -> None:
        over = asyncio.Event()
        async with self.gates.passage(asked.provider_id, asked.model, asked.cache_key) as passage:
            self._stays[asked.number] = _Stay(passage, over)
            entered.set_result(None)
            try:
                await over.wait()
            finally:
                del self._stays[asked.number]

    def take(self, news: PassageNews) -> None:
        """Take what a worker tells of a call."""
        stay = self._stays.get(news.number)
        if stay is None:
            waiting = self._tasks.get(news.number)
            if waiting is not None and isinstance(news.what, PassageLeft):
                waiting.cancel()
            return
        match news.what:
            case LetIn(requests=requests, tokens=tokens):
                stay.passage.let_in(requests, tokens)
            case FirstEventCame():
                stay.passage.first_event()
            case SlowedDown(retry_after_seconds=seconds):
                stay.passage.slowed_down(seconds)
            case PassageLeft():
                stay.over.set()

    async def close(self) -> None:
        """Leave all gates."""
        for task in [*self._tasks.values()]:
            await stopped(task)


class WorkerGates:
    """The worker's end: the `CallGates` of calls that go out from it."""

    def __init__(self, desk: WorkerDesk) -> None:
        """Ask at this desk."""
        self._desk = desk
        self._last = 0

    @asynccontextmanager
    async def passage(self, provider_id: str, model: str, cache_key: str) -> AsyncIterator[Passage]:
        """Wait until a call may start, and count it until the end of the block."""
        self._last += 1
        number = self._last
        try:
            await self._desk.ask(PassageAsked(number, provider_id, model, cache_key))
            yield _FarPassage(number, self._desk)
        finally:
            self._desk.tell(PassageNews(number, PassageLeft()))


@dataclass(frozen=True, slots=True)
class _FarPassage:
    """A `Passage`: the gate is in the run's process."""

    number: int
    desk: WorkerDesk

    def let_in(self, requests: Quota | None, tokens: Quota | None) -> None:
        self.desk.tell(PassageNews(self.number, LetIn(requests, tokens)))

    def first_event(self) -> None:
        self.desk.tell(PassageNews(self.number, FirstEventCame()))

    def slowed_down(self, retry_after_seconds: float | None) -> float:
        """Tell the gate, which lets the next try wait; what it decides is not known here, and what is given is a guess."""
        self.desk.tell(PassageNews(self.number, SlowedDown(retry_after_seconds)))
        return 1.0 if retry_after_seconds is None else retry_after_seconds
