"""Tool servers over the official `mcp` package: in sandboxes, as processes outside, and behind urls.

A server is entered and left by one task of its own, as the client's cancel scopes demand; agents call through it. The
package takes two seconds to import, so that happens in a thread, and only where a role uses a server.
"""

import asyncio
import importlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codexteam.adapters.mcp_transport import HostProcess, InSandbox, ServerMessages, ServerTransport, Url
from codexteam.config.settings import McpPlace, McpServerSettings
from codexteam.core.ids import JSONObject
from codexteam.core.text import clean_line
from codexteam.errors import SurroundingsError
from codexteam.ports.sandbox import Sandbox
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

#: Larger images are left out with a note.
_MAX_IMAGE_CHARACTERS = 8 << 20

#: More pages of tools than this are an endless list.
_MAX_PAGES = 100

#: What a server says of itself goes into prompts: more of it is cut.
_MAX_INSTRUCTIONS_CHARACTERS = 4000

#: How long servers have to end by themselves; the package's own steps take six seconds at most.
_CLOSE_SECONDS = 10.0

#: How long a server has to show that it is there still.
_PING_SECONDS = 5.0

_MISSING_PACKAGE = (
    "the package mcp is not installed, which MCP servers need; install it with: pip install 'codexteam[mcp]'"
)


