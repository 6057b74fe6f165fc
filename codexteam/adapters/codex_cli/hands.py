"""The way from an app-server to the exec-servers in sandboxes: a websocket on loopback, a session in each sandbox.

Each agent has a path and a token of its own, neither of which any sandbox knows. What comes over the socket is written
to the standard input of an exec-server that is started for the connection, and its lines go back. A connection that is
made anew, after an exec-server died or was stopped, gets a new one over the same workspace.

While an agent's gate is shut, what may change something waits here, in order; reading continues. So nothing is done
before the answer that asks for it is stored.

Who works in a sandbox can stop its exec-server, and its command would be waited for in vain; nothing is heard of one whose
command takes long, either. So one that has been silent for a while is asked for something that no exec-server knows,
which it refuses at once (`Pulse`).
"""

import asyncio
import contextlib
import json
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from codexteam.errors import CodexteamError, SandboxLost
from codexteam.ports.sandbox import Command, Sandbox, Session
from codexteam.system.cancellation import awake_timeout, stopped

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response


#: How long an exec-server may say nothing before it is asked, and how long it may take to answer, also on a busy machine.
SILENCE_SECONDS: Final = 30.0
_ID: Final = "codexteam-pulse"
_QUESTION: Final = json.dumps({"id": _ID, "method": "codexteam/pulse", "params": {}}).encode() + b"\n"
#: An answer to it is no longer than this.
_ANSWER_BYTES: Final = 4_096


