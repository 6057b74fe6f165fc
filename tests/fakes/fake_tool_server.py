"""Tool servers in memory: tools are functions, failures are told."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from codexteam.core.ids import JSONObject
from codexteam.errors import SurroundingsError
from codexteam.ports.sandbox import Sandbox
from codexteam.ports.tool_servers import NoServerAnswer, ServerAnswer, ServerFailure, ServerTool, StartedServers

Behaviour: TypeAlias = Callable[[JSONObject], Awaitable[ServerAnswer | NoServerAnswer]]


@dataclass
class FakeServer:
    """One server: its tools with what they do, or why it can't be started."""

    tools: Mapping[str, Behaviour] = field(default_factory=dict)
    read_only: Sequence[str] = ()
    problem: str = ""
    required: bool = False
    starts: int = 0


class FakeToolServers:
    """`ToolServers` without processes."""

    def __init__(self, servers: Mapping[str, FakeServer]) -> None:
        self.servers = servers
        self.calls: list[tuple[str, str, JSONObject]] = []
        self.closed = False

    def inside(self, sandbox: Callable[[], Awaitable[Sandbox]]) -> "FakeToolServers":
        """Give itself: in memory there is no place."""
        return self

    async def start(self, server_ids: Sequence[str]) -> StartedServers:
        tools: list[ServerTool] = []
        failures: list[ServerFailure] = []
        for id_ in dict.fromkeys(server_ids):
            server = self.servers.get(id_)
            if server is None:
                failures.append(ServerFailure(id_, "there is no [mcp_servers] entry"))
            elif server.problem:
                if server.required:
                    raise SurroundingsError(f"required MCP servers could not be started: {id_}: {server.problem}")
                failures.append(ServerFailure(id_, server.problem))
            else:
                server.starts = 1
                schema: JSONObject = {"type": "object", "properties": {"text": {"type": "string"}}}
                tools += [
                    ServerTool(id_, name, f"The tool {name}.", schema, only_reads=name in server.read_only)
                    for name in sorted(server.tools)
                ]
        return StartedServers(tuple(tools), tuple(failures))

    async def call(self, server_id: str, tool: str, arguments: JSONObject) -> ServerAnswer | NoServerAnswer:
        server = self.servers.get(server_id)
        if server is None or tool not in server.tools or not server.starts:
            return NoServerAnswer(f"there is no tool {tool} on the server {server_id}")
        self.calls.append((server_id, tool, arguments))
        return await server.tools[tool](arguments)

    async def close(self) -> None:
        self.closed = True
