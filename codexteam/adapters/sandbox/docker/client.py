"""A Docker engine's API, called in threads, and the streams of its containers, read without one."""

import asyncio
import contextlib
import functools
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import docker
import requests
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.tls import TLSConfig
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from docker.utils.config import find_config_file

from codexteam.adapters.sandbox.docker.remote import Doorway, TlsFiles, keep_alive
from codexteam.config.settings import EngineSettings
from codexteam.core.text import clean
from codexteam.errors import SandboxUnavailable
from codexteam.system.cancellation import to_its_end

#: What a stopped container said last is kept up to this, for the message.
_ERRORS_KEPT_BYTES = 4000
_STANDARD_ERROR = 2
_CHUNK_BYTES = 64 << 10
#: docker-py's scheme of what is reached by a socket, and a path for all.
_UNIX = "http+docker://"
_ANY_PATH = "http+docker://localhost/"
_SOCKET = "unix://"
_LOG = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
#: Calls to one engine at the same time; more than this only queue up inside the engine.
_THREADS = 16
#: How long the engine may take for one call; removing a large container is the slowest.
_TIMEOUT_SECONDS = 120
#: The same for what has to write or carry a whole image.
_IMAGE_TIMEOUT_SECONDS = 3600
HINT = "start the engine, set DOCKER_HOST or `docker context use`, or choose another sandbox; see `codexteam doctor`"
#: What docker-py raises; requests' own errors come through when a connection breaks in the middle.
ENGINE_ERRORS = (DockerException, requests.RequestException, OSError)
__all__ = ["ENGINE_ERRORS", "HINT", "APIError", "EngineClient", "ImageNotFound", "NotFound", "clearing_up", "said_by"]


class FramedReader:
    """The standard output out of the engine's stream, which has both outputs in frames of 8 bytes of header."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = 0
        self.errors = bytearray()
        """The last of the standard error."""

    async def readexactly(self, n: int, /) -> bytes:
        """Return exactly so many bytes of standard output."""
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
    keep_alive(taken)
    reader, writer = await asyncio.open_connection(sock=taken, limit=1 << 20)
    return FramedReader(reader), writer


def let_go(found: object) -> None:
    """Close docker-py's view of a connection, each object of which holds on to it."""
    for thing in (found, getattr(found, "_response", None), getattr(found, "_sock", None)):
        close = getattr(thing, "close", None)
        if close is not None:
            with contextlib.suppress(OSError, ValueError):
                close()


class _SocketConnection(UnixHTTPConnection):
    """Closes its socket where nobody listens; docker-py's own leaves it open."""

    def connect(self) -> None:
        self.sock = connected(self.unix_socket, self.timeout)


class _SocketPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:  # urllib3 and the stubs of docker-py differ about its type
        seconds: Any = self.timeout
        return _SocketConnection(self.base_url, self.socket_path, seconds)


