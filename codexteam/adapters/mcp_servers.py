"""Tool servers over the official `mcp` package: child processes on stdio, and streamable HTTP.

A server is entered and left by one task of its own, as the client's cancel scopes demand; agents call through it. The
package takes two seconds to import, so that happens in a thread, and only where a role uses a server.
"""

import asyncio
import importlib
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self, TextIO

from codexteam.config.settings import McpServerSettings
from codexteam.core.json_types import JSONObject
from codexteam.core.text import clean_line
from codexteam.errors import SurroundingsError
from codexteam.ports.tool_servers import (
    ContentPart,
    ImagePart,
    NoServerAnswer,
    ServerAnswer,
    ServerFailure,
    ServerTool,
    StartedServers,
    TextPart,
)

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, ContentBlock

#: What a server process gets of the environment besides its own `env` and `env_vars`, as in Codex. No secret is here.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")

#: Larger images are left out with a note.
_MAX_IMAGE_CHARACTERS = 8 << 20

#: How much of what a server said on standard error is told when it fails.
_STDERR_TAIL_BYTES = 2000

#: How long servers have to end by themselves; the package's own steps take six seconds at most.
_CLOSE_SECONDS = 10.0

_MISSING_PACKAGE = (
    "the package mcp is not installed, which MCP servers need; install it with: pip install 'codexteam[mcp]'"
)


class McpServers:
    """`ToolServers` for the servers of one configuration."""

    def __init__(self, settings: Mapping[str, McpServerSettings], environment: Mapping[str, str]) -> None:
        self._servers = {id_: _Server(server, environment) for id_, server in settings.items()}

    async def start(self, server_ids: Sequence[str]) -> StartedServers:
        """As the port says."""
        servers = [self._servers[id_] for id_ in dict.fromkeys(server_ids) if id_ in self._servers]
        servers = [server for server in servers if server.settings.enabled]
        if servers:
            await asyncio.gather(*(server.started() for server in servers))
        failures = [ServerFailure(server.settings.id, server.problem) for server in servers if server.problem]
        required = [failure for failure in failures if self._servers[failure.server_id].settings.required]
        if required:
            told = "; ".join(f"{failure.server_id}: {failure.message}" for failure in required)
            raise SurroundingsError(
                f"required MCP servers could not be started: {told}",
                hint="mend [mcp_servers.<id>] in config.toml, or set `required = false` to run without it",
            )
        unknown = [
            ServerFailure(id_, "there is no [mcp_servers] entry") for id_ in server_ids if id_ not in self._servers
        ]
        return StartedServers(tuple(tool for server in servers for tool in server.tools), (*failures, *unknown))

    async def call(self, server_id: str, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        """As the port says."""
        server = self._servers.get(server_id)
        if server is None or all(tool != known.name for known in server.tools):
            return NoServerAnswer(f"there is no tool {tool} on the server {server_id}")
        return await server.call(tool, arguments)

    async def close(self) -> None:
        """As the port says."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))


class _Server:
    def __init__(self, settings: McpServerSettings, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.tools: tuple[ServerTool, ...] = ()
        self.problem = ""
        self._environment = environment
        self._starting: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def started(self) -> None:
        """Start, or wait for the start that is under way; `problem` says how it went."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start MCP server {self.settings.id}")
        # an agent that stops waiting must not take the start away from the others
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        connection = _Connection(self.settings, self._environment)
        self.problem = await connection.open()
        if not self.problem:
            self._connection = connection
            self.tools = connection.tools

    async def call(self, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        connection = await self._living()
        if connection is None:
            return NoServerAnswer(f"the server {self.settings.id} has gone away and could not be started again")
        return await connection.call(tool, arguments)

    async def _living(self) -> "_Connection | None":
        async with self._lock:
            if self._connection is not None and self._connection.lost and not self._closed:
                await self._connection.close()
                again = _Connection(self.settings, self._environment)
                self._connection = None if await again.open() else again
            return self._connection

    async def close(self) -> None:
        self._closed = True
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()


class _Connection:
    """One client from its start to its end, inside a task of its own."""

    def __init__(self, settings: McpServerSettings, environment: Mapping[str, str]) -> None:
        self.tools: tuple[ServerTool, ...] = ()
        self.lost = False
        self._settings = settings
        self._environment = environment
        self._client: Client | None = None
        self._serves = False
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> str:
        """Start; give what went wrong, or the empty string."""
        try:
            await asyncio.to_thread(importlib.import_module, "mcp.client.client")
        except ImportError as error:
            return _MISSING_PACKAGE if error.name in ("mcp", None) else f"{_MISSING_PACKAGE} ({error})"
        # what it has to say to people is in the outcomes; its own log would go to the terminal
        logging.getLogger("mcp").addHandler(logging.NullHandler())
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve(ready), name=f"MCP server {self._settings.id}")
        try:
            return await ready
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the client and its server."""
        self._stop.set()
        if self._task is None:
            return
        if not self._serves:
            # still starting, so nobody waits for `_stop`
            self._task.cancel()
        _, pending = await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)
        for task in pending:
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_SECONDS)

    async def _serve(self, ready: "asyncio.Future[str]") -> None:
        with _ErrorTail() as errors:
            try:
                async with AsyncExitStack() as stack:
                    async with asyncio.timeout(self._settings.startup_timeout_seconds):
                        self._client = await stack.enter_async_context(
                            _client(self._settings, self._environment, errors.file)
                        )
                        self.tools = _wanted(await _all_tools(self._client, self._settings.id), self._settings)
                    self._serves = True
                    _tell(ready, "")
                    await self._stop.wait()
            except TimeoutError:
                seconds = self._settings.startup_timeout_seconds
                _tell(ready, f"it did not answer within {seconds:g} s (startup_timeout_sec){errors.told()}")
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - whatever it does is this one server's failure
                _tell(ready, f"{_words(error)}{errors.told()}")
            finally:
                self.lost = True
                _tell(ready, "its start was given up")

    async def call(self, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        """Call a tool."""
        from mcp.shared.exceptions import MCPError
        from mcp.types import CONNECTION_CLOSED

        client = self._client
        if client is None or self.lost:
            return NoServerAnswer(f"the server {self._settings.id} is not running")
        seconds = self._settings.tool_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                result = await client.call_tool(tool, dict(arguments))
        except TimeoutError:
            return NoServerAnswer(
                f"{tool} did not answer within {seconds:g} s (tool_timeout_sec); it may still be at work"
            )
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                return self._gone()
            return NoServerAnswer(f"the server {self._settings.id} refused the call: {clean_line(str(error))}")
        except Exception as error:  # noqa: BLE001 - a broken stream shows as many kinds, each means the same
            return self._gone(f": {_words(error)}")
        return _answer(result)

    def _gone(self, why: str = "") -> NoServerAnswer:
        self.lost = True
        return NoServerAnswer(
            f"the server {self._settings.id} went away during the call{why}. The call may have had an effect; "
            "the next one starts the server again"
        )


def _tell(ready: "asyncio.Future[str]", problem: str) -> None:
    if not ready.done():
        ready.set_result(problem)


@asynccontextmanager
async def _client(
    settings: McpServerSettings, environment: Mapping[str, str], errors: TextIO
) -> AsyncIterator["Client"]:
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    # "legacy" is the handshake that every server knows
    if settings.command is not None:
        parameters = StdioServerParameters(
            command=settings.command,
            args=list(settings.args),
            env=server_environment(settings, environment),
            cwd=settings.cwd,
            encoding_error_handler="replace",
        )
        transport = stdio_client(parameters, errlog=errors)
        async with Client(transport, mode="legacy", cache=None) as client:
            yield client
        return
    from httpx2 import AsyncClient, Timeout
    from mcp.client.streamable_http import streamable_http_client

    # a stream may be silent for as long as a tool works; the calls have their own limits
    timeout = Timeout(settings.startup_timeout_seconds, read=max(settings.tool_timeout_seconds, 300.0) + 5.0)
    async with (
        AsyncClient(headers=_http_headers(settings, environment), timeout=timeout) as http,
        Client(streamable_http_client(settings.url or "", http_client=http), mode="legacy", cache=None) as client,
    ):
        yield client


def server_environment(settings: McpServerSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Give what a server's process gets of the environment: a fixed few, what `env_vars` names, and its own `env`."""
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