class Pulse:
    """That of one exec-server."""

    def __init__(self, write: Callable[[bytes], Awaitable[None]], *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """Take the way to its standard input."""
        self._write = write
        self._silence_seconds = silence_seconds
        self._heard = asyncio.Event()

    def heard(self) -> None:
        """Note that it has said something."""
        self._heard.set()

    @staticmethod
    def is_answer(line: bytes | bytearray) -> bool:
        """Return whether a line is its answer to us, which nobody else asked for."""
        if len(line) > _ANSWER_BYTES or _ID.encode() not in line:
            return False
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return isinstance(said, dict) and said.get("id") == _ID

    async def stops(self) -> None:
        """Return once it does not answer any more."""
        while True:
            self._heard.clear()
            if await self._says_something():
                continue
            await self._write(_QUESTION)
            if not await self._says_something():
                return

    async def _says_something(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with awake_timeout(self._silence_seconds):
                await self._heard.wait()
        return self._heard.is_set()


_LOG = logging.getLogger(__name__)
#: Where a sandbox sees the folder of the program.
PROGRAM_NAME = "codex"
#: The exec-server's own folder, inside: never the workspace.
_HOME = "/tmp/codex-home"  # noqa: S108 - inside a sandbox
_ERRORS = f"{_HOME}/exec-server.log"
#: The longest message of an exec-server: its bytes are hostile.
_MESSAGE_BYTES = 64 << 20
#: What changes nothing, and so never waits: it is asked for before a thread's first turn, too.
_READS = frozenset(
    {
        *("initialize", "initialized", "environmentConfig/read", "fs/getMetadata", "fs/readFile", "fs/readDirectory"),
        *("fs/watchMissing", "fs/watch", "fs/unwatch", "process/read", "process/terminate", "process/list"),
    }
)


@dataclass(slots=True)
class Hand:
    """One agent's way into its sandbox."""

    sandbox: Callable[[], Awaitable[Sandbox]]
    program: str
    """The exec-server's program, as the sandbox sees it."""
    lost: Callable[[CodexteamError], None]
    """Called when the sandbox went away, or could not be started."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _sessions: set[Session] = field(default_factory=set)

    def open_gate(self) -> None:
        """Let everything through."""
        self._open.set()

    def shut_gate(self) -> None:
        """Let what may change something wait."""
        self._open.clear()

    async def opened(self) -> None:
        """Wait until the gate is open."""
        await self._open.wait()

    async def serve(self, connection: "ServerConnection", *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """Join a connection to a new exec-server until one of them ends, or the exec-server answers no more."""
        lines = _MessageLines(connection)
        try:
            session = await (await self.sandbox()).open(self._command(), on_output=lines.take)
        except CodexteamError as error:
            self.lost(error)
            return
        self._sessions.add(session)
        sending = asyncio.create_task(lines.send())
        ending = asyncio.create_task(self._watch(session, lines))
        lines.pulse = Pulse(session.write, silence_seconds=silence_seconds)
        beating = asyncio.create_task(self._replace_stopped(session, lines, lines.pulse))
        try:
            async for message in connection:
                data = message.encode() if isinstance(message, str) else message
                if not self._open.is_set() and _may_change(data):
                    await self._open.wait()
                await session.write(data + b"\n")
        except SandboxLost as error:
            self.lost(error)
        finally:
            await stopped(beating)
            await stopped(ending)
            await stopped(sending)
            self._sessions.discard(session)
            with suppress(CodexteamError):  # it went with its sandbox
                await session.kill()

    async def close(self) -> None:
        """End what was started in the sandbox."""
        self.open_gate()
        for session in list(self._sessions):
            with suppress(CodexteamError):  # it went with its sandbox
                await session.kill()

    def _command(self) -> Command:
        line = f'mkdir -p {_HOME} && exec "$0" exec-server --listen stdio 2>>{_ERRORS}'
        return Command(
            ("bash", "-c", line, self.program),
            environment={"CODEX_HOME": _HOME},
            timeout_seconds=math.inf,
            output_limit_bytes=1 << 16,
        )

    async def _watch(self, session: Session, lines: "_MessageLines") -> None:
        """Close the connection when its exec-server has ended: the app-server then makes another."""
        try:
            while (await session.read(wait_seconds=3600.0)).result is None:
                pass
        except SandboxLost as error:
            self.lost(error)
        lines.end()

    async def _replace_stopped(self, session: Session, lines: "_MessageLines", pulse: Pulse) -> None:
        """End an exec-server that answers no more, as one that died: the app-server then makes another."""
        with suppress(CodexteamError):  # its sandbox went away, which `_watch` is told
            await pulse.stops()
            _LOG.warning("an exec-server does not answer any more, and is replaced")
            await session.kill()
        lines.end()


class _MessageLines:
    """What an exec-server prints, a message a line, on its way to the socket."""

    def __init__(self, connection: "ServerConnection") -> None:
        self._connection = connection
        self._kept = bytearray()
        self._whole: asyncio.Queue[str | None] = asyncio.Queue()
        self.pulse: Pulse | None = None

    def take(self, data: bytes) -> None:
        """Take what came."""
        if self.pulse is not None:
            self.pulse.heard()
        self._kept += data
        *whole, rest = self._kept.split(b"\n")
        self._kept = bytearray(rest)
        for line in whole:
            if Pulse.is_answer(line):
                continue
            self._whole.put_nowait(line.decode("utf-8", "replace"))
        if len(self._kept) > _MESSAGE_BYTES:
            self.end()

    def end(self) -> None:
        """Close the connection once all is sent."""
        self._whole.put_nowait(None)

    async def send(self) -> None:
        """Send what comes, until `end`."""
        while (line := await self._whole.get()) is not None:
            await self._connection.send(line)
        await self._connection.close()


def _may_change(message: bytes) -> bool:
    try:
        method = json.loads(message).get("method")
    except (ValueError, AttributeError, RecursionError):
        return True
    return method is not None and method not in _READS


class Hands:
    """The websocket server, on loopback. Started with the first agent."""

    def __init__(self, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """Take how long an exec-server may say nothing before it is asked, and take to answer."""
        self._silence_seconds = silence_seconds
        self._hands: dict[str, Hand] = {}
        self._server: Server | None = None
        self._starting = asyncio.Lock()

    async def url(self, name: str, hand: Hand) -> str:
        """Return where an agent's hands are reached from now on; needs its token."""
        from websockets.asyncio.server import serve

        async with self._starting:
            if self._server is None:
                self._server = await serve(
                    self._serve, "127.0.0.1", 0, process_request=self._refuse, max_size=_MESSAGE_BYTES, compression=None
                )
        self._hands[name] = hand
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}/{name}"

    def drop(self, name: str) -> None:
        """Take no more connections for an agent."""
        self._hands.pop(name, None)

    def _refuse(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        hand = self._hands.get(request.path.strip("/"))
        given = request.headers.get("Authorization", "")
        if hand is not None and secrets.compare_digest(given.encode(), f"Bearer {hand.token}".encode()):
            return None
        return connection.respond(HTTPStatus.FORBIDDEN, "")

    async def _serve(self, connection: "ServerConnection") -> None:
        from websockets.exceptions import ConnectionClosed

        request = connection.request
        hand = self._hands.get(request.path.strip("/")) if request is not None else None
        if hand is None:
            return
        try:
            await hand.serve(connection, silence_seconds=self._silence_seconds)
        except ConnectionClosed as error:
            _LOG.debug("the app-server let go of a sandbox: %s", error)

    async def close(self) -> None:
        """Let go of the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
