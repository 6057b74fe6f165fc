"""Messages for an agent at work."""

from collections import deque


class Mailbox:
    """Holds what people say to an agent until its turn ends. For tasks of one event loop."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()

    def say(self, text: str) -> None:
        """Put a message in; the agent reads it before its next turn."""
        self._texts.append(text)

    def waiting(self) -> tuple[str, ...]:
        """Give the messages that nobody has read, oldest first; they stay."""
        return tuple(self._texts)

    def drop(self, count: int) -> None:
        """Take out the oldest messages, once they are stored elsewhere."""
        for _ in range(count):
            self._texts.popleft()
