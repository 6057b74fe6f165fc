"""The server: HTTP/1.1 with keep-alive over asyncio streams, nothing but the standard library."""

import asyncio
import contextlib
import inspect
import json
import socket
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

from codexteam.core.ids import JSONObject
from tests.scripted_api.prompt_cache import PromptCache
from tests.scripted_api.script import Call, Drop, HttpError, Raw, Reply, Reset, Script, Stall, as_reply
from tests.scripted_api.wire import head_events, last_event

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_MAX_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """What came in."""

    call: Call
    body_bytes: bytes
    path: str
    """With its query."""
    cached_tokens: int
    input_tokens: int


class _HungUpError(Exception):
    """The client closed the connection, or a fault did."""


def kept_port(port: int = 0) -> socket.socket:
    """Give a socket that keeps a port on loopback from others while whoever it is for does not listen there.

    It never listens itself: who asks meanwhile is refused.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", port))
    return kept


class ScriptedApi:
    """A Responses API at `base_url` while its `async with` lasts."""

    def __init__(
        self,
        script: Script,
        *,
        port: int = 0,
        latency_seconds: float = 0.0,
        cache_minimum_tokens: int = 1024,
        models: JSONObject | None = None,
    ) -> None:
        self.script = script
        """May be changed while the server runs."""
        self.models = models
        """What is answered where the list of models is asked for; None is that there is none."""
        self.requests: list[RecordedRequest] = []
        """In the order they came in."""
        self.stalled = asyncio.Event()
        """Set when a stall has begun."""
        self.open_streams = 0
        """Answers that are being sent."""
        self.most_open_streams = 0
        self.connections = 0
        """Connections that were ever made."""
        self._closed = asyncio.Event()
        self._port = port
        self._kept: socket.socket | None = None
        self._latency_seconds = latency_seconds
        self._cache = PromptCache(cache_minimum_tokens)
        self._tries: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def base_url(self) -> str:
        """What a provider's `base_url` is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def port(self) -> int:
        """The port it listens on; the same after `stop_listening`."""
        return self._port

    async def __aenter__(self) -> "ScriptedApi":
        self._kept = kept_port(self._port)
        self._port = int(self._kept.getsockname()[1])
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_listening()
        if self._kept is not None:
            self._kept.close()

    async def listen(self) -> None:
        """Take connections, on the same port as before if there was one."""
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, backlog=2048)

    async def stop_listening(self) -> None:
        """Refuse new connections and end those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_down(self) -> None:
        """As `stop_listening`, for another thread than the server's."""
        self._from_outside(self.stop_listening())

    def bring_back(self) -> None:
        """As `listen`, for another thread than the server's."""
        self._from_outside(self.listen())

    def _from_outside(self, what: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def no_open_streams(self) -> None:
        """Wait until no answer is being sent."""
        while self.open_streams:
            self._closed.clear()
            await self._closed.wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._server is None:  # taken while the server was stopped
            writer.close()
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # one that is cancelled before it begins closes nothing
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one_request(reader, writer):
                pass
        except (_HungUpError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone, or was meant to think that we are
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return False
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "GET" and path.partition("?")[0] == "/v1/models" and self.models is not None:
            await _send_whole(writer, 200, "application/json", json.dumps(self.models).encode(), {})
            return True
        if method != "POST" or path.partition("?")[0] != "/v1/responses":
            await self._send_error(writer, HttpError(404, message=f"{method} {path}: only POST /v1/responses is here"))
            return True
        parsed = cast("JSONObject", json.loads(body))
        key = headers.get("idempotency-key", "")
        self._tries[key] += 1
        call = Call(len(self.requests) + 1, self._tries[key], parsed, headers)
        await self._play(call, body, path, reader, writer)
        return True

    async def _play(
        self, call: Call, body: bytes, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        prompt = self._cache.look_up(call.body)
        self.requests.append(RecordedRequest(call, body, path, prompt.cached_tokens, prompt.tokens))
        self.open_streams += 1
        self.most_open_streams = max(self.most_open_streams, self.open_streams)
        try:
            played = self.script(call)
            reply = as_reply(await played if inspect.isawaitable(played) else played)
            latency = self._latency_seconds if reply.latency_seconds is None else reply.latency_seconds
            if latency:
                await asyncio.sleep(latency)
            match reply.fault:
                case HttpError() as error:
                    await self._send_error(writer, error)
                case Reset():
                    writer.transport.abort()
                    raise _HungUpError
                case Raw() as raw:
                    await _send_whole(writer, raw.status, raw.content_type, raw.body, {})
                case Stall(headers_sent=False):
                    self.stalled.set()
                    await _wait_for_hang_up(reader, writer, None)
                case _:
                    self._cache.keep(prompt)
                    response_id = f"resp_{call.number}"
                    last = last_event(reply, response_id, prompt, call.body.get("model"))
                    await self._send_stream(reader, writer, reply, response_id, last)
        finally:
            self.open_streams -= 1
            self._closed.set()

    async def _send_stream(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reply: Reply,
        response_id: str,
        last: bytes,
    ) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            + more.encode()
            + b"\r\n"
        )
        events = list(head_events(reply, response_id))
        match reply.fault:
            case Drop(mid_item=mid_item, clean=clean):
                if mid_item:
                    # the last item's end is lost, and half of the event before it
                    events = [*events[:-2], events[-2][: len(events[-2]) // 2]]
                await self._send_pieces(writer, reply, events)
                if not clean:
                    await writer.drain()
                    writer.transport.abort()
                    raise _HungUpError
            case Stall(comment_seconds=comment_seconds):
                await self._send_pieces(writer, reply, events)
                self.stalled.set()
                await _wait_for_hang_up(reader, writer, comment_seconds)
            case _:
                whole = [*events, last]
                await self._send_pieces(writer, reply, list(reply.mangled(whole) if reply.mangled else whole))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _send_pieces(self, writer: asyncio.StreamWriter, reply: Reply, events: list[bytes]) -> None:
        pieces = events
        if reply.chunk_bytes is not None:
            whole = b"".join(events)
            pieces = [whole[at : at + reply.chunk_bytes] for at in range(0, len(whole), reply.chunk_bytes)]
        for piece in pieces:
            if writer.is_closing():
                raise _HungUpError
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if reply.gap_seconds:
                await asyncio.sleep(reply.gap_seconds)
            elif reply.chunk_bytes is not None:
                # let the piece go out alone
                await asyncio.sleep(0)
            await writer.drain()

    async def _send_error(self, writer: asyncio.StreamWriter, error: HttpError) -> None:
        body = error.body
        if body is None:
            kind = error.code or "scripted_error"
            body = json.dumps({"error": {"message": error.message, "type": kind, "code": error.code or None}}).encode()
        await _send_whole(writer, error.status, "application/json", body, dict(error.headers))


async def _wait_for_hang_up(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, comment_seconds: float | None
) -> None:
    # clients do not send while they wait for an answer: what can be read is their end
    gone = asyncio.ensure_future(reader.read(1))
    try:
        while not (await asyncio.wait({gone}, timeout=comment_seconds))[0]:
            writer.write(b"e\r\n: keep alive\n\n\r\n")
    finally:
        gone.cancel()
    raise _HungUpError


async def _send_whole(
    writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes, headers: dict[str, str]
) -> None:
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} {_REASONS.get(status, 'Scripted')}\r\n{lines}\r\n".encode() + body)
    await writer.drain()


@contextlib.contextmanager
def serve_in_thread(
    script: Script,
    *,
    latency_seconds: float = 0.0,
    cache_minimum_tokens: int = 1024,
    models: JSONObject | None = None,
) -> Iterator[ScriptedApi]:
    """Run the server in a thread of its own, for tests that wait for a program."""
    started: threading.Event = threading.Event()
    box: list[tuple[ScriptedApi, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        api = ScriptedApi(
            script, latency_seconds=latency_seconds, cache_minimum_tokens=cache_minimum_tokens, models=models
        )
        async with api:
            stop = asyncio.Event()
            box.append((api, asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="scripted-api", daemon=True)
    thread.start()
    if not started.wait(60):
        raise RuntimeError("the scripted server did not start")
    api, loop, stop = box[0]
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
