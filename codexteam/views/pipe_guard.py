"""Output whose reader may leave, as `head` or a closed window does, while a run continues or ends in order; or stop reading."""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console

from codexteam.ports.reporter import Reporter, RunEvent
from codexteam.views.pager import let_go_of

#: How often it is looked whether a write waits, and how long it has to be for that to be said.
_LOOK_SECONDS, _BLOCKED_SECONDS = 1.0, 3.0
#: How a stream says that it takes nothing any more.
_TAKES_NOTHING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EBADF})


class Tethered:
    """A stream that says of a closed terminal and of a full disk what it says of a pipe without a reader: BrokenPipeError.

    Else the last drawing would be an error of the disk, in the middle of what closes a run.
    """

    def __init__(self, stream: TextIO) -> None:
        """Wrap `stream`; whether it is a terminal is asked now, as one that was closed is none."""
        self._stream = stream
        self._terminal = stream.isatty()

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._as_broken_pipe(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise self._as_broken_pipe(error) from error

    def _as_broken_pipe(self, error: OSError) -> OSError:
        gone = error.errno in _TAKES_NOTHING or (self._terminal and error.errno == errno.EIO)
        return BrokenPipeError(errno.EPIPE, error.strerror) if gone else error

    def __getattr__(self, name: str) -> object:
        """Return what else the stream has."""
        return getattr(self._stream, name)


def tethered(stream: TextIO) -> TextIO:
    """Wrap a stream that may be a terminal."""
    return cast("TextIO", Tethered(stream))


class SteadyConsole(Console):
    """A console that says nothing more once its reader has gone; rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        """Let go of the pipe."""
        self.quiet = True
        let_go_of(self.file)  # type: ignore[arg-type]  # IO[str], which is all that is used of it


class ReaderWatch:
    """Notices that somebody who writes waits for a reader, and says so meanwhile, from a thread of its own."""

    def __init__(self, blocked: Callable[[float | None], None], now: Callable[[], float]) -> None:
        """Watch; `blocked` is called with since when a write waits, and with None once it is through."""
        self._blocked = blocked
        self._now = now
        self._lock = threading.Lock()
        self._since: float | None = None
        self._is_said = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="codexteam-reader", daemon=True)
        self._thread.start()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Watch a write."""
        self._since = self._now()
        try:
            yield
        finally:
            with self._lock:
                self._since = None
                said, self._is_said = self._is_said, False
            if said:
                self._blocked(None)

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with self._lock:
                since = self._since
                if since is not None and not self._is_said and self._now() - since >= _BLOCKED_SECONDS:
                    self._is_said = True
                    self._blocked(since)

    def close(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()


class Steady:
    """A Reporter that continues when the reader of its stream is gone; what follows is still in `events.jsonl`."""

    def __init__(self, reporter: Reporter, out: TextIO, watch: ReaderWatch) -> None:
        """Wrap `reporter`, which writes to `out` and is closed with this one, as is the watch."""
        self._reporter = reporter
        self._out = out
        self._reader = watch

    def report(self, event: RunEvent) -> None:
        try:
            with self._reader.writing():
                self._reporter.report(event)
        except BrokenPipeError:
            let_go_of(self._out)

    def close(self) -> None:
        """Close what is wrapped."""
        self._reporter.close()
        self._reader.close()
