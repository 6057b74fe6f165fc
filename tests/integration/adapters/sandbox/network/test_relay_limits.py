"""What a hostile end of a mux can make the other one hold: what is said once, and no more."""

import asyncio
import gc
import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from codexteam.adapters.sandbox.network.relay import CHUNK, MOST_STREAMS, WINDOW, Mux, Stream, carry

OPEN, DATA, EOF, CLOSE, TAKEN = range(1, 6)


def frame(kind: int, number: int, body: bytes = b"") -> bytes:
    return struct.pack(">BII", kind, number, len(body)) + body


@dataclass
class Peer:
    """The other end, which keeps to no protocol."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    run: "asyncio.Task[None]"
    host: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> tuple[int, int, int]:
        async with asyncio.timeout(20):
            kind, number, size = struct.unpack(">BII", await self.reader.readexactly(9))
            return kind, number, size


@asynccontextmanager
async def muxed(accept: Callable[[Stream], Awaitable[None]]) -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    host_reader, host_writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
    reader, writer = await asyncio.open_connection(sock=theirs)
    peer = Peer(reader, writer, asyncio.create_task(Mux(host_reader, host_writer, accept).run()), host_writer)
    try:
        yield peer
    finally:
        peer.run.cancel()
        await asyncio.gather(peer.run, return_exceptions=True)
        writer.transport.abort()
        host_writer.transport.abort()
        await asyncio.sleep(0)


class Serving:
    """Takes streams and leaves them alone."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.ended = 0

    async def has(self, count: int) -> None:
        """Wait until so many streams have come."""
        async with asyncio.timeout(20):
            while len(self.streams) < count:
                await asyncio.sleep(0.001)

    async def __call__(self, stream: Stream) -> None:
        self.streams.append(stream)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1
            stream.close()


async def test_who_sends_more_than_the_window_is_cut_off() -> None:
    serving = Serving()
    async with muxed(serving) as peer:
        await peer.send(frame(OPEN, 1))
        for _ in range(WINDOW // CHUNK):
            await peer.send(frame(DATA, 1, bytes(CHUNK)))
        await peer.send(frame(OPEN, 2))
        await serving.has(2)  # a full window is as it should be
        assert len(await serving.streams[0].read()) == CHUNK
        assert await peer.frame() == (TAKEN, 1, CHUNK)
        await peer.send(frame(DATA, 1, bytes(CHUNK)))
        assert not peer.run.done()
        await peer.send(frame(DATA, 1, b"x"))
        async with asyncio.timeout(20):
            await peer.run
            assert serving.ended == 2
            assert await peer.reader.read() == b"" or peer.reader.at_eof()


@pytest.mark.parametrize("piece", [b"", b"xy"])
async def test_many_small_pieces_take_no_more_room_than_their_bytes(piece: bytes) -> None:
    count = 20_000
    serving = Serving()
    async with muxed(serving) as peer:
        await peer.send(frame(OPEN, 1) + frame(DATA, 1, b"first"))
        data = frame(DATA, 1, piece) * 1000
        tracemalloc.start()
        try:
            for _ in range(count // 1000):
                await peer.send(data)
            await peer.send(frame(OPEN, 2))
            await serving.has(2)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < count * len(piece) + (300 << 10)
        async with asyncio.timeout(20):
            came = await serving.streams[0].read()
            while len(came) < 5 + count * len(piece):
                came += await serving.streams[0].read()
        assert came == b"first" + piece * count


async def test_no_more_streams_than_there_may_be_and_a_closed_one_makes_room() -> None:
    serving = Serving()
    async with muxed(serving) as peer:
        await peer.send(b"".join(frame(OPEN, number) for number in range(1, MOST_STREAMS + 3)))
        assert [await peer.frame() for _ in range(2)] == [(CLOSE, MOST_STREAMS + 1, 0), (CLOSE, MOST_STREAMS + 2, 0)]
        assert len(serving.streams) == MOST_STREAMS
        # filled and closed: what serves it ends, and holds nothing any more
        await peer.send(frame(DATA, 1, bytes(CHUNK)) + frame(CLOSE, 1))
        while not serving.ended:
            await asyncio.sleep(0)
        await peer.send(frame(OPEN, 1000) + frame(OPEN, 1001))
        assert await peer.frame() == (CLOSE, 1001, 0)
        assert len(serving.streams) == MOST_STREAMS + 1


async def test_an_end_that_asks_and_never_reads_is_not_answered_without_bound() -> None:
    serving = Serving()
    async with muxed(serving) as peer:
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]  # as one that reads nothing
        await peer.send(b"".join(frame(OPEN, number) for number in range(1, MOST_STREAMS + 1)))
        flood = frame(OPEN, 9999) * 10_000
        sending = asyncio.create_task(peer.send(flood * 100))
        for _ in range(200):
            await asyncio.sleep(0.005)
            assert peer.host.transport.get_write_buffer_size() < (1 << 20)
        assert not sending.done(), "it waits for who does not read"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_connection_that_breaks_ends_its_stream_and_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """What it said would go where nobody reads, and a relay that waits for somebody to read serves nobody any more."""
    async with muxed(lambda stream: carry(stream, broken, broken_writer)) as peer:
        ours, theirs = socket.socketpair()
        broken, broken_writer = await asyncio.open_connection(sock=ours)
        await peer.send(frame(OPEN, 1))
        await asyncio.sleep(0)
        broken.set_exception(ConnectionResetError("reset by its client"))
        assert await peer.frame() == (CLOSE, 1, 0)
        theirs.close()
    await asyncio.sleep(0)
    gc.collect()  # of an error that nobody took, asyncio tells as its task is thrown away
    assert caplog.text == ""
