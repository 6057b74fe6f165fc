"""Signals from a command's first moment to its last: nothing that it opened is left behind by one."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TextIO

from codexteam.app.output import end_in_failure

#: From this one on nothing is waited for: the store is good at any moment.
_LAST = 3
#: The signals that came to this process.
_came: list[int] = []
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stage(Enum):
    OPENING = "opening"
    DRIVING = "driving"
    CLOSING = "closing"


class Signals:
    """What a signal does, by how far the command is.

    While things are opened it cancels the command, in a sitting the sitting decides, and while things are closed it
    changes nothing. The third one ends the process wherever it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, programs: TextIO | None = None) -> None:
        """Take a running loop, and where programs read JSON Lines; nothing is installed yet."""
        self._loop = loop
        self._programs = programs
        self._stage = _Stage.OPENING
        self._times = 0
        self._cancelled_by: int | None = None
        self._work: asyncio.Future[int] | None = None
        self._stop: Callable[[int, int], None] | None = None

    async def guard(self, work: Awaitable[int]) -> int:
        """Give the exit code of a command, or that of the signal which ended it before it had begun."""
        # what nohup, or a shell that starts it in the background, has it ignore stays ignored
        heeded = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heeded:
            self._loop.add_signal_handler(number, self._arrived, number)
        self._work = asyncio.ensure_future(work)
        try:
            return await self._work
        except asyncio.CancelledError:
            if self._cancelled_by is None:
                raise
            with suppress(OSError):  # the terminal that was closed
                sys.stderr.write("interrupted\n")
            code = 128 + self._cancelled_by
            if self._programs is not None:  # it came to no end of its own that says how
                end_in_failure(self._programs, "interrupted", "", code)
            return code
        finally:
            for number in heeded:
                self._loop.remove_signal_handler(number)

    @contextmanager
    def driving(self, stop: Callable[[int, int], None], look: Callable[[], None]) -> Iterator[None]:
        """Let a sitting decide: `stop` gets the signal and its count, `look` is called for SIGUSR1."""
        self._stage, self._stop = _Stage.DRIVING, stop
        self._loop.add_signal_handler(signal.SIGUSR1, look)
        try:
            yield
        finally:
            self._stage = _Stage.CLOSING
            # not its default, which would end the process: another command may just have decided to send it
            self._loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    def _arrived(self, number: int) -> None:
        if number == signal.SIGHUP and number in _came:
            return  # the kernel, the shell and a multiplexer each tell of one window that was closed
        self._times += 1
        _came.append(number)
        if self._stage is _Stage.DRIVING and self._stop is not None:
            self._stop(number, self._times)
        elif self._times >= _LAST:
            os._exit(128 + number)
        elif self._stage is _Stage.OPENING and self._work is not None and self._cancelled_by is None:
            self._cancelled_by = number
            self._work.cancel()


def run_guarded_by_signals(command: Callable[[Signals], Awaitable[int]], programs: TextIO | None = None) -> int:
    """Run a command in a loop of its own, and give its exit code; `programs` is where they read JSON Lines."""

    async def guarded() -> int:
        signals = Signals(asyncio.get_running_loop(), programs)
        return await signals.guard(command(signals))

    return asyncio.run(guarded())


def leave(code: int) -> int:
    """Give the exit code of the process; where a signal came, end it here.

    All that has to be closed is closed by then; a thread in the middle of an image's download would hold the process.
    """
    if _came:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    return code