class _SharedConnections(UnixHTTPAdapter):
    """Keeps one set of connections, where docker-py keeps one for every path: each may be an ssh session."""

    def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:  # noqa: ARG002 - the same for all
        with self.pools.lock:
            found = self.pools.get(_ANY_PATH)
            if found is None:
                found = _SocketPool(_ANY_PATH, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[_ANY_PATH] = found
            return found

    @classmethod
    def share(cls, client: docker.DockerClient) -> None:
        """Let a client that speaks to a socket have it."""
        own = client.api.adapters.get(_UNIX)
        if isinstance(own, UnixHTTPAdapter):
            shared = cls(f"http+unix://{own.socket_path}", own.timeout, max_pool_size=own.max_pool_size)
            client.api.mount(_UNIX, shared)
            own.close()


def connected(path: str, timeout_seconds: float | None) -> socket.socket:
    """Return a connection to a local socket.

    Raises:
        OSError: nobody listens there.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout_seconds)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


class EngineClient:
    """One engine. Owned by the one who made it, who closes it."""

    def __init__(self, settings: EngineSettings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self._environment = environment
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"docker-{settings.name}")
        self._lock = asyncio.Lock()
        self._client: docker.DockerClient | None = None
        self._patient: docker.DockerClient | None = None
        self._doorway: Doorway | None = None
        self._host: str | None = None

    async def connect(self) -> docker.DockerClient:
        """Return the client of an engine that answers.

        Raises:
            SandboxUnavailable: it does not answer; says where it was looked for.
        """
        async with self._lock:
            if self._client is None:
                self._client = await self._open()
            return self._client

    async def connect_patiently(self) -> docker.DockerClient:
        """Return a client for calls that write or carry a whole image, which take as long as they take.

        Raises:
            SandboxUnavailable: the engine does not answer; says where it was looked for.
        """
        await self.connect()
        async with self._lock:
            if self._patient is None:
                self._patient = await self.call(self._reach, self._host, _IMAGE_TIMEOUT_SECONDS)
            return self._patient

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one blocking call in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))

    async def make(self, function: Callable[[], T], undo: Callable[[T], object]) -> T:
        """Run one blocking call that makes something. Cancelled, it waits for what is made and has it undone.

        A call that has begun cannot be stopped: what it makes would be nobody's.
        """
        made = asyncio.ensure_future(self.call(function))
        try:
            return await asyncio.shield(made)
        except asyncio.CancelledError:
            await to_its_end(self._undo(made, undo))
            raise

    async def _undo(self, made: Awaitable[T], undo: Callable[[T], object]) -> None:
        with contextlib.suppress(*ENGINE_ERRORS):  # a sweep finds by its label what is left
            await self.call(undo, await made)

    async def close(self) -> None:
        """Close all connections."""
        clients = [client for client in (self._client, self._patient) if client is not None]
        self._client = self._patient = None
        for client in clients:
            await self.call(client.close)
        if self._doorway is not None:
            await self._doorway.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _open(self) -> docker.DockerClient:
        named = self.settings.context
        where = f"context {named}" if named else "the engine that the environment names"
        try:
            host, tls = await self.call(self._address)
            where = f"the engine at {host}" if host else where
            if host is not None and (tls is not None or host.startswith("ssh://")):
                if self._doorway is None:
                    self._doorway = await Doorway.open(host, tls, self._environment)
                host = self._doorway.url
            client = await self.call(self._reach, host)
        except ENGINE_ERRORS as error:
            said = (self._doorway.problem if self._doorway else "") or said_by(error)
            raise SandboxUnavailable(
                f"no Docker engine answers ({self.settings.name}): {where}: {said}", hint=HINT
            ) from error
        self._host = host
        return client

    @staticmethod
    def _reach(host: str | None, timeout_seconds: int = _TIMEOUT_SECONDS) -> docker.DockerClient:
        if (host or "").startswith(_SOCKET):  # what docker-py begins with leaves a socket open where nobody listens
            connected("/" + (host or "").removeprefix(_SOCKET).lstrip("/"), timeout_seconds).close()
        client = docker.DockerClient(base_url=host, timeout=timeout_seconds, max_pool_size=_THREADS)
        _SharedConnections.share(client)
        client.api.trust_env = False  # a proxy from the environment is for the web
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
        return client

    def _address(self) -> tuple[str | None, TlsFiles | None]:
        """Return where and how: as configured, else as the docker command finds it."""
        settings, environment = self.settings, self._environment
        if settings.host is not None:
            return settings.host, _tls_files(settings.cert_path, verify=settings.tls_verify)
        host = environment.get("DOCKER_HOST")
        if settings.context is None and host:
            folder = environment.get("DOCKER_CERT_PATH")
            verify = bool(environment.get("DOCKER_TLS_VERIFY"))
            return host, _tls_files(Path(folder) if folder else None, verify=verify)
        name = settings.context or environment.get("DOCKER_CONTEXT")
        # without a configuration docker-py would look for contexts in the working directory, which is a repository's
        configured = find_config_file() is not None
        if not configured and name in (None, "default"):
            return None, None
        context = None
        if configured:
            context = ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
        if context is None:
            raise DockerException(f"there is no docker context named {name}")
        known: TLSConfig | None = context.TLSConfig
        if known is None:
            return context.Host, None
        certificate, key = known.cert or (None, None)
        return context.Host, TlsFiles(bool(known.verify), known.ca_cert, certificate, key)


def _tls_files(folder: Path | None, *, verify: bool) -> TlsFiles | None:
    if folder is None:
        return TlsFiles(verify=True) if verify else None
    return TlsFiles(verify, str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem"))


@contextlib.contextmanager
def clearing_up(what: str, result: str = "is not removed") -> Iterator[None]:
    """Log what an engine says against a removal: what came before counts more, and a sweep finds the rest by its label."""
    try:
        yield
    except (SandboxUnavailable, *ENGINE_ERRORS) as error:
        _LOG.info("%s %s: %s", what, result, said_by(error))


def said_by(error: BaseException) -> str:
    """Return what an engine said, short and fit for a terminal."""
    text = error.explanation if isinstance(error, APIError) and error.explanation else str(error)
    if isinstance(error, requests.ConnectionError) or "ConnectionPool(" in text:
        # it quotes Python objects; what went wrong stands at the chain's end
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        text = str(getattr(first, "strerror", None) or text)
    return clean(str(text).strip().replace("\n", " "))[:500]
