"""Server-sent events out of bytes that may be cut anywhere."""

from dataclasses import dataclass

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLongError(ValueError):
    """One event is longer than is read."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name, empty when it has none, and its data. Bytes that are not UTF-8 are replaced."""

    name: str
    data: bytes

    def text(self) -> str:
        """Return the data as text."""
        return self.data.decode("utf-8", errors="replace")


class EventStream:
    """Collects pieces of a stream and gives the events that they complete. Comments give nothing."""

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._name = ""
        self._data: list[bytes] = []
        self._event_bytes = 0
        self._at_start = True
        self._skip_line_feed = False

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """Take a piece; give the events it completes, in order.

        Raises:
            EventTooLongError: more than `max_event_bytes` came without an event being complete.
        """
        lines = self._normalized(piece).split(b"\n")
        events: list[ServerEvent] = []
        last = len(lines) - 1
        for index, line in enumerate(lines):
            if index == last:
                self._line += line
                break
            if self._line:
                self._line += line
                line = bytes(self._line)  # noqa: PLW2901 - the line as it began in an earlier piece
                self._line.clear()
            event = self._end_line(line)
            if event is not None:
                events.append(event)
        if self._event_bytes + len(self._line) > self._max_event_bytes:
            raise EventTooLongError(f"an event of more than {self._max_event_bytes:,} bytes")
        return events

    def finish(self) -> ServerEvent | None:
        """Return the event that was begun when the stream ended, if any; it may be cut."""
        if self._line:
            self._end_line(bytes(self._line))
            self._line.clear()
        return self._end_line(b"")

    def _normalized(self, piece: bytes) -> bytes:
        if self._at_start and piece:
            self._at_start = False
            piece = piece.removeprefix(_BYTE_ORDER_MARK)
        if self._skip_line_feed and piece:
            self._skip_line_feed = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._skip_line_feed = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return piece

    def _end_line(self, line: bytes) -> ServerEvent | None:
        if line:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
                self._event_bytes += len(value)
            elif name == b"event":
                self._name = value.decode("utf-8", errors="replace")
            return None
        event = ServerEvent(self._name, b"\n".join(self._data)) if self._data else None
        self._name = ""
        self._data = []
        self._event_bytes = 0
        return event
