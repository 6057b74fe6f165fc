"""Output whose reader may leave, as `head` does or a window that is closed, while a run goes on or ends in order."""

import errno
from typing import TextIO, cast

from rich.console import Console

from codexteam.adapters.terminal.pager import let_go_of
from codexteam.ports.reporter import Reporter, RunEvent


class Tethered:
    """A stream that says of a terminal that was closed what it says of a pipe without a reader: BrokenPipeError.

    Else the last drawing would be an error of the disk, in the middle of what closes a run.
    """

    def __init__(self, stream: TextIO) -> None:
        """Wrap `stream`; whether it is a terminal is asked now, as one that was closed is none."""
        self._stream = stream
        self._terminal = stream.isatty()

    def write(self, text: str) -> int:
        """Write."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._told(error) from error

    def flush(self) -> None:
        """Flush."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._told(error) from error

    def _told(self, error: OSError) -> OSError:
        gone = self._terminal and error.errno == errno.EIO
        return BrokenPipeError(errno.EPIPE, error.strerror) if gone else error

    def __getattr__(self, name: str) -> object:
        """Give what else the stream has."""
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


class Steady:
    """A Reporter that goes on when the reader of its stream has gone: what follows is in `events.jsonl` all the same."""

    def __init__(self, reporter: Reporter, out: TextIO) -> None:
        """Wrap `reporter`, which writes to `out` and is closed with this one."""
        self._reporter = reporter
        self._out = out

    def report(self, event: RunEvent) -> None:
        """Report one event."""
        try:
            self._reporter.report(event)
        except BrokenPipeError:
            let_go_of(self._out)

    def close(self) -> None:
        """Close what is wrapped."""
        self._reporter.close()
