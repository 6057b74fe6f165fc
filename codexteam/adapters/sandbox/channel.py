"""The host's side of a sandbox's server: requests and answers in frames over a pair of byte streams.

`Channel` knows the protocol and nothing of engines; `ChannelSandbox` (`channel_sandbox`) makes the port `Sandbox` of it.
"""

import asyncio
import contextlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from codexteam.adapters.sandbox.protocol import (
    ChannelClosedError,
    GitInSandboxError,
    Hello,
    error_of,
    hello_of,
    named_json,
    remarks_of,
    result_of,
)
from codexteam.adapters.sandbox.server.protocol import FRAME_LIMIT, PROTOCOL
from codexteam.core.ids import CommitId, JSONObject
from codexteam.ports.sandbox import BaseSource, Command, CommandResult, Remark, Snapshot
from codexteam.system.cancellation import awake_timeout, stopped
from codexteam.system.fault_points import reach

#: What a file is sent in.
_CHUNK_BYTES = 256 << 10
#: How much longer than a command's deadline its answer may take before the server counts as stuck.
_GRACE_SECONDS = 30.0
#: The longest that git may take to put a base in place or to pack work up.
JOB_SECONDS = 300.0


class ByteReader(Protocol):
    """What a channel reads from; `asyncio.StreamReader` is one."""

    async def readexactly(self, n: int, /) -> bytes:
        """Return exactly so many bytes.

        Raises:
            asyncio.IncompleteReadError: the stream ended before.
        """
        ...


class ByteWriter(Protocol):
    """What a channel writes to; `asyncio.StreamWriter` is one."""

    def write(self, data: bytes, /) -> None:
        """Take bytes to send."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    def close(self) -> None:
        """End the stream."""
        ...


@contextlib.contextmanager
def _naming(file_path: Path) -> Iterator[None]:
    """Add the file name to an error of the host's disk, which a write omits: it distinguishes it from the sandbox's."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(file_path)) from error


@dataclass(slots=True)
class _Request:
    answer: "asyncio.Future[tuple[JSONObject, bytes]]"
    on_data: Callable[[bytes], None] | None = None


