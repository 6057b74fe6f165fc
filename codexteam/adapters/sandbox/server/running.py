"""A command or job that the server started and has not answered yet."""

from __future__ import annotations

import time
from collections import deque

from .output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import Json


class Running:
    """A command or job on its way."""

    def __init__(self, number: int, header: Json, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.output = Output(int(header.get("output_limit", 1 << 20)))
        self.stream = bool(header.get("stream"))
        self.session = bool(header.get("session"))
        self.dialogue = bool(header.get("dialogue"))
        self.started = time.monotonic()
        timeout = header.get("timeout")
        self.deadline: float | None = self.started + timeout if timeout else None
        self.status: int | None = None
        self.wall = 0.0
        self.timed_out = False
        self.over_cap = False
        self.left = 0
        self.out = -1
        self.stdin = -1
        self.pending: deque[bytes | memoryview] = deque()
        self.pending_bytes = 0
        self.close_stdin = False
        self.drain_until: float | None = None
        self.job_reply = -1
