"""`leave_note`: tells the other agents of a run something that is decided or found out, in a typed line."""

from typing import Final, Protocol

from codexteam.agent.tools.arguments import parse_arguments, text_argument
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line

#: What a note is about: an interface that is decided, a pitfall, the place where something is, a command that works.
NOTE_KINDS: Final = ("interface", "pitfall", "place", "command")
MOST_NOTE_CHARACTERS: Final = 500


class Notes(Protocol):
    """Where an agent leaves its notes."""

    async def leave(self, kind: str, text: str) -> str:
        """Keep a note, and pass it on; return why it cannot be kept, or an empty text."""
        ...


class LeaveNote:
    """Leaves a note; a `Tool`."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    @property
    def name(self) -> str:
        """The tool's name."""
        return "leave_note"

    @property
    def only_reads(self) -> bool:
        return False

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        return function_definition(
            self.name,
            "Tells agents of other tasks what they need and cannot see yet. One line.",
            {"kind": {"type": "string", "enum": list(NOTE_KINDS)}, "text": {"type": "string"}},
            ("kind", "text"),
            closed=False,
        )

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - a repeated call is known by its text
        """Leave it.

        Raises:
            ToolProblem: an unknown kind, no text, too long a text, or too many notes.
        """
        values = parse_arguments(self.name, arguments, known=("kind", "text"))
        kind = text_argument(values, "kind")
        text = " ".join(text_argument(values, "text").split())
        if kind not in NOTE_KINDS:
            raise ToolProblem(f"kind must be one of {', '.join(NOTE_KINDS)}, found {clean_line(kind)!r}.")
        if not text or len(text) > MOST_NOTE_CHARACTERS:
            raise ToolProblem(f"text must have 1 to {MOST_NOTE_CHARACTERS} characters, found {len(text)}.")
        refused = await self._notes.leave(kind, text)
        if refused:
            raise ToolProblem(refused)
        return ToolOutput("Others read it with their next turn.")
