"""The tools of a role's MCP servers, as the model sees them."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codexteam.agent.tools.arguments import parse_arguments
from codexteam.agent.tools.tool import ToolOutput, ToolProblem
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.ports.tool_servers import ImagePart, NoServerAnswer, ServerTool, TextPart, ToolServers

#: The Responses API's limit, and what a name may be made of.
_MAX_NAME_CHARACTERS = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")

#: A server's text is part of every request; more than this of one tool is cut.
_MAX_DESCRIPTION_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of one server; a `Tool`."""

    name: str
    tool: ServerTool
    servers: ToolServers

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.tool.description[:_MAX_DESCRIPTION_CHARACTERS],
            "parameters": _object_schema(self.tool.input_schema),
            "strict": False,
        }

    @property
    def only_reads(self) -> bool:
        """Whether the server says so."""
        return self.tool.only_reads

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - the server has its own ids
        """Call it and give what it gave: text, or text and images in order.

        Raises:
            ToolProblem: the arguments are no JSON object, the tool says that it failed, or there was no answer.
        """
        answer = await self.servers.call(self.tool.server_id, self.tool.name, parse_arguments(self.name, arguments))
        if isinstance(answer, NoServerAnswer):
            raise ToolProblem(answer.reason)
        texts = [part.text for part in answer.parts if isinstance(part, TextPart)]
        if answer.failed:
            raise ToolProblem("\n".join(texts) or f"{self.name} failed and did not say why")
        if len(texts) == len(answer.parts):
            return ToolOutput("\n".join(texts))
        return ToolOutput(tuple(_content(part) for part in answer.parts))


def make_mcp_tools(tools: Sequence[ServerTool], servers: ToolServers) -> tuple[McpTool, ...]:
    """Give the tools that `ToolServers.start` gave under names that are valid and told apart, always the same ones."""
    named: dict[str, McpTool] = {}
    for tool in tools:
        name = tool_name(tool.server_id, tool.name)
        if name in named:
            name = _hashed(name, tool.server_id, tool.name)
        named[name] = McpTool(name, tool, servers)
    return tuple(named.values())


def tool_name(server_id: str, tool: str) -> str:
    """Give `mcp__server__tool`; what a name can't hold becomes `_`, and a long name ends in a hash instead."""
    name = _NOT_IN_NAMES.sub("_", f"mcp__{server_id}__{tool}")
    return name if len(name) <= _MAX_NAME_CHARACTERS else _hashed(name, server_id, tool)


def _hashed(name: str, server_id: str, tool: str) -> str:
    digest = hashlib.sha256(f"{server_id}\0{tool}".encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{name[: _MAX_NAME_CHARACTERS - len(digest) - 1]}_{digest}"


def _content(part: TextPart | ImagePart) -> JSONObject:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    return {"type": "input_image", "image_url": f"data:{part.mime_type};base64,{part.base64_data}"}


def _object_schema(schema: Mapping[str, JSONValue]) -> JSONObject:
    """Give the schema as the API wants it: of an object, with `properties`."""
    return {**schema, "type": "object", "properties": schema.get("properties") or {}}
