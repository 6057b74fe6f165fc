"""Reporters that print lines: for people in a pipe, in CI, on a dumb terminal; for programs with `--json`."""

from datetime import UTC, datetime
from typing import TextIO

from codexteam.core.text import clean_line
from codexteam.ports.reporter import RunEvent
from codexteam.report.event_lines import line_of
from codexteam.report.progress import Progress, describe, retry_words

#: How often it is said at most that calls are asked again.
RETRIES_SAID_EVERY_SECONDS = 10.0


class PlainLines:
    """The Reporter that prints lines such as `02:31:07 T3.1 implement: Load the CSV`."""

    def __init__(self, out: TextIO, progress: Progress) -> None:
        """Print to `out`, which stays open, and fill `progress`."""
        self._out = out
        self._progress = progress
        self._retries_said_at_seconds = 0.0

    def report(self, event: RunEvent) -> None:
        """Print an event that is worth a line; why a session broke off is said once, by the command as it ends."""
        self._progress.take(event)
        if event.kind == "run.broken_off":
            return
        words = describe(event) or self._retries(event)
        if words:
            at = datetime.fromtimestamp(event.at_seconds, UTC)
            self._out.write(f"{at:%H:%M:%S} {clean_line(words)}\n")
            self._out.flush()

    def _retries(self, event: RunEvent) -> str:
        """Say now and then that calls are asked again: where the service is away, all agents ask in turn."""
        waiting = self._progress.retrying
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

    def __init__(self, progress: Progress) -> None:
        """Fill `progress`."""
        self._progress = progress

    def report(self, event: RunEvent) -> None:
        """Follow an event."""
        self._progress.take(event)

    def close(self) -> None:
        """Nothing is open."""


class JsonLines:
    """The Reporter of `--json`: the same lines, on standard output."""

    def __init__(self, out: TextIO, run_id: str) -> None:
        """Write to `out`, which stays open."""
        self._out = out
        self._run_id = run_id

    def report(self, event: RunEvent) -> None:
        """Write one line."""
        self._out.write(line_of(event, run_id=self._run_id))
        self._out.flush()

    def close(self) -> None:
        """Leave the stream as it is."""
