"""How an MCP server is reached: a process outside in an empty folder, a process inside a sandbox, or a url."""

import asyncio
import math
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from codexteam.config.provider_settings import is_secret_name
from codexteam.config.settings import McpServerSettings
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.errors import CodexteamError
from codexteam.ports.sandbox import WORKSPACE, Command, Sandbox, Session
from codexteam.system.cancellation import stopped

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared._stream_protocols import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

    Streams = tuple[ReadStream[SessionMessage | Exception], WriteStream[SessionMessage]]

#: What a server process gets of the environment besides its own `env` and `env_vars`, as in Codex. No secret is here.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")

#: How much of a server's standard error is reported when it fails.
_STDERR_TAIL_BYTES = 2000

#: The longest message that a server in a sandbox may send: its bytes are hostile.
_MESSAGE_BYTES = 32 << 20


class ServerTransport(Protocol):
    """How one server is reached."""

    def streams(self) -> Any:
        """Connect; gives a context manager with what the server sends and what it is sent."""
        ...

    async def stderr_text(self) -> str:
        """Return what it said on standard error and what could be done, as the end of a message; may be empty."""
        ...


class HostProcess:
    """A process outside all sandboxes, in a folder of its own that is empty and goes with it."""

    def __init__(self, settings: McpServerSettings, environment: Mapping[str, str], root: Path | None) -> None:
        self._settings = settings
        self._environment = environment
        self._root = root
        self._said = ""
        command = settings.command or ""
        # it is started elsewhere
        self._command = str(Path(command).absolute()) if "/" in command else command

    @asynccontextmanager
    async def streams(self) -> AsyncIterator["Streams"]:
        """See `ServerTransport`.

        Raises:
            ValueError: its `cwd` lies in the user's checkout.
        """
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        settings = self._settings
        if settings.cwd is not None and self._root is not None and settings.cwd.resolve().is_relative_to(self._root):
            raise ValueError(
                f"its cwd {settings.cwd} lies in your checkout, where no server outside the sandboxes works: remove `cwd`, "
                'or `place = "host"`'
            )
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="codexteam-mcp-")
        parameters = StdioServerParameters(
            command=self._command,
            args=list(settings.args),
            env=server_environment(settings, self._environment),
            cwd=settings.cwd or folder,
            encoding_error_handler="replace",
        )
        try:
            with _ErrorTail() as errors:
                try:
                    async with stdio_client(parameters, errlog=errors.file) as streams:
                        yield streams
                finally:
                    self._said = errors.text()
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def stderr_text(self) -> str:
        """See `ServerTransport`."""
        return f"; it said: {self._said}" if self._said else ""


