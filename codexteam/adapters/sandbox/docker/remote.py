"""Brings a far engine, over TLS or ssh, to a local socket, so that everything else sees plain bytes."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from codexteam.core.text import clean
from codexteam.system.cancellation import kill, stopped

_CHUNK_BYTES = 256 << 10
_TLS_PORT = 2376
#: A host that says nothing for so long is gone: sandboxes on it are lost, and agents continue elsewhere.
_SILENCE_SECONDS = 30
_ALIVE_SECONDS = 10
_SSH_OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_SILENCE_SECONDS}"),
    *("-o", f"ServerAliveInterval={_ALIVE_SECONDS}", "-o", f"ServerAliveCountMax={_SILENCE_SECONDS // _ALIVE_SECONDS}"),
)
_Connect = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a TLS connection is made with, as the docker command names it."""

    verify: bool
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context; the engine's certificate is checked unless `verify` is off."""
        found = ssl.create_default_context(cafile=self.ca)
        if not self.verify:
            found.check_hostname = False
            found.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            found.load_cert_chain(self.certificate, self.key)
        return found


def keep_alive(connection: socket.socket) -> None:
    """Have the kernel notice that the far end of a TCP connection is gone, without waiting for anybody to send."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {
        "TCP_KEEPIDLE": _ALIVE_SECONDS,
        "TCP_KEEPINTVL": _ALIVE_SECONDS,
        "TCP_KEEPCNT": _SILENCE_SECONDS // _ALIVE_SECONDS,
        "TCP_USER_TIMEOUT": _SILENCE_SECONDS * 1000,
    }
    for name, value in wanted.items():
        if hasattr(socket, name):  # not every system has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Doorway:
    """A local socket whose every connection leads to a remote engine. Owned by the one who opened it."""

    def __init__(self, folder: Path, server: asyncio.Server, tasks: "set[asyncio.Task[None]]") -> None:
        self._folder = folder
        self._server = server
        self._tasks = tasks
        self.problem = ""
        """What the last connection that could not be made said."""

    @property
    def url(self) -> str:
        """What docker-py connects to."""
        return f"unix://{self._folder}/engine.sock"

    @classmethod
    async def open(cls, host: str, tls: TlsFiles | None, environment: Mapping[str, str]) -> "Doorway":
        """Open a doorway to `host`, an ssh or tcp URL."""
        connect = _over_ssh(host, environment) if host.startswith("ssh://") else _over_tls(host, tls)
        folder = Path(tempfile.mkdtemp(prefix="codexteam-engine-"))
        tasks: set[asyncio.Task[None]] = set()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await connect(reader, writer)
            except (OSError, ssl.SSLError) as error:
                door.problem = clean(str(error))
            except asyncio.CancelledError:
                return  # only `close` cancels, and it wants nothing but the end
            finally:
                tasks.discard(task)
                writer.close()

        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            path = folder / "engine.sock"
            # in two steps: of one that is cancelled asyncio leaves a socket that listens
            server = await asyncio.start_unix_server(carry, path, limit=_CHUNK_BYTES, start_serving=False)
            stack.callback(server.close)
            await server.start_serving()
            stack.pop_all()  # the doorway's now
        door = cls(folder, server, tasks)
        return door

    async def close(self) -> None:
        """End every connection."""
        self._server.close()
        waiting = list(self._tasks)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def _over_tls(host: str, tls: TlsFiles | None) -> _Connect:
    address = urlsplit(host)
    context = tls.context() if tls is not None else None

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            address.hostname, address.port or _TLS_PORT, ssl=context, limit=_CHUNK_BYTES
        )
        try:
            plain = far_writer.get_extra_info("socket")
            if plain is not None:
                keep_alive(plain)
            await _both_ways((reader, writer), (far_reader, far_writer))
        finally:
            far_writer.close()

    return connect


def _over_ssh(host: str, environment: Mapping[str, str]) -> _Connect:
    address = urlsplit(host)
    who = ("-l", address.username) if address.username else ()
    where = ("-p", str(address.port)) if address.port else ()
    argv = ("ssh", *who, *where, *_SSH_OPTIONS, "--", address.hostname or "", "docker", "system", "dial-stdio")

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=_CHUNK_BYTES,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            await _both_ways((reader, writer), (process.stdout, process.stdin))
            if process.returncode not in (None, 0):
                raise ConnectionError((await process.stderr.read(2000)).decode("utf-8", "replace").strip())
        finally:
            kill(process)
            await process.wait()

    return connect


async def _both_ways(near: _Pair, far: _Pair) -> None:
    """Carry bytes until the far side has no more."""
    outward = asyncio.create_task(_carry(near[0], far[1]))
    try:
        await _carry(far[0], near[1])
    finally:
        await stopped(outward)


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
