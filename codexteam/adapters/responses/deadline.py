"""Deadlines over waits for the network: quiet for too long, or busy for too long."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

from codexteam.adapters.awake import LATE_SECONDS, PIECE_SECONDS
from codexteam.ports.clock import Clock

_Result = TypeVar("_Result")


class DeadlineError(Exception):
    """A deadline passed; the text says which."""


class Deadline:
    """Watches one try: `wait` ends with an error once nothing has moved for `idle_seconds`, or all took too long.

    One sleeping task for the whole try: a stream has thousands of events, and a timer for each would cost more than
    reading it. Time in which this process was stopped does not count: the answer may have come meanwhile, is paid for,
    and lies unread.
    """

    def __init__(self, clock: Clock, *, idle_seconds: float, total_seconds: float) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._total_seconds = total_seconds
        self._began_at = clock.monotonic_seconds()
        self._moved_at = self._began_at
        self._passed = ""
        self._scope: asyncio.Timeout | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Deadline":
        self._watch = asyncio.create_task(self._watching())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()

    @property
    def spent_seconds(self) -> float:
        """How long it has run."""
        return self._clock.monotonic_seconds() - self._began_at

    def moved(self) -> None:
        """Note progress."""
        self._moved_at = self._clock.monotonic_seconds()

    async def wait(self, what: Awaitable[_Result]) -> _Result:
        """Wait for something.

        Raises:
            DeadlineError: a deadline passed before it came.
        """
        try:
            async with asyncio.timeout(0 if self._passed else None) as scope:
                self._scope = scope
                return await what
        except TimeoutError as error:
            if not self._passed:
                raise
            raise DeadlineError(self._passed) from error
        finally:
            self._scope = None

    async def _watching(self) -> None:
        while True:
            now = self._clock.monotonic_seconds()
            idle_left = self._moved_at + self._idle_seconds - now
            total_left = self._began_at + self._total_seconds - now
            if idle_left <= 0:
                self._passed = f"nothing came for {self._idle_seconds:g} s"
            elif total_left <= 0:
                self._passed = f"it did not end within {self._total_seconds:g} s"
            if self._passed:
                break
            piece_seconds = min(idle_left, total_left, PIECE_SECONDS)
            await self._clock.sleep(piece_seconds)
            late_seconds = self._clock.monotonic_seconds() - now - piece_seconds
            if late_seconds > LATE_SECONDS:
                self._moved_at += late_seconds
                self._began_at += late_seconds
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())
