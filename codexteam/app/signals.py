"""Signals from a command's first moment to its last: nothing that it opened is left behind by one."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, NoReturn, TypeVar

from codexteam.errors import Interrupted

_T = TypeVar("_T")

#: As many as an agent's command may have open in a container, which a command without one inherits from here.
ENOUGH = 8192


def allow_open_files() -> None:
    """Raise this process's limit, as far as the system lets it and no further than is needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


#: From this one on nothing is waited for: the store is good at any moment.
_LAST = 3
#: The signals that came to this process.
_came: list[int] = []
#: What is put right before the process ends at once: the terminal.
_before_exit: list[Callable[[], None]] = []
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def at_hard_exit(put_right: Callable[[], None]) -> Callable[[], None]:
    """Have something put right when the process ends at once, wherever it is; the result takes it back."""
    _before_exit.append(put_right)

    def forget() -> None:
        if put_right in _before_exit:
            _before_exit.remove(put_right)

    return forget


def hard_exit(code: int) -> NoReturn:
    """End the process here: nothing is closed, but the terminal is as it was."""
    for put_right in _before_exit:
        put_right()
    os._exit(code)


class _Stage(Enum):
    OPENING = "opening"
    DRIVING = "driving"
    CLOSING = "closing"


class Signals:
    """What a signal does, by how far the command is.

    While things are opened it cancels the command, in a session the session decides, and while things are closed it
    changes nothing. The third one ends the process wherever it is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a running loop; nothing is installed yet."""
        self._loop = loop
        self._stage = _Stage.OPENING
        self._times = 0
        self._cancelled_by: int | None = None
        self._work: asyncio.Future[Any] | None = None
        self._stop: Callable[[int, int], None] | None = None

    async def guard(self, work: Awaitable[_T]) -> _T:
        """Return what a command returns.

        Raises:
            Interrupted: a signal ended it before it had begun.
        """
        # what nohup, or a shell that starts it in the background, has it ignore stays ignored
        heeded = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heeded:
            self._loop.add_signal_handler(number, self._arrived, number)
        self._work = future = asyncio.ensure_future(work)
        try:
            return await future
        except asyncio.CancelledError:
            if self._cancelled_by is None:
                raise
            raise Interrupted(self._cancelled_by) from None
        finally:
            for number in heeded:
                self._loop.remove_signal_handler(number)

    @contextmanager
    def driving(self, stop: Callable[[int, int], None], look: Callable[[], None]) -> Iterator[None]:
        """Let a session decide: `stop` gets the signal and its count, `look` is called for SIGUSR1."""
        self._stage, self._stop = _Stage.DRIVING, stop
        self._loop.add_signal_handler(signal.SIGUSR1, look)
        try:
            yield
        finally:
            self._stage = _Stage.CLOSING
            # not its default, which would end the process: another command may just have decided to send it
            self._loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    @contextmanager
    def between_sessions(self) -> Iterator[None]:
        """Let a signal end the command, as before its first session: nothing is open."""
        before, self._stage = self._stage, _Stage.OPENING
        try:
            yield
        finally:
            self._stage = before

    def _arrived(self, number: int) -> None:
        if number == signal.SIGHUP and number in _came:
            return  # the kernel, the shell and a multiplexer each tell of one window that was closed
        self._times += 1
        _came.append(number)
        if self._stage is _Stage.DRIVING and self._stop is not None:
            self._stop(number, self._times)
        elif self._times >= _LAST:
            hard_exit(128 + number)
        elif self._stage is _Stage.OPENING and self._work is not None and self._cancelled_by is None:
            self._cancelled_by = number
            self._work.cancel()


def run_guarded_by_signals(command: Callable[[Signals], Awaitable[_T]]) -> _T:
    """Run a command in a loop of its own, and return what it returns.

    Raises:
        Interrupted: a signal ended it before it had begun.
    """

    async def guarded() -> _T:
        signals = Signals(asyncio.get_running_loop())
        return await signals.guard(command(signals))

    return asyncio.run(guarded())


def leave(code: int, *, at_once: bool = False) -> int:
    """Return the exit code of the process; `at_once`, or where a signal came, end it here.

    All that has to be closed is closed by then. The interpreter would take apart, object by object, all that it has
    imported, and a thread in the middle of an image's download would hold the process.
    """
    if at_once or _came:
        os._exit(code)
    return code