class McpServers:
    """`ToolServers` for the servers of one configuration: those outside; `inside` adds those of one sandbox."""

    def __init__(
        self, settings: Mapping[str, McpServerSettings], environment: Mapping[str, str], *, root: Path | None = None
    ) -> None:
        """Start nothing yet; `root` is the user's checkout, which no server gets to work in."""
        # a role may have one of its own, whose key distinguishes it from another of the same name
        self._settings = {id_: replace(server, id=id_) for id_, server in settings.items()}
        self._root = None if root is None else root.resolve()
        self._lists: dict[str, _Offer] = {}
        """What servers in sandboxes offered where one was started first: the same in every other."""
        self._servers: dict[str, _Server] = {}
        for id_, server in self._settings.items():
            if server.url is not None:
                self._servers[id_] = _Server(server, Url(server, environment))
            elif server.place is McpPlace.HOST:
                self._servers[id_] = _Server(server, HostProcess(server, environment, self._root))

    def inside(self, sandbox: Callable[[], Awaitable[Sandbox]]) -> "_Inside":
        """As the port says."""
        own = {
            id_: _Server(server, InSandbox(server, sandbox, self._root), self._lists)
            for id_, server in self._settings.items()
            if id_ not in self._servers
        }
        return _Inside(self, own, self._lists)

    async def start(self, server_ids: Sequence[str]) -> StartedServers:
        """As the port says."""
        return await self.start_of(self._servers, server_ids)

    async def start_of(self, servers: "Mapping[str, _Server]", server_ids: Sequence[str]) -> StartedServers:
        """Start some of the servers that one may use, and give what all of those asked for offer."""
        wanted = [servers[id_] for id_ in dict.fromkeys(server_ids) if id_ in servers]
        wanted = [server for server in wanted if server.settings.enabled]
        if wanted:
            await asyncio.gather(*(server.started() for server in wanted))
        failures = [ServerFailure(server.settings.id, server.problem) for server in wanted if server.problem]
        required = [failure for failure in failures if servers[failure.server_id].settings.required]
        if required:
            reasons = "; ".join(f"{failure.server_id}: {failure.message}" for failure in required)
            raise SurroundingsError(
                f"required MCP servers could not be started: {reasons}",
                hint="mend [mcp_servers.<id>] in config.toml, or set `required = false` to run without it",
            )
        missing = [
            ServerFailure(
                id_, "it runs inside a sandbox" if id_ in self._settings else "there is no [mcp_servers] entry"
            )
            for id_ in server_ids
            if id_ not in servers
        ]
        return StartedServers(
            tuple(tool for server in wanted for tool in server.offer.tools),
            (*failures, *missing),
            {server.settings.id: server.offer.instructions for server in wanted if server.offer.instructions},
        )

    async def call(self, server_id: str, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        """As the port says."""
        return await _call(self._servers, server_id, tool, arguments)

    async def close(self) -> None:
        """As the port says."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))

    @property
    def outside(self) -> "Mapping[str, _Server]":
        """The servers that all agents share."""
        return self._servers


class _Inside:
    """The servers as one agent has them: some in its sandbox, the others shared."""

    def __init__(self, shared: McpServers, own: "Mapping[str, _Server]", lists: "dict[str, _Offer]") -> None:
        self._shared = shared
        self._own = own
        self._all = {**shared.outside, **own}
        self._lists = lists

    def inside(self, sandbox: Callable[[], Awaitable[Sandbox]]) -> "_Inside":
        """As the port says."""
        return self._shared.inside(sandbox)

    async def start(self, server_ids: Sequence[str]) -> StartedServers:
        """As the port says."""
        started = await self._shared.start_of(self._all, server_ids)
        for id_ in server_ids:
            if id_ in self._own and not self._own[id_].problem:
                self._lists.setdefault(id_, self._own[id_].offer)
        return started

    async def call(self, server_id: str, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        """As the port says."""
        return await _call(self._all, server_id, tool, arguments)

    async def close(self) -> None:
        """As the port says."""
        await asyncio.gather(*(server.close() for server in self._own.values()))


async def _call(
    servers: "Mapping[str, _Server]", server_id: str, tool: str, arguments: JSONObject
) -> ServerAnswer | NoServerAnswer:
    server = servers.get(server_id)
    if server is None or all(tool != known.name for known in server.offer.tools):
        return NoServerAnswer(f"there is no tool {tool} on the server {server_id}")
    return await server.call(tool, arguments)


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a server says it can do."""

    tools: tuple[ServerTool, ...] = ()
    instructions: str = ""


class _Server:
    def __init__(
        self, settings: McpServerSettings, way: ServerTransport, known: "Mapping[str, _Offer] | None" = None
    ) -> None:
        """Start nothing yet; one whose offer is `known` by then is started when it is called."""
        self.settings = settings
        self.offer = _Offer()
        self.problem = ""
        self._way = way
        self._known = {} if known is None else known
        self._starting: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def started(self) -> None:
        """Start, or wait for the start that is under way; `problem` says how it went."""
        if self._starting is None:
            known = self._known.get(self.settings.id)
            if known is not None:
                self.offer = known
                return
            self._starting = asyncio.create_task(self._start(), name=f"start MCP server {self.settings.id}")
        # an agent that stops waiting must not take the start away from the others
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        connection = _Connection(self.settings, self._way)
        self.problem = await connection.open()
        if not self.problem:
            self._connection = connection
            self.offer = connection.offer

    async def call(self, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        connection, problem = await self._living()
        if connection is None:
            return NoServerAnswer(f"the server {self.settings.id} is not there and could not be started: {problem}")
        return await connection.call(tool, arguments)

    async def _living(self) -> "tuple[_Connection | None, str]":
        async with self._lock:
            if self._closed:
                return None, "the run ends"
            if self._connection is None or self._connection.lost:
                if self._connection is not None:
                    await self._connection.close()
                again = _Connection(self.settings, self._way)
                problem = await again.open()
                self._connection = None if problem else again
                return self._connection, problem
            return self._connection, ""

    async def close(self) -> None:
        self._closed = True
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()


class _Connection:
    """One client from its start to its end, inside a task of its own."""

    def __init__(self, settings: McpServerSettings, way: ServerTransport) -> None:
        self.offer = _Offer()
        self._settings = settings
        self._way = way
        self._heard: ServerMessages | None = None
        self._client: Client | None = None
        self._over = False
        self._serves = False
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Whether nobody answers any more."""
        return self._is_lost()

    def _is_lost(self) -> bool:
        return self._over or (self._heard is not None and self._heard.ended)

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
        problem = "its start was given up"
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._settings.startup_timeout_seconds):
                    from mcp import Client

                    # "legacy" is the handshake that every server knows
                    client = Client(self._listened(), mode="legacy", cache=None)
                    self._client = await stack.enter_async_context(client)
                    self.offer = await _offer(self._client, self._settings)
                self._serves = True
                _resolve(ready, "")
                await self._stop.wait()
        except TimeoutError:
            seconds = self._settings.startup_timeout_seconds
            problem = f"it did not answer within {seconds:g} s (startup_timeout_sec)"
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - whatever it does is this one server's failure
            problem = _words(error)
        finally:
            self._over = True
            if not ready.done():
                _resolve(ready, problem + await self._way.stderr_text())

    @asynccontextmanager
    async def _listened(self) -> AsyncIterator[Any]:
        async with self._way.streams() as (reads, writes):
            self._heard = ServerMessages(reads)
            yield self._heard, writes

    async def call(self, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
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
            # servers use the same number for errors of their own
            if error.code == CONNECTION_CLOSED and not await self._answers(client):
                return self._gone()
            return NoServerAnswer(f"the server {self._settings.id} refused the call: {clean_line(str(error))}")
        except Exception as error:  # noqa: BLE001 - a broken stream shows as many kinds, each means the same
            return self._gone(f": {_words(error)}")
        return _answer(result)

    async def _answers(self, client: "Client") -> bool:
        """Return whether the server is there still."""
        from mcp.shared.exceptions import MCPError
        from mcp.types import CONNECTION_CLOSED, EmptyResult, PingRequest

        if self._is_lost():
            return False
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await client.session.send_request(PingRequest(), EmptyResult)
        except TimeoutError:
            return not self._is_lost()
        except MCPError as error:
            # of a process it is known whether it has ended; a url that cannot be reached answers nothing else
            return not self._is_lost() and (error.code != CONNECTION_CLOSED or self._settings.url is None)
        except Exception:  # noqa: BLE001 - as in a call
            return False
        return True

    def _gone(self, why: str = "") -> NoServerAnswer:
        self._over = True
        return NoServerAnswer(
            f"the server {self._settings.id} went away during the call{why}. The call may have had an effect; "
            "the next one starts the server again"
        )


def _resolve(ready: "asyncio.Future[str]", problem: str) -> None:
    if not ready.done():
        ready.set_result(problem)


async def _offer(client: "Client", settings: McpServerSettings) -> _Offer:
    tools: list[ServerTool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            hints = tool.annotations
            tools.append(
                ServerTool(
                    server_id=settings.id,
                    name=tool.name,
                    description=tool.description or "",
                    input_schema=tool.input_schema,
                    only_reads=hints is not None and hints.read_only_hint is True,
                )
            )
        cursor = page.next_cursor
        if cursor is None:
            break
    return _Offer(_wanted(tools, settings), (client.instructions or "").strip()[:_MAX_INSTRUCTIONS_CHARACTERS])


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
