"""What a command printed, cut to a limit: the host uses it for sessions, the server for everything else."""

from __future__ import annotations

from collections import deque

#: Room kept free in a clipped output for the line that says how much is missing.
MARKER_ROOM = 64


class Output:
    """What a command printed: its head, its tail, and how much there was."""

    def __init__(self, limit: int) -> None:
        limit = max(limit, 4 * MARKER_ROOM)
        self.limit = limit
        self.head_room = limit // 4
        self.tail_room = limit - self.head_room
        self.head = bytearray()
        self.tail: deque[bytes] = deque()
        self.tail_bytes = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        if len(self.head) < self.head_room:
            taken = data[: self.head_room - len(self.head)]
            self.head += taken
            data = data[len(taken) :]
        if data:
            self.tail.append(data)
            self.tail_bytes += len(data)
            while self.tail_bytes - len(self.tail[0]) >= self.tail_room:
                self.tail_bytes -= len(self.tail.popleft())

    def value(self) -> bytes:
        tail = b"".join(self.tail)
        if self.total <= self.limit:
            return bytes(self.head) + tail
        tail = tail[-(self.tail_room - MARKER_ROOM) :]
        missing = self.total - len(self.head) - len(tail)
        return bytes(self.head) + b"\n[... %d bytes left out ...]\n" % missing + tail
