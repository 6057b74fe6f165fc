"""What a person wants to hear of while they are away: one of four things, in a few words."""

from dataclasses import dataclass
from typing import Final

from codexteam.core.ids import JSONObject
from codexteam.core.text import clean
from codexteam.ports.reporter import RunEvent
from codexteam.report.progress import describe, ending_words, text_field

NEEDS_YOU: Final = "needs-you"
FINISHED: Final = "finished"
BUDGET: Final = "budget"
STALLED: Final = "stalled"

#: The longest message: a reader's patience has an end, and so has an argument of a program.
_MESSAGE_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Notice:
    """One of them."""

    name: str
    """`needs-you`, `finished`, `budget` or `stalled`."""
    text: str
    """In words; safe to show."""
    fields: JSONObject
    """For programs: `result`, `exit_code`, `item` and `agent`, as far as the fact has them."""


class NoticeReader:
    """Follows a run's facts. A session that ends since a question waits which was told already is no news."""

    def __init__(self) -> None:
        self._has_asked = False
        self._answer = ""

    def take(self, event: RunEvent) -> Notice | None:
        """Return the notice that a fact is worth, if any."""
        fields = event.fields
        match event.kind:
            case "plan.created":
                self._answer = text_field(fields, "answer")  # of a goal that is a question
            case "person.asked":
                self._has_asked = True
                return _notice(NEEDS_YOU, f"waits for you: {fields.get('item')}: {fields.get('question')}", fields)
            case "budget.warned":
                return _notice(BUDGET, f"budget: {fields.get('message')}", fields)
            case "agent.stalled":
                return _notice(STALLED, describe(event), fields)
            case "run.finished" if not (fields.get("result") == "waiting" and self._has_asked):
                result = text_field(fields, "result") or "ended"
                name = {"waiting": NEEDS_YOU, "limit": BUDGET}.get(result, FINISHED)
                words = ending_words(result.replace("_", " "), text_field(fields, "reason"))
                return _notice(name, self._answer or words, fields)
            case "run.broken_off":
                return _notice(FINISHED, f"error: {fields.get('reason')}", fields)
            case _:
                pass
        return None


def _notice(name: str, text: str, fields: JSONObject) -> Notice:
    kept: JSONObject = {key: fields[key] for key in ("result", "exit_code", "item", "agent") if key in fields}
    return Notice(name, shortened(text), kept)


def shortened(text: str) -> str:
    """Return a text as it is shown in a message."""
    said = clean(text)
    return said if len(said) <= _MESSAGE_CHARS else f"{said[: _MESSAGE_CHARS - 3]}..."
