"""Output whose reader may leave, as `head` does, while a run goes on: the run does not end for that."""

from typing import TextIO

from rich.console import Console

from codexteam.adapters.terminal.pager import let_go_of
from codexteam.ports.reporter import Reporter, RunEvent


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
