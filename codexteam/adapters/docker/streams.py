"""The bytes of a container's main process, from docker-py's blocking socket into asyncio."""

import asyncio
import contextlib
import os
import socket
import struct

#: What a stopped container said last is kept up to this, for the message.
_ERRORS_KEPT_BYTES = 4000
_STANDARD_ERROR = 2
_CHUNK_BYTES = 64 << 10


class FramedReader:
    """The standard output out of the engine's stream, which has both outputs in frames of 8 bytes of header."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = 0
        self.errors = bytearray()
        """The last of the standard error."""

    async def readexactly(self, n: int, /) -> bytes:
        """Give exactly so many bytes of standard output."""
        parts: list[bytes] = []
        missing = n
        while missing:
            try:
                if not self._left:
                    await self._next_frame()
                    continue
                data = await self._reader.read(min(missing, self._left))
            except asyncio.IncompleteReadError:
                data = b""
            if not data:
                said = bytes(self.errors[-200:])
                raise asyncio.IncompleteReadError(b"".join(parts) + said, n)
            self._left -= len(data)
            missing -= len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _next_frame(self) -> None:
        kind, size = struct.unpack(">BxxxI", await self._reader.readexactly(8))
        if kind != _STANDARD_ERROR:
            self._left = size
            return
        while size:
            data = await self._reader.read(min(size, _CHUNK_BYTES))
            if not data:
                return
            size -= len(data)
            self.errors += data
            del self.errors[:-_ERRORS_KEPT_BYTES]


async def adopt(found: object) -> tuple[FramedReader, asyncio.StreamWriter]:
    """Make asyncio's streams of what docker-py's `attach_socket` gave; it is used up by this."""
    plain = getattr(found, "_sock", found)
    assert isinstance(plain, socket.socket)
    taken = socket.socket(fileno=os.dup(plain.fileno()))
    let_go(found)
    taken.setblocking(False)  # noqa: FBT003
    reader, writer = await asyncio.open_connection(sock=taken, limit=1 << 20)
    return FramedReader(reader), writer


def let_go(found: object) -> None:
    """Close docker-py's view of a connection, each object of which holds on to it."""
    for thing in (found, getattr(found, "_response", None), getattr(found, "_sock", None)):
        close = getattr(thing, "close", None)
        if close is not None:
            with contextlib.suppress(OSError, ValueError):
                close()
