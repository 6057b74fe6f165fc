"""What is said to an agent while it works: held until its turn ends, then a part of its transcript.

What people say keeps an agent from ending before it has read it; what other agents have noted does not.
"""

from collections import deque
from collections.abc import Callable

from codexteam.agent.compaction import MESSAGE
from codexteam.agent.transcript import user_item
from codexteam.core.ids import JSONObject


class Mailbox:
    """Holds what is said to an agent until its turn ends. For tasks of one event loop."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._notes: deque[str] = deque()
        self.on_message: Callable[[str], None] | None = None
        """Gets each message that comes, for an agent that reads its mail elsewhere; so does `on_note` each note."""
        self.on_note: Callable[[str], None] | None = None

    def say(self, text: str) -> None:
        """Put a message in; the agent reads it before its next turn."""
        self._texts.append(text)
        if self.on_message is not None:
            self.on_message(text)

    def waiting(self) -> tuple[str, ...]:
        """Return the messages that nobody has read, oldest first; they stay."""
        return tuple(self._texts)

    def drop(self, count: int) -> None:
        """Take out the oldest messages, once they are stored elsewhere."""
        for _ in range(count):
            self._texts.popleft()

    def pass_on(self, text: str) -> None:
        """Put in what another agent has noted, as the agent is to read it."""
        self._notes.append(text)
        if self.on_note is not None:
            self.on_note(text)

    def notes(self) -> tuple[str, ...]:
        """Return what other agents have noted and nobody has read, oldest first; it stays."""
        return tuple(self._notes)

    def drop_notes(self, count: int) -> None:
        """Take out the oldest of these, once they are stored elsewhere."""
        for _ in range(count):
            self._notes.popleft()


def message_item(text: str) -> JSONObject:
    """Return a message as an item of the transcript."""
    return user_item(MESSAGE + text)
