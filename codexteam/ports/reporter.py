"""Where a run's events are shown."""

from dataclasses import dataclass
from typing import Protocol

from codexteam.core.ids import JSONObject


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One line of `events.jsonl`: a kind such as `task.completed`, and its fields, JSON only, secrets redacted."""

    kind: str
    at_seconds: float
    fields: JSONObject
    sequence: int = 0
    """Its number in the run's journal, from 1 over all sessions; 0 until it is stored."""


class Reporter(Protocol):
    """Gets every event of a run once it is stored, in order, from the loop's thread; must be quick and must not raise."""

    def report(self, event: RunEvent) -> None:
        """Show or write one event."""
        ...

    def close(self) -> None:
        """Finish: flush files, leave the terminal as it was."""
        ...
