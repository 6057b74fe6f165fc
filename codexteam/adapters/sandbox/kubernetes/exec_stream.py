"""The streams of a program in a pod, over one websocket: what a `Channel` and a relay read and write."""

import asyncio
import contextlib
import json
from collections import deque
from typing import Any

from codexteam.core.text import clean_line
from codexteam.system.cancellation import stopped

_STDIN, _STDOUT, _STDERR, _ERROR = range(4)
#: More than this is not sent at once, so that pings get through.
_CHUNK_BYTES = 128 << 10
#: A writer waits while more than this is on its way out.
_BACKLOG_BYTES = 1 << 20
_ERRORS_KEPT_BYTES = 4096


class ExecStream:
    """Both directions. Starts reading at once; owned by the one who made it, who closes it."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._ended = False
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._to_send = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self.errors = bytearray()
        """The end of what it wrote to its standard error."""
        self.status = ""
        """How it ended, as the cluster says."""
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._send())]

    async def readexactly(self, n: int, /) -> bytes:
        """Return exactly so many bytes of its standard output.

        Raises:
            asyncio.IncompleteReadError: the stream ended before.
        """
        while len(self._buffer) < n:
            if self._ended:
                raise asyncio.IncompleteReadError(bytes(self._buffer), n)
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def write(self, data: bytes, /) -> None:
        """Take bytes for its standard input."""
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK_BYTES):
            piece = bytes((_STDIN,)) + view[start : start + _CHUNK_BYTES].tobytes()
            self._waiting.append(piece)
            self._waiting_bytes += len(piece)
        if self._waiting_bytes > _BACKLOG_BYTES:
            self._sent.clear()
        self._to_send.set()

    async def drain(self) -> None:
        """Wait until there is room for more.

        Raises:
            ConnectionResetError: the stream has ended.
        """
        await self._sent.wait()
        if self._ended:
            raise ConnectionResetError(self.status or "the connection to the pod ended")

    def close(self) -> None:
        """End the stream, and with it the program."""
        self._end()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until nothing of it is left."""
        for task in self._tasks:
            await stopped(task)
        await self._socket.close()

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                data = message.data
                if not isinstance(data, bytes) or not data:
                    continue
                self._take(data[0], data[1:])
        finally:
            self._end()
            # also after `close`, which waits for nothing
            with contextlib.suppress(Exception):
                await self._socket.close()

    def _take(self, channel: int, data: bytes) -> None:
        if channel == _STDOUT:
            self._buffer += data
            self._arrived.set()
        elif channel == _STDERR:
            self.errors += data
            del self.errors[:-_ERRORS_KEPT_BYTES]
        elif channel == _ERROR:
            with contextlib.suppress(ValueError):
                said = json.loads(data)
                if isinstance(said, dict) and said.get("status") != "Success":
                    self.status = clean_line(str(said.get("message", "")))

    async def _send(self) -> None:
        try:
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                while self._waiting:
                    piece = self._waiting.popleft()
                    await self._socket.send_bytes(piece)
                    self._waiting_bytes -= len(piece)
                    if self._waiting_bytes <= _BACKLOG_BYTES:
                        self._sent.set()
        except (OSError, RuntimeError):  # aiohttp says either of a connection that is gone
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._arrived.set()
        self._sent.set()
