"""The program that carries a sandbox's connections to the proxy outside, and the protocol it speaks.

Inside a sandbox there is no network but the loopback interface. This program listens there and carries what comes to
the proxy: as streams in frames over its standard input and output, or over a socket that stands for the proxy. It
holds no rule and no secret; an agent that breaks it has no network, and nothing else.

One file of standard library only, with the syntax of Python 3.7, since it runs on the interpreter of an image. Its
one argument is a JSON object: `port`, and `socket`, a path, or null for standard input and output.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Protocol

    class Reader(Protocol):
        async def readexactly(self, n: int) -> bytes: ...

    class Writer(Protocol):
        def write(self, data: bytes) -> None: ...
        async def drain(self) -> None: ...
        def close(self) -> None: ...


#: Where commands find the proxy.
PORT = 3128
CHUNK = 64 << 10
#: What one stream may have under way: the other end says when it has taken it.
WINDOW = 512 << 10
#: Streams that the other end may have open; more are closed at once. With the window this bounds what one sandbox
#: makes the process outside hold.
MOST_STREAMS = 256
_PR_SET_DUMPABLE = 4
_OPEN, _DATA, _EOF, _CLOSE, _TAKEN = range(1, 6)


class Stream:
    """One connection, as one end of a mux sees it."""

    def __init__(self, mux: Mux, number: int) -> None:
        self._mux = mux
        self._number = number
        self._came = bytearray()
        """Not yet taken. One buffer: a list of pieces of one byte each would be many times as large."""
        self._ended = False
        self._credit = WINDOW
        self._changed = asyncio.Event()
        self.served: asyncio.Future[None] | None = None
        """What serves it, where the other end opened it."""

    async def read(self) -> bytes:
        """Return what came; nothing at the end."""
        while not self._came and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if not self._came:
            return b""
        data = bytes(self._came[:CHUNK])
        del self._came[:CHUNK]
        self._mux.frame(_TAKEN, self._number, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send; waits while the other end does not take it."""
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            while self._credit < len(piece):
                if self._ended_for_good():
                    raise ConnectionResetError("the other end is gone")
                self._changed.clear()
                await self._changed.wait()
            self._credit -= len(piece)
            self._mux.frame(_DATA, self._number, len(piece), piece)
            await self._mux.drain()

    def write_eof(self) -> None:
        """Say that no more comes."""
        self._mux.frame(_EOF, self._number, 0)

    def close(self) -> None:
        """End it in both directions. May be repeated."""
        if self._mux.streams.pop(self._number, None) is not None:
            self._mux.frame(_CLOSE, self._number, 0)
        self.ended()

    def _ended_for_good(self) -> bool:
        return self._number not in self._mux.streams

    # what the mux says

    def came(self, data: bytes) -> bool:
        """Take what came; False when the other end sends more than it may."""
        if len(self._came) + len(data) > WINDOW:
            return False
        self._came += data
        self._changed.set()
        return True

    def taken(self, size: int) -> None:
        self._credit += size
        self._changed.set()

    def ended(self) -> None:
        self._ended = True
        self._changed.set()


class Mux:
    """Many streams over one pair of byte streams."""

    def __init__(self, reader: Reader, writer: Writer, accept: Callable[[Stream], Awaitable[None]] | None) -> None:
        self.streams: dict[int, Stream] = {}
        self._reader = reader
        self._writer = writer
        self._accept = accept
        self._numbers = 0
        self._tasks: set[asyncio.Future[None]] = set()

    def open(self) -> Stream:
        """Open a stream to the other end."""
        self._numbers += 1
        self.streams[self._numbers] = found = Stream(self, self._numbers)
        self.frame(_OPEN, self._numbers, 0)
        return found

    def frame(self, kind: int, number: int, size: int, body: bytes = b"") -> None:
        self._writer.write(struct.pack(">BII", kind, number, size) + body)

    async def drain(self) -> None:
        await self._writer.drain()

    async def run(self) -> None:
        """Serve until the other end is gone, or breaks the protocol."""
        try:
            while True:
                kind, number, size = struct.unpack(">BII", await self._reader.readexactly(9))
                if kind == _DATA and size > CHUNK:
                    return
                body = await self._reader.readexactly(size) if kind == _DATA else b""
                if not self._take(kind, number, size, body):
                    return
                if self._accept is not None:
                    # what we answer waits here for an end that reads nothing; that end never waits for us in this
                    # loop, or both might wait for ever
                    await self.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            for stream in list(self.streams.values()):
                stream.ended()
            self.streams.clear()
            for task in list(self._tasks):
                task.cancel()
            self._writer.close()

    def _take(self, kind: int, number: int, size: int, body: bytes) -> bool:
        """Do what a frame says; False when it breaks the protocol."""
        stream = self.streams.get(number)
        if kind == _OPEN:
            if self._accept is not None and stream is None:
                self._open(number, self._accept)
        elif stream is None:
            return True
        elif kind == _DATA:
            return stream.came(body)
        elif kind == _TAKEN:
            stream.taken(size)
        elif kind == _EOF:
            stream.ended()
        elif kind == _CLOSE:
            del self.streams[number]
            stream.ended()
            if stream.served is not None:
                stream.served.cancel()  # nobody is waiting any more
        return True

    def _open(self, number: int, accept: Callable[[Stream], Awaitable[None]]) -> None:
        # tasks, not streams: what serves one that was closed may take a moment to end
        if len(self._tasks) >= MOST_STREAMS:
            self.frame(_CLOSE, number, 0)
            return
        self.streams[number] = stream = Stream(self, number)
        stream.served = task = asyncio.ensure_future(accept(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def carry(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry a stream to a connection and back, until one is closed."""

    async def outward() -> None:
        try:
            while True:
                data = await reader.read(CHUNK)
                if not data:
                    stream.write_eof()
                    return
                await stream.write(data)
        except OSError:
            stream.close()  # and nothing is printed: nobody reads a relay's output, which would fill its pipe and block it

    task = asyncio.ensure_future(outward())
    try:
        while True:
            data = await stream.read()
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        task.cancel()
        stream.close()
        writer.close()


async def _standard_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_event_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _serve(port: int, path: str | None) -> None:
    mux = None
    if path is None:
        mux = Mux(*await _standard_streams(), None)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if mux is not None:
            await carry(mux.open(), reader, writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    if mux is None:
        await server.serve_forever()
    else:
        sys.stdout.buffer.flush()
        mux.frame(_TAKEN, 0, 0)  # says that it listens
        await mux.run()
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            data = await reader.read(CHUNK)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def main() -> None:
    # commands run as the same user: they would write frames of their own into our descriptors
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    settings = json.loads(sys.argv[1])
    asyncio.get_event_loop().run_until_complete(_serve(int(settings["port"]), settings.get("socket")))


if __name__ == "__main__":
    main()
