"""The user's own commands at moments of a run."""

from dataclasses import dataclass
from typing import Protocol

from codexteam.config.hooks import HookEvent
from codexteam.core.ids import JSONObject


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """How one command ended. Its texts are foreign."""

    command: str
    exit_code: int | None = None
    """None where it did not end by itself."""
    stdout: str = ""
    stderr: str = ""
    problem: str = ""
    """Why it gave no answer: not started, out of time, killed."""


class Hooks(Protocol):
    """What runs them."""

    def has(self, event: HookEvent) -> bool:
        """Return whether there are commands for an event."""
        ...

    async def run(self, event: HookEvent, fields: JSONObject) -> tuple[HookOutcome, ...]:
        """Run an event's commands in order, each with the event as JSON on standard input; none runs on after its time."""
        ...
