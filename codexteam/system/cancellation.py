"""How work that has begun comes to its end, and a cancellation that comes meanwhile is neither lost nor cuts it short."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

#: Time is counted in pieces of at most this many seconds.
PIECE_SECONDS = 10.0
#: A slice that took this much longer than it should: the process was not running.
LATE_SECONDS = 2.0


@asynccontextmanager
async def awake_timeout(seconds: float) -> AsyncIterator[None]:
    """Return what is inside so many seconds of this process's time.

    Raises:
        TimeoutError: they are over.
    """
    async with asyncio.timeout(None) as scope:
        pieces = _Pieces(scope, seconds)
        try:
            yield
        finally:
            pieces.end()


class _Pieces:
    """Counts a limit down."""

    def __init__(self, scope: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._left_seconds = seconds
        self._begin()

    def _begin(self) -> None:
        self._piece_seconds = min(max(self._left_seconds, 0.0), PIECE_SECONDS)
        self._due = self._loop.time() + self._piece_seconds
        self._timer = self._loop.call_at(self._due, self._passed)

    def _passed(self) -> None:
        if self._loop.time() - self._due <= LATE_SECONDS:
            self._left_seconds -= self._piece_seconds
        if self._left_seconds <= 0:
            self._scope.reschedule(self._loop.time())
        else:
            self._begin()

    def end(self) -> None:
        self._timer.cancel()


_Result = TypeVar("_Result")
_LOG = logging.getLogger(__name__)


async def to_its_end(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Do what must not be left half done, such as removing a sandbox; a cancellation counts once it is done.

    What goes wrong in work whose owner was cancelled is a note in the log.
    """
    task = asyncio.ensure_future(work)
    await wait_out(task)
    return task.result()


async def stopped(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and wait until it has ended; what went wrong in it is a note in the log."""
    task.cancel()
    await wait_out(task)
    _note_failure(task)


async def wait_out(task: "asyncio.Future[Any]") -> None:
    """Wait until a task is done without cancelling it. If cancelled meanwhile, keep waiting and be cancelled afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        _note_failure(task)
        raise cancelled


async def together(*works: Coroutine[Any, Any, _Result]) -> list[_Result]:
    """Do several things at once. The first error stops the others, and is raised when they have ended."""
    if not works:
        return []
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        # not `gather`, which forgets that it was cancelled where an error comes in the same moment
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await wait_out(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if task in done:  # what the others ended with is of no interest where one of these failed
            task.result()
    return [task.result() for task in tasks]


def _note_failure(task: "asyncio.Future[Any]") -> None:
    # also so that asyncio does not print it to the terminal
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.info("ended with %s: %s", type(error).__name__, error)


def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process that may just have ended, and leave its exit status to asyncio.

    `Process.kill` looks whether it has ended and takes the status away: asyncio then warns of an unknown child process,
    and reports 255.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
