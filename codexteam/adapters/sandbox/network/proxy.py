"""The proxy through which a sandbox reaches allowed hosts: outside the sandbox, over whatever bytes it is given.

It answers `CONNECT` (for https) and whole addresses (for http), looks names up itself and connects to the very
address it judged. It does not look into TLS. A secret is added only to plain http requests, which then leave as
https: `http://HOST/` inside is `https://HOST/` with the token outside, so that the token is never inside and never
in the clear. A host that repeats its request's headers in the answer gives it away all the same.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codexteam.adapters.sandbox.network.policy import ProxyPolicy
from codexteam.adapters.sandbox.network.proxy_request import (
    HEAD_LIMIT_BYTES,
    BadRequestError,
    Request,
    read_chunk_head,
    read_head,
)
from codexteam.adapters.sandbox.network.upstream import UpstreamProxy
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.system.cancellation import stopped

__all__ = ["Proxy", "ProxyPolicy", "StreamPipe", "serve_unix"]

_CHUNK_BYTES = 64 << 10
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 30.0
#: Between tries to connect: a package manager that asks for hundreds of files gives up at the first failure.
_PAUSES_SECONDS = (0.3, 1.0, 3.0)
_LINE_LIMIT_BYTES = 4096
_LOG = logging.getLogger(__name__)
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Pipe(Protocol):
    """One connection from a sandbox."""

    async def read(self) -> bytes:
        """Return what came; nothing at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send; waits while it is not taken."""
        ...

    def write_eof(self) -> None:
        """Say that no more comes."""
        ...

    def close(self) -> None:
        """End it. May be repeated."""
        ...


class _DeniedError(Exception):
    pass


class _TooSlowError(Exception):
    pass


async def resolve(host: str, port: int) -> Sequence[str]:
    """Look a name up; give its addresses."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=1)  # a stream
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(slots=True)
class Proxy:
    """What stands between one sandbox and the network."""

    policy: ProxyPolicy
    on_denied: Callable[[JSONObject], None] = lambda _: None
    """Gets what was denied: `host`, `port`, `reason`."""
    resolve: Resolve = resolve

    async def serve(self, pipe: Pipe) -> None:
        """Serve one connection to its end. Whatever is wrong with it is answered on it and reported nowhere else."""
        source, answer = _Buffered(pipe), _Answer(pipe)
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                request = read_head(await source.head())
            await self._pass_on(request, source, answer)
        except _DeniedError as error:
            await answer.refuse("403 Forbidden", str(error))
        except BadRequestError as error:
            await answer.refuse("400 Bad Request", f"not a request for this proxy: {clean_line(str(error))}")
        except _TooSlowError as error:
            await answer.refuse("504 Gateway Timeout", str(error))
        except TimeoutError:
            await answer.refuse("400 Bad Request", "not a request for this proxy: it took too long to say what it is")
        except OSError as error:
            await answer.refuse("502 Bad Gateway", f"the host cannot be reached: {clean_line(str(error))}")
        except Exception as error:  # noqa: BLE001 - asyncio would print it to the user's terminal, with a traceback
            _LOG.info("a request failed with %s: %s", type(error).__name__, clean_line(str(error)))
            await answer.refuse("500 Internal Server Error", f"the proxy failed: {type(error).__name__}")
        finally:
            pipe.close()

    async def _pass_on(self, request: Request, source: "_Buffered", answer: "_Answer") -> None:
        secret = self.policy.secret_for(request.host) if request.method != "CONNECT" else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await self._connect(request, secret)
        except TimeoutError as error:
            raise _TooSlowError(f"{request.host}:{request.port} cannot be reached: it does not answer") from error
        try:
            if request.method == "CONNECT":
                await answer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                outward = asyncio.create_task(_tunnel(source, writer))
            else:
                plain = None if secret is not None else self.policy.upstreams.way_to(request.host, tunnel=False)
                writer.write(request.head(secret=secret, through=plain))
                outward = asyncio.create_task(_send_body(request, source, writer))
            await _bring_back(reader, answer, outward)
        finally:
            writer.close()

    async def _connect(self, request: Request, secret: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; again after a moment where that failed for a reason that passes, as when a name server is busy."""
        for pause_seconds in _PAUSES_SECONDS:
            try:
                return await self._connect_once(request, secret)
            except OSError as error:
                if not _passes(error):
                    raise
            await asyncio.sleep(pause_seconds)
        return await self._connect_once(request, secret)

    async def _connect_once(
        self, request: Request, secret: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        is_tunnel = request.method == "CONNECT" or secret is not None
        upstream = self.policy.upstreams.way_to(request.host, tunnel=is_tunnel)
        if upstream is not None:
            return await self._connect_through(upstream, request, secret, tunnel=is_tunnel)
        address, port = await self._judge(request, secure=secret is not None)
        context = None
        if secret is not None and not _is_loopback(address):
            context = await asyncio.to_thread(ssl.create_default_context)
        return await asyncio.open_connection(
            address, port, ssl=context, server_hostname=request.host if context else None, limit=_CHUNK_BYTES
        )

    async def _connect_through(
        self, upstream: UpstreamProxy, request: Request, secret: str | None, *, tunnel: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect through the user's own proxy; a request with a secret leaves as https, inside a tunnel."""
        host, port = request.host, request.port
        if not self.policy.allows(host, port):
            raise self._deny(request, "it is not in the list of allowed hosts")
        if not self.policy.allows_unresolved(host, port):
            raise self._deny(request, "it is an address of this machine or of a private network")
        if not tunnel:
            return await upstream.connect()
        reader, writer = await upstream.tunnel(host, 443 if secret is not None and port == 80 else port)
        if secret is not None:
            context = await asyncio.to_thread(ssl.create_default_context)
            await writer.start_tls(context, server_hostname=host)
        return reader, writer

    async def _judge(self, request: Request, *, secure: bool) -> tuple[str, int]:
        """Return the address and port to connect to."""
        host, port = request.host, request.port
        if not self.policy.allows(host, port):
            raise self._deny(request, "it is not in the list of allowed hosts")
        try:
            addresses = await self.resolve(host, port)
        except UnicodeError as error:  # a wildcard allows names that cannot be asked for
            raise BadRequestError(f"invalid host: {error}") from error
        allowed = [address for address in addresses if self.policy.allows_address(host, port, address)]
        if not allowed:
            raise self._deny(request, "it leads to an address of this machine or of a private network")
        return allowed[0], 443 if secure and port == 80 and not _is_loopback(allowed[0]) else port

    def _deny(self, request: Request, reason: str) -> _DeniedError:
        name = f"{request.host}:{request.port}"
        self.on_denied({"host": request.host, "port": request.port, "reason": reason})
        allowed = ", ".join(self.policy.hosts) or "none"
        return _DeniedError(
            f"{name} cannot be reached from this sandbox: {reason}. Allowed hosts: {allowed}. "
            "Do not try other ways; continue without it, or say in your answer that you need it and why."
        )


class _Buffered:
    """A pipe whose bytes are read up to a mark, and the rest later."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._kept = bytearray()

    async def head(self) -> bytes:
        return await self._up_to(b"\r\n\r\n", HEAD_LIMIT_BYTES, "its head")

    async def line(self) -> bytes:
        return (await self._up_to(b"\r\n", _LINE_LIMIT_BYTES, "the line before a chunk"))[:-2]

    async def _up_to(self, mark: bytes, limit: int, what: str) -> bytes:
        """Return what came up to a mark, which is part of it."""
        looked = 0
        while (at := self._kept.find(mark, looked)) < 0:
            if len(self._kept) > limit:
                break
            looked = max(0, len(self._kept) - len(mark) + 1)
            data = await self._pipe.read()
            if not data:
                raise BadRequestError(f"{what} ended early")
            self._kept += data
        if not 0 <= at <= limit:
            raise BadRequestError(f"{what} has more than {limit} bytes")
        return self._take(at + len(mark))

    async def some(self, limit: int = _CHUNK_BYTES) -> bytes:
        if not self._kept:
            self._kept += await self._pipe.read()
        return self._take(limit)

    def _take(self, size: int) -> bytes:
        data = bytes(self._kept[:size])
        del self._kept[:size]
        return data


class _Answer:
    """What goes back to the sandbox: one answer, the host's or the proxy's own, never one inside the other."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._begun = False

    async def write(self, data: bytes) -> None:
        self._begun = True
        await self._pipe.write(data)

    def write_eof(self) -> None:
        self._pipe.write_eof()

    async def refuse(self, status: str, text: str) -> None:
        if self._begun:
            return  # the end of the connection says it
        body = f"codexteam: {text}\n".encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            await self.write(head.encode() + b"Connection: close\r\n\r\n" + body)
            self.write_eof()


async def _tunnel(source: _Buffered, writer: asyncio.StreamWriter) -> None:
    while data := await source.some():
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _send_body(request: Request, source: _Buffered, writer: asyncio.StreamWriter) -> None:
    """Send exactly the one request's body: what comes after it goes nowhere."""
    if not request.chunked:
        await _send(source, writer, request.body_bytes)
        return
    while size := read_chunk_head(await source.line()):
        writer.write(b"%x\r\n" % size)
        await _send(source, writer, size)
        if await source.line():
            raise BadRequestError("a chunk is longer than it says")
        writer.write(b"\r\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _send(source: _Buffered, writer: asyncio.StreamWriter, size: int) -> None:
    while size > 0:
        data = await source.some(min(size, _CHUNK_BYTES))
        if not data:
            raise BadRequestError("its body ended early")
        size -= len(data)
        writer.write(data)
        await writer.drain()


async def _bring_back(reader: asyncio.StreamReader, answer: _Answer, outward: "asyncio.Task[None]") -> None:
    """Bring the host's answer back, while the request goes out; a request that turns out bad ends both.

    Raises:
        BadRequestError: it is.
    """
    inward = asyncio.create_task(_copy_answer(reader, answer))
    try:
        await asyncio.wait([inward, outward], return_when=asyncio.FIRST_COMPLETED)
        if outward.done() and isinstance(bad := outward.exception(), BadRequestError):
            raise bad
        await inward
    finally:
        await stopped(inward)
        await stopped(outward)


async def _copy_answer(reader: asyncio.StreamReader, answer: _Answer) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        await answer.write(data)
    answer.write_eof()


def _passes(error: OSError) -> bool:
    """Return whether what failed may succeed a moment later."""
    return isinstance(error, ConnectionResetError) or (
        isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    )


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


@dataclass(slots=True)
class StreamPipe:
    """A pipe over asyncio's streams."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        """Return what came; nothing at the end."""
        try:
            return await self.reader.read(_CHUNK_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """Send; waits while it is not taken."""
        self.writer.write(data)
        await self.writer.drain()

    def write_eof(self) -> None:
        """Say that no more comes."""
        with contextlib.suppress(OSError):
            if self.writer.can_write_eof():
                self.writer.write_eof()

    def close(self) -> None:
        """End it. May be repeated."""
        self.writer.close()


async def serve_unix(proxy: Proxy, path: Path) -> asyncio.Server:
    """Serve on a socket in the file system; the caller closes what this gives, and removes the file."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await proxy.serve(StreamPipe(reader, writer))

    return await asyncio.start_unix_server(connected, path, limit=_CHUNK_BYTES)
