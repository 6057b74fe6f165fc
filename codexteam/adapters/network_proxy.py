"""The proxy through which a sandbox reaches allowed hosts: outside the sandbox, over whatever bytes it is given.

It answers `CONNECT` (for https) and whole addresses (for http), looks names up itself and connects to the very
address it judged. It does not look into TLS. A secret is added only to plain http requests, which then leave as
https: `http://HOST/` inside is `https://HOST/` with the token outside, so that the token is never inside and never
in the clear. A host that repeats its request's headers in the answer gives it away all the same.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codexteam.adapters.network_policy import ProxyPolicy
from codexteam.adapters.network_proxy_request import HEAD_LIMIT_BYTES, BadRequestError, Request, read_head
from codexteam.core.json_types import JSONObject
from codexteam.core.text import clean_line
from codexteam.ports.endings import stopped

__all__ = ["Proxy", "ProxyPolicy", "StreamPipe", "serve_unix"]

_CHUNK_BYTES = 64 << 10
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 30.0
_LINE_LIMIT_BYTES = 4096


class Pipe(Protocol):
    """One connection from a sandbox."""

    async def read(self) -> bytes:
        """Give what came; nothing at the end."""
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


Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


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
        """Serve one connection to its end."""
        source = _Buffered(pipe)
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                request = read_head(await source.head())
            await self._pass_on(request, source, pipe)
        except _DeniedError as error:
            await _answer(pipe, "403 Forbidden", str(error))
        except (BadRequestError, TimeoutError) as error:
            await _answer(
                pipe, "400 Bad Request", f"not a request for this proxy: {clean_line(str(error)) or 'too slow'}"
            )
        except (OSError, ssl.SSLError) as error:
            await _answer(pipe, "502 Bad Gateway", f"the host cannot be reached: {clean_line(str(error))}")
        finally:
            pipe.close()

    async def _pass_on(self, request: Request, source: "_Buffered", pipe: Pipe) -> None:
        secret = self.policy.secret_for(request.host) if request.method != "CONNECT" else None
        address, port = await self._judge(request, secure=secret is not None)
        context = None
        if secret is not None and not _is_loopback(address):
            context = ssl.create_default_context()
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=request.host if context else None, limit=_CHUNK_BYTES
            )
        try:
            if request.method == "CONNECT":
                await pipe.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                outward = asyncio.create_task(_tunnel(source, writer))
            else:
                writer.write(request.head(secret=secret))
                outward = asyncio.create_task(_send_body(request, source, writer))
            await _bring_back(reader, pipe, outward)
        finally:
            writer.close()

    async def _judge(self, request: Request, *, secure: bool) -> tuple[str, int]:
        """Give the address and port to connect to."""
        host, port = request.host, request.port
        if not self.policy.allows(host, port):
            raise self._deny(request, "it is not in the list of allowed hosts")
        try:
            addresses = await self.resolve(host, port)
        except UnicodeError as error:  # a wildcard allows names that cannot be asked for
            raise BadRequestError(f"the host is none: {error}") from error
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
            "Do not try other ways; go on without it, or say in your answer that it is needed and what for."
        )


class _Buffered:
    """A pipe whose bytes are read up to a mark, and the rest later."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._kept = b""

    async def head(self) -> bytes:
        while b"\r\n\r\n" not in self._kept:
            if len(self._kept) > HEAD_LIMIT_BYTES:
                raise BadRequestError("its head is too long")
            data = await self._pipe.read()
            if not data:
                raise BadRequestError("it ended early")
            self._kept += data
        head, mark, self._kept = self._kept.partition(b"\r\n\r\n")
        return head + mark

    async def some(self, limit: int = _CHUNK_BYTES) -> bytes:
        if not self._kept:
            self._kept = await self._pipe.read()
        data, self._kept = self._kept[:limit], self._kept[limit:]
        return data

    async def line(self) -> bytes:
        while b"\r\n" not in self._kept:
            data = await self._pipe.read()
            if not data or len(self._kept) > _LINE_LIMIT_BYTES:
                raise BadRequestError("a chunk's head is none")
            self._kept += data
        line, _, self._kept = self._kept.partition(b"\r\n")
        return line


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
    while True:
        line = await source.line()
        try:
            size = int(line.split(b";", 1)[0].strip() or b"x", 16)
        except ValueError as error:
            raise BadRequestError("a chunk's head is none") from error
        writer.write(b"%x\r\n" % size)
        if size == 0:
            writer.write(b"\r\n")
            await writer.drain()
            return
        await _send(source, writer, size)
        if await source.line():
            raise BadRequestError("a chunk is longer than it says")
        writer.write(b"\r\n")


async def _send(source: _Buffered, writer: asyncio.StreamWriter, size: int) -> None:
    while size > 0:
        data = await source.some(min(size, _CHUNK_BYTES))
        if not data:
            raise ConnectionError("the request ended early")
        size -= len(data)
        writer.write(data)
        await writer.drain()


async def _bring_back(reader: asyncio.StreamReader, pipe: Pipe, outward: "asyncio.Task[None]") -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            await pipe.write(data)
        pipe.write_eof()
    finally:
        await stopped(outward)


async def _answer(pipe: Pipe, status: str, text: str) -> None:
    body = f"codexteam: {text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    with contextlib.suppress(OSError):
        await pipe.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        pipe.write_eof()


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


@dataclass(slots=True)
class StreamPipe:
    """A pipe over asyncio's streams."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        """Give what came; nothing at the end."""
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