async def _all_tools(client: "Client", server_id: str) -> list[ServerTool]:
    tools: list[ServerTool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            hints = tool.annotations
            tools.append(
                ServerTool(
                    server_id=server_id,
                    name=tool.name,
                    description=tool.description or "",
                    input_schema=tool.input_schema,
                    only_reads=hints is not None and hints.read_only_hint is True,
                )
            )
        cursor = page.next_cursor
        if cursor is None:
            return tools


def _wanted(tools: Sequence[ServerTool], settings: McpServerSettings) -> tuple[ServerTool, ...]:
    enabled = settings.enabled_tools
    named = {
        tool.name: tool
        for tool in tools
        if (enabled is None or tool.name in enabled) and tool.name not in settings.disabled_tools
    }
    return tuple(named[name] for name in sorted(named))


def _answer(result: "CallToolResult") -> ServerAnswer:
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [TextPart(json.dumps(result.structured_content, ensure_ascii=False))]
    return ServerAnswer(tuple(parts), failed=result.is_error)


def _part(block: "ContentBlock") -> ContentPart:
    from mcp.types import EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents

    if isinstance(block, TextContent):
        return TextPart(block.text)
    if isinstance(block, ImageContent):
        if len(block.data) > _MAX_IMAGE_CHARACTERS:
            return TextPart(f"[an image of {len(block.data)} base64 characters was left out]")
        return ImagePart(block.data, block.mime_type)
    if isinstance(block, ResourceLink):
        return TextPart(f"[a link to {block.uri}: {block.name}]")
    if isinstance(block, EmbeddedResource):
        resource = block.resource
        if isinstance(resource, TextResourceContents):
            return TextPart(resource.text)
        return TextPart(f"[the binary resource {resource.uri} was left out]")
    return TextPart(f"[content of type {block.type} was left out]")


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return clean_line(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)[:500]


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

    def told(self) -> str:
        """Give it as the end of a message; empty when it said nothing."""
        self._take()
        text = clean_line(self._kept.decode(errors="replace").strip())
        return f"; it said: {text}" if text else ""