class Channel:
    """One server, as seen from the host. Starts reading at once; owned by the one who made it, who closes it."""

    def __init__(self, reader: ByteReader, writer: ByteWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._requests: dict[int, _Request] = {}
        self._numbers = 0
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._closed: str | None = None
        self._jobs = asyncio.Lock()
        self.remarks: tuple[Remark, ...] = ()
        self._task = asyncio.create_task(self._read())

    @property
    def closed(self) -> str | None:
        """Why it can't be used any more; None while it can."""
        return self._closed

    async def ready(self, *, timeout_seconds: float = 30.0) -> Hello:
        """Wait until the server is up.

        Raises:
            ChannelClosedError: it ended, or took too long.
        """
        try:
            async with awake_timeout(timeout_seconds):
                return await asyncio.shield(self._hello)
        except TimeoutError as error:
            self._fail("the server did not start in time")
            raise ChannelClosedError(self._closed) from error

    # ... commands

    async def run(
        self,
        command: Command,
        environment: Mapping[str, str],
        *,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run a command to its end; cancelling kills its process tree.

        Raises:
            ChannelClosedError: how it ended is unknown.
        """
        number, request = self._start(command, environment, session=False, on_data=on_output)
        try:
            async with awake_timeout(command.timeout_seconds + _GRACE_SECONDS):
                header, body = await request.answer
        except TimeoutError as error:
            self._fail("the server does not answer")
            raise ChannelClosedError(self._closed) from error
        except asyncio.CancelledError:
            self.kill(number)
            raise
        return result_of(header, body)

    def start_session(
        self,
        command: Command,
        environment: Mapping[str, str],
        on_data: Callable[[bytes], None],
        *,
        dialogue: bool = False,
    ) -> "tuple[int, asyncio.Future[tuple[JSONObject, bytes]]]":
        """Start a command that is talked to later; give its number and its end.

        `dialogue`: a program talks with it; its standard input stays open, and it may print for ever.
        """
        number, request = self._start(command, environment, session=True, on_data=on_data, dialogue=dialogue)
        return number, request.answer

    def _start(
        self,
        command: Command,
        environment: Mapping[str, str],
        *,
        session: bool,
        on_data: Callable[[bytes], None] | None,
        dialogue: bool = False,
    ) -> tuple[int, _Request]:
        header: JSONObject = {
            "op": "run",
            "argv": list(command.argv),
            "cwd": command.cwd,
            "env": {**environment, **command.environment},
            "output_limit": command.output_limit_bytes,
            "timeout": command.timeout_seconds if command.timeout_seconds != float("inf") else None,
            "tty": command.tty,
            "session": session,
            "dialogue": dialogue,
            "stream": on_data is not None,
        }
        return self._send(header, command.stdin, on_data)

    async def write(self, number: int, data: bytes, *, eof: bool = False) -> None:
        """Write to a session's terminal, or to the standard input of a dialogue."""
        self._frame({"op": "write", "id": number, "eof": eof}, data)
        await self._drain()

    def kill(self, number: int) -> None:
        """Kill the process tree of a command; nothing happens when it has ended."""
        if self._closed is None:
            self._frame({"op": "kill", "id": number}, b"")

    # ... files

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """As `Sandbox.read_file`."""
        header, body = await self._ask({"op": "read_file", "path": path, "limit": limit_bytes})
        return body if header["found"] else None

    async def write_file(self, path: str, data: bytes | None, *, executable: bool | None) -> None:
        """As `Sandbox.write_file`."""
        header: JSONObject = {"op": "write_file", "path": path, "delete": data is None, "executable": executable}
        await self._ask(header, data or b"")

    # ... the workspace

    async def populate(self, base: BaseSource, *, root: bool) -> None:
        """Put a base in place; the last step is the one after which an agent may write.

        Args:
            base: what it shall show.
            root: whether the root commit has still to be unpacked (with the extra files), or is there already.

        Raises:
            ChannelClosedError: the server is gone.
            GitInSandboxError: git could not do it.
        """
        if root:
            await self.populate_root(base)
        if base.delta_pack is not None and base.commit != base.root_commit:
            await self.job("delta", {"commit": base.commit}, source=base.delta_pack)
        await self.job("begin", {"commit": base.commit, "tree": base.tree})

    async def populate_root(self, base: BaseSource) -> None:
        """Put the root commit in place, and the files that git does not keep."""
        await self.job("root", {"commit": base.root_commit}, source=base.root_archive)
        if base.extra_files is not None:
            await self.job("extra", {}, source=base.extra_files)

    async def restore(self, snapshot: Snapshot) -> None:
        """Make the files what they were when a snapshot was taken; before the first command."""
        await self.job("restore", {"tip": snapshot.tip}, source=snapshot.pack)

    async def snapshot(
        self, base: CommitId, destination: Path, *, max_bytes: int, paths: Sequence[str] = ()
    ) -> Snapshot | None:
        """Take the work out, as `Sandbox.snapshot`; `remarks` say what is not in it as it is there.

        Raises:
            ChannelClosedError: the server is gone.
            ValueError: the pack would be larger than `max_bytes`.
            GitInSandboxError: git could not do it.
            OSError: the host's disk does not take it; `filename` says where.
        """
        temporary = destination.with_name(destination.name + ".part")
        args: JSONObject = {"base": base, "max_bytes": max_bytes, "named": named_json(paths)}
        try:
            try:
                answer, written = await self._take_pack(args, temporary)
            except GitInSandboxError:  # its git data is damaged: once more without leaning on it
                answer, written = await self._take_pack({**args, "alone": True}, temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self.remarks = remarks_of(answer)
        tip = answer.get("tip")
        if tip is None:
            temporary.unlink()
            return None
        if not (isinstance(tip, str) and len(tip) in (40, 64) and set(tip) <= set("0123456789abcdef")):
            temporary.unlink()
            raise GitInSandboxError("the snapshot's name is not an object id")
        reach("snapshot.replace.before")
        temporary.replace(destination)
        reach("snapshot.replace.after")
        return Snapshot(tip=tip, base=base, pack=destination, pack_bytes=written)

    async def _take_pack(self, args: JSONObject, file_path: Path) -> tuple[JSONObject, int]:
        written = 0
        limit = int(str(args["max_bytes"]))
        # written here and not in a thread: pieces of 64 KB into the page cache; unbuffered, so that closing writes nothing
        with file_path.open("wb", buffering=0) as file:

            def take(data: bytes) -> None:
                nonlocal written
                written += len(data)
                left = memoryview(data) if written <= limit else memoryview(b"")
                with _naming(file_path):
                    while left:
                        left = left[file.write(left) :]

            answer = await self.job("snapshot", args, sink=take)
            # the store will say that the turn is safe, and means it after a power cut too
            with _naming(file_path):
                await asyncio.to_thread(os.fsync, file.fileno())
        if written > limit:
            raise ValueError(f"the work is larger than the {limit} bytes allowed")
        return answer, written

    async def job(
        self,
        name: str,
        args: JSONObject,
        *,
        source: Path | None = None,
        sink: Callable[[bytes], None] | None = None,
        timeout_seconds: float = JOB_SECONDS,
    ) -> JSONObject:
        """Let the server's git do something; one at a time.

        Args:
            name: which of the server's `job_` methods.
            args: its arguments.
            source: a file that is sent as its standard input.
            sink: what gets its standard output.
            timeout_seconds: when it is killed.

        Raises:
            ChannelClosedError: the server is gone.
            GitInSandboxError: git failed.
            ValueError: a limit was passed.
        """
        async with self._jobs:
            header: JSONObject = {"op": "job", "name": name, "args": args, "timeout": timeout_seconds}
            number, request = self._send({**header, "input": source is not None}, b"", sink)
            try:
                async with awake_timeout(timeout_seconds + _GRACE_SECONDS):
                    if source is not None:
                        await self._upload(number, request, source)
                    return (await request.answer)[0]
            except TimeoutError as error:
                self._fail("the server does not answer")
                raise ChannelClosedError(self._closed) from error
            except BaseException:
                self.kill(number)
                raise

    async def _upload(self, number: int, request: _Request, source: Path) -> None:
        with source.open("rb") as file:
            while not request.answer.done():
                data = file.read(_CHUNK_BYTES)
                await self.write(number, data, eof=len(data) < _CHUNK_BYTES)
                if len(data) < _CHUNK_BYTES:
                    return

    # ... frames

    async def close(self) -> None:
        """End the channel and with it the server. May be repeated."""
        self._fail("closed")
        await stopped(self._task)

    async def _ask(self, header: JSONObject, body: bytes = b"") -> tuple[JSONObject, bytes]:
        _, request = self._send(header, body, None)
        await self._drain()
        try:
            async with awake_timeout(JOB_SECONDS):
                return await request.answer
        except TimeoutError as error:
            self._fail("the server does not answer")
            raise ChannelClosedError(self._closed) from error

    def _send(self, header: JSONObject, body: bytes, on_data: Callable[[bytes], None] | None) -> tuple[int, _Request]:
        if self._closed is not None:
            raise ChannelClosedError(self._closed)
        self._numbers += 1
        request = _Request(asyncio.get_running_loop().create_future(), on_data)
        self._requests[self._numbers] = request
        self._frame({**header, "id": self._numbers}, body)
        return self._numbers, request

    def _frame(self, header: JSONObject, body: bytes) -> None:
        if self._closed is not None:
            raise ChannelClosedError(self._closed)
        head = json.dumps(header).encode("ascii")
        if len(body) > FRAME_LIMIT:
            raise ValueError(f"{len(body)} bytes at once are more than the {FRAME_LIMIT} that a sandbox takes")
        self._writer.write(b"".join((struct.pack(">II", len(head), len(body)), head, body)))

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            self._fail(f"the server is gone: {error}")
            raise ChannelClosedError(self._closed) from error

    async def _read(self) -> None:
        try:
            while True:
                head, body = struct.unpack(">II", await self._reader.readexactly(8))
                if head > FRAME_LIMIT or body > FRAME_LIMIT:
                    self._fail("what it said is not a frame")
                    return
                data = await self._reader.readexactly(head + body)
                self._dispatch(json.loads(data[:head]), data[head:])
        except asyncio.IncompleteReadError as error:
            said = error.partial[-200:].decode("utf-8", "replace")
            self._fail(f"the server ended{': ' + said if said else ''}")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._fail(f"the server is gone: {error}")

    def _dispatch(self, header: JSONObject, body: bytes) -> None:
        kind = header["kind"]
        if kind == "hello":
            if header["protocol"] != PROTOCOL:
                raise ValueError(f"it speaks protocol {header['protocol']}, not {PROTOCOL}")
            if not self._hello.done():
                self._hello.set_result(hello_of(header))
            return
        number = int(str(header["id"]))
        request = self._requests.get(number)
        if request is None:
            return
        if kind == "data":
            self._hand_on(number, request, body)
            return
        del self._requests[number]
        if kind == "error":
            _refuse(request.answer, error_of(header))
        elif not request.answer.done():
            request.answer.set_result((header, body))

    def _hand_on(self, number: int, request: _Request, data: bytes) -> None:
        """Return output to who asked for it; one who cannot take it ends its own request, and nobody else's."""
        if request.on_data is None:
            return
        try:
            request.on_data(data)
        except Exception as error:  # noqa: BLE001 - handed to who asked
            del self._requests[number]
            self.kill(number)
            _refuse(request.answer, error)

    def _fail(self, why: str) -> None:
        if self._closed is None:
            self._closed = why
            self._writer.close()
        waiting: list[asyncio.Future[Hello] | asyncio.Future[tuple[JSONObject, bytes]]]
        waiting = [self._hello, *(request.answer for request in self._requests.values())]
        self._requests.clear()
        for future in waiting:
            _refuse(future, ChannelClosedError(self._closed))


def _refuse(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # retrieved, so that asyncio does not report it as never retrieved
