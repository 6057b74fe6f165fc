"""The server's end of the channel: requests come in on standard input, answers leave on standard output."""

from __future__ import annotations

import json
import os
import selectors
import struct
from collections import deque

from .protocol import FRAME_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .protocol import Json
    from .running import Running

#: Once this much waits for the host, commands whose output is streamed are not read from.
BACKLOG = 4 << 20


class HostLink:
    """The host, as the loop sees it; nothing here waits for it."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self.incoming = bytearray()
        self.outgoing: deque[bytes | memoryview] = deque()
        self.outgoing_bytes = 0
        self.writing = False
        self.held_up: set[Running] = set()
        self.reading = True
        self.listening = True

    def receive(self) -> bool:
        """Read what came; False when the host has ended the stream, and nobody is left to answer."""
        try:
            data = os.read(0, 1 << 20)
        except (BlockingIOError, InterruptedError):
            return True
        if not data:
            self.listening = False
            self.selector.unregister(0)
            self.outgoing.clear()
            return False
        self.incoming += data
        return True

    def requests(self) -> Iterator[tuple[Json, bytes]]:
        """Take the whole frames out of what came: header and body of each."""
        while len(self.incoming) >= 8:
            head, body = struct.unpack_from(">II", self.incoming)
            if head > FRAME_LIMIT or body > FRAME_LIMIT:
                raise SystemExit(f"a frame of {head} and {body} bytes")
            if len(self.incoming) < 8 + head + body:
                return
            header = json.loads(self.incoming[8 : 8 + head].decode("ascii"))
            payload = bytes(self.incoming[8 + head : 8 + head + body])
            del self.incoming[: 8 + head + body]
            yield header, payload

    def pause(self) -> None:
        """Read no more requests until `read_on`."""
        if self.reading:
            self.reading = False
            self.selector.unregister(0)

    def read_on(self) -> None:
        if not self.reading and self.listening:
            self.reading = True
            self.selector.register(0, selectors.EVENT_READ, "host")

    def send(self, header: Json, body: bytes = b"") -> None:
        head = json.dumps(header).encode("ascii")
        frame = struct.pack(">II", len(head), len(body)) + head + body
        self.outgoing.append(frame)
        self.outgoing_bytes += len(frame)
        if len(self.outgoing) == 1:
            self.flush()

    def flush(self) -> None:
        while self.outgoing:
            frame = self.outgoing[0]
            try:
                done = os.write(1, frame[: 1 << 20])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the host is gone
                self.outgoing.clear()
                self.outgoing_bytes = 0
                self.listening = False
                break
            self.outgoing_bytes -= done
            if done == len(frame):
                self.outgoing.popleft()
            else:
                self.outgoing[0] = memoryview(frame)[done:]
        if bool(self.outgoing) != self.writing:
            self.writing = not self.writing
            if self.writing:
                self.selector.register(1, selectors.EVENT_WRITE, "host-out")
            else:
                self.selector.unregister(1)
        if self.outgoing_bytes < BACKLOG // 2:
            for run in list(self.held_up):
                self.held_up.discard(run)
                if run.out >= 0:
                    self.selector.register(run.out, selectors.EVENT_READ, run)