class Url:
    """A server that somebody else runs, over streamable HTTP."""

    def __init__(self, settings: McpServerSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment

    @asynccontextmanager
    async def streams(self) -> AsyncIterator["Streams"]:
        """See `ServerTransport`."""
        from httpx2 import AsyncClient, Timeout
        from mcp.client.streamable_http import streamable_http_client

        settings = self._settings
        # a stream may be silent for as long as a tool works; the calls have their own limits
        timeout = Timeout(settings.startup_timeout_seconds, read=max(settings.tool_timeout_seconds, 300.0) + 5.0)
        async with (
            AsyncClient(headers=_http_headers(settings, self._environment), timeout=timeout) as http,
            streamable_http_client(settings.url or "", http_client=http) as streams,
        ):
            yield streams

    async def stderr_text(self) -> str:
        """See `ServerTransport`."""
        return ""


class InSandbox:
    """A process inside an agent's sandbox, on its workspace, under the same limits as its commands."""

    def __init__(
        self, settings: McpServerSettings, sandbox: Callable[[], Awaitable[Sandbox]], root: Path | None
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._root = root
        self._log = f"/tmp/mcp-{re.sub('[^A-Za-z0-9_-]', '_', settings.id)[:60]}.log"  # noqa: S108 - inside
        self._session: Session | None = None

    @asynccontextmanager
    async def streams(self) -> AsyncIterator["Streams"]:
        """See `ServerTransport`."""
        import anyio

        came: tuple[MemoryObjectSendStream[Any], MemoryObjectReceiveStream[Any]]
        goes: tuple[MemoryObjectSendStream[Any], MemoryObjectReceiveStream[Any]]
        came, goes = anyio.create_memory_object_stream(math.inf), anyio.create_memory_object_stream(0)
        lines = _Lines(came[0])
        session = self._session = await (await self._sandbox()).open(self._command(), on_output=lines.take)
        writing = asyncio.create_task(_write(goes[1], session))
        ending = asyncio.create_task(_close_at_end(session, lines))
        try:
            yield came[1], goes[0]
        finally:
            await stopped(writing)
            await session.kill()
            await stopped(ending)
            for stream in (*came, *goes):
                stream.close()

    async def stderr_text(self) -> str:
        """See `ServerTransport`."""
        if self._session is None:
            return ""
        tail = Command(("tail", "-c", str(_STDERR_TAIL_BYTES), self._log), timeout_seconds=10.0)
        try:
            result = await (await self._sandbox()).run(tail)
        except CodexteamError:
            return ""  # without its sandbox there is nothing to be said of it
        text = clean_line(result.output.decode(errors="replace").strip()) if result.ok else ""
        left_out = [name for name in self._variables() if name not in self._environment()]
        secrets = f"; {', '.join(left_out)} was not passed, since no secret goes into a sandbox" if left_out else ""
        said = f"; it said: {text}" if text else ""
        return (
            f"{said}{secrets}. It runs inside the sandbox: what it needs must be in the image, `setup` or the network "
            f"that [codexteam.sandbox] gives; one that works on no files of the repository can run outside, with "
            f'`place = "host"` in [codexteam.mcp_servers.{self._settings.id.rpartition(":")[2]}]'
        )

    def _command(self) -> Command:
        settings = self._settings
        words = [self._moved(word) for word in (settings.command or "", *settings.args)]
        return Command(
            # its own words only on standard output; found by the same path as an agent's commands
            ("bash", "-lc", f'exec "$@" 2>"{self._log}"', "mcp", *words),
            cwd=self._moved(str(settings.cwd)) if self._is_inside(settings.cwd) else WORKSPACE,
            environment=self._environment(),
            timeout_seconds=math.inf,
            output_limit_bytes=1 << 16,
        )

    def _variables(self) -> list[str]:
        return [*self._settings.env, *self._settings.env_vars]

    def _environment(self) -> dict[str, str]:
        env = self._settings.env
        return {name: self._moved(value) for name, value in env.items() if not is_secret_name(name)}

    def _is_inside(self, path: Path | None) -> bool:
        return path is not None and self._root is not None and path.is_relative_to(self._root)

    def _moved(self, word: str) -> str:
        """Return a word of the command with a path of the user's checkout as the workspace's."""
        start, mark, path = ("", "", word) if word.startswith("/") else word.rpartition("=")
        if self._root is None or not path.startswith("/"):
            return word
        root = str(self._root)
        if path == root or path.startswith(root + "/"):
            return f"{start}{mark}{WORKSPACE}{path[len(root) :]}"
        return word


class _Lines:
    """The messages in what a server prints; anything that is not a message is skipped."""

    def __init__(self, messages: "MemoryObjectSendStream[Any]") -> None:
        self._messages = messages
        self._kept = bytearray()

    def take(self, data: bytes) -> None:
        """Take what came."""
        from mcp.shared.message import SessionMessage
        from mcp.types import jsonrpc_message_adapter

        self._kept += data
        *whole, rest = self._kept.split(b"\n")
        self._kept = bytearray(rest)
        if len(self._kept) > _MESSAGE_BYTES:
            self.close()
        for line in whole:
            try:
                message = jsonrpc_message_adapter.validate_json(bytes(line), by_name=False)
            except ValueError:
                continue  # a greeting of a shell's profile, a line of a log
            self._give(SessionMessage(message))

    def _give(self, message: "SessionMessage") -> None:
        import anyio

        # a server that talks faster than it is listened to is cut off
        if self._messages.statistics().current_buffer_used > 10_000:
            self.close()
        try:
            self._messages.send_nowait(message)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # nobody listens any more

    def close(self) -> None:
        """Say that no more comes."""
        self._messages.close()
        self._kept.clear()


async def _write(messages: "MemoryObjectReceiveStream[Any]", session: Session) -> None:
    async for message in messages:
        data = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        await session.write(data.encode() + b"\n")


async def _close_at_end(session: Session, lines: _Lines) -> None:
    while (await session.read(wait_seconds=3600.0)).result is None:
        pass
    lines.close()


class ServerMessages:
    """What a server sends: mended where one bad tool would cost all of them; and whether it has ended."""

    def __init__(self, inner: "ReadStream[SessionMessage | Exception]") -> None:
        self._inner = inner
        self.ended = False

    @property
    def last_context(self) -> object:
        """The inner stream's, where it has one."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> "SessionMessage | Exception":
        """Return the next message."""
        import anyio

        try:
            return _mended(await self._inner.receive())
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self.ended = True
            raise

    async def aclose(self) -> None:
        """Close it."""
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "SessionMessage | Exception":
        import anyio

        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: "type[BaseException] | BaseException | TracebackType | None") -> None:
        await self.aclose()


def _mended(message: "SessionMessage | Exception") -> "SessionMessage | Exception":
    from mcp.types import JSONRPCResponse

    answer = getattr(message, "message", None)
    if isinstance(answer, JSONRPCResponse) and isinstance(tools := answer.result.get("tools"), list):
        answer.result["tools"] = [tool for item in tools if (tool := _tool(item))]
    return message


def _tool(item: JSONValue) -> JSONObject | None:
    """Return of a tool what is used here, in the form that is asked for; None for what has no name."""
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(name, str) or not name:
        return None
    schema = item.get("inputSchema")
    tool: JSONObject = {"name": name, "inputSchema": {**(schema if isinstance(schema, dict) else {}), "type": "object"}}
    if isinstance(item.get("description"), str):
        tool["description"] = item["description"]
    hints = item.get("annotations")
    if isinstance(hints, dict) and hints.get("readOnlyHint") is True:
        tool["annotations"] = {"readOnlyHint": True}
    return tool


def server_environment(settings: McpServerSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a server's process gets of the environment: a fixed few, what `env_vars` names, and its own `env`."""
    names = (*_INHERITED, *settings.env_vars)
    return {name: environment[name] for name in names if name in environment} | dict(settings.env)


def _http_headers(settings: McpServerSettings, environment: Mapping[str, str]) -> dict[str, str]:
    headers = dict(settings.http_headers)
    headers |= {
        name: environment[variable] for name, variable in settings.env_http_headers.items() if variable in environment
    }
    if settings.bearer_token_env_var:
        token = environment.get(settings.bearer_token_env_var, "")
        if not token:
            raise ValueError(
                f"the environment variable {settings.bearer_token_env_var} is not set (bearer_token_env_var)"
            )
        headers["Authorization"] = f"Bearer {token}"
    return headers


class _ErrorTail:
    """What a server says on standard error: a pipe, of which the last bytes are kept."""

    def __init__(self) -> None:
        self._kept = b""
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.file = os.fdopen(write_end, "w", encoding="utf-8")

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._read_end, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._read_end)
        self.file.close()
        os.close(self._read_end)

    def _take(self) -> None:
        try:
            self._kept = (self._kept + os.read(self._read_end, 1 << 16))[-_STDERR_TAIL_BYTES:]
        except BlockingIOError:
            return

    def text(self) -> str:
        """Return it; empty when it said nothing."""
        self._take()
        return clean_line(self._kept.decode(errors="replace").strip())
