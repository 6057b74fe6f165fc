"""A time limit that does not count the time in which this process was stopped: by Ctrl-Z, a debugger, a paused machine.

After such a stop every timer is due at once, also where the answer that it guards has come meanwhile and lies unread.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: Time is counted in pieces of at most this many seconds.
PIECE_SECONDS = 10.0
#: A piece that took this much longer than it should have was no waiting: the process did not run.
LATE_SECONDS = 2.0


@asynccontextmanager
async def awake_timeout(seconds: float) -> AsyncIterator[None]:
    """Give what is inside so many seconds of this process's time.

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
