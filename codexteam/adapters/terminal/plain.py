"""Plain lines: in a pipe, in CI, on a dumb terminal. One line an event, no colour, no movement."""

from datetime import UTC, datetime
from typing import TextIO

from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.report.board import Board, describe, retry_words

#: How often it is said at most that calls are asked again.
RETRIES_SAID_EVERY_SECONDS = 10.0


class PlainLines:
    """The Reporter that prints lines such as `02:31:07 T3.1 implement: Load the CSV`."""

    def __init__(self, out: TextIO, board: Board) -> None:
        """Print to `out`, which stays open, and fill `board`."""
        self._out = out
        self._board = board
        self._retries_said_at_seconds = 0.0

    def report(self, event: RunEvent) -> None:
        """Print an event that is worth a line."""
        self._board.take(event)
        words = describe(event) or self._retries(event)
        if words:
            at = datetime.fromtimestamp(event.at_seconds, UTC)
            self._out.write(f"{at:%H:%M:%S} {clean_line(words)}\n")
            self._out.flush()

    def _retries(self, event: RunEvent) -> str:
        """Say now and then that calls are asked again: where the service is away, all agents ask in turn."""
        waiting = self._board.retrying
        if event.kind != "agent.waiting" or not waiting:
            return ""
        if event.at_seconds - self._retries_said_at_seconds < RETRIES_SAID_EVERY_SECONDS:
            return ""
        self._retries_said_at_seconds = event.at_seconds
        return retry_words(waiting)

    def close(self) -> None:
        """Leave the stream as it is."""


class Quiet:
    """The Reporter that only fills a board."""

    def __init__(self, board: Board) -> None:
        """Fill `board`."""
        self._board = board

    def report(self, event: RunEvent) -> None:
        """Follow an event."""
        self._board.take(event)

    def close(self) -> None:
        """Nothing is open."""
