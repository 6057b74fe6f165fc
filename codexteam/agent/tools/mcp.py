"""The tools of a role's MCP servers, as the model sees them."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from codexteam.agent.tools.arguments import parse_arguments
from codexteam.agent.tools.tool import ToolOutput, ToolProblem, function_definition
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.ports.tool_servers import ImagePart, NoServerAnswer, ServerTool, TextPart, ToolServers

#: The Responses API's limit, and what a name may be made of.
_MAX_NAME_CHARACTERS = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")

#: A server's text is part of every request; more than this of one tool is cut.
_MAX_DESCRIPTION_CHARACTERS = 4000

#: What a request says of a tool that is offered by name.
_BRIEF_CHARACTERS = 100
_MOST_BRIEF_ARGUMENTS = 30

#: The API refuses a request with a tool whose schema begins so.
_NOT_AT_THE_TOP = frozenset({"oneOf", "anyOf", "allOf", "not", "enum", "$schema"})


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of one server; a `Tool`."""

    name: str
    tool: ServerTool
    servers: ToolServers
    whole: bool = True
    """Whether its whole definition is in every request, or its name and those of its arguments alone."""

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        return self.whole_definition if self.whole else self._brief_definition

    @property
    def whole_definition(self) -> JSONObject:
        """What the server says of it, as a request has it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.tool.description[:_MAX_DESCRIPTION_CHARACTERS],
            "parameters": _object_schema(self.tool.input_schema),
            "strict": False,
        }

    @property
    def _brief_definition(self) -> JSONObject:
        schema = _object_schema(self.tool.input_schema)
        properties = schema["properties"]
        arguments = list(properties)[:_MOST_BRIEF_ARGUMENTS] if isinstance(properties, dict) else []
        parameters: JSONObject = {"type": "object", "properties": {name: {} for name in arguments}}
        needed = schema.get("required")
        if isinstance(needed, list) and (names := [name for name in needed if name in arguments]):
            parameters["required"] = [*names]
        first_line = self.tool.description.strip().partition("\n")[0]
        sentence = first_line.partition(". ")[0][:_BRIEF_CHARACTERS]
        return {
            "type": "function", "name": self.name, "description": sentence, "parameters": parameters, "strict": False,
        }  # fmt: skip

    @property
    def only_reads(self) -> bool:
        """Whether the server says so."""
        return self.tool.only_reads

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - the server has its own ids
        """Call it and give what it gave: text, or text and images in order.

        Raises:
            ToolProblem: the arguments are not a JSON object, the tool says that it failed, or there was no answer.
        """
        answer = await self.servers.call(self.tool.server_id, self.tool.name, parse_arguments(self.name, arguments))
        if isinstance(answer, NoServerAnswer):
            raise ToolProblem(f"{answer.reason}{self._shown()}")
        texts = [part.text for part in answer.parts if isinstance(part, TextPart)]
        if answer.failed:
            said = "\n".join(texts) or f"{self.name} failed and did not say why"
            raise ToolProblem(f"{said}{self._shown()}")
        if len(texts) == len(answer.parts):
            return ToolOutput("\n".join(texts))
        return ToolOutput(tuple(_content(part) for part in answer.parts))

    def _shown(self) -> str:
        """Return what the model has not seen of the tool, where that may be why it failed."""
        if self.whole:
            return ""
        schema = json.dumps(_object_schema(self.tool.input_schema), ensure_ascii=False)
        return f"\nThe arguments of {self.name}: {schema[:_MAX_DESCRIPTION_CHARACTERS]}"


@dataclass(frozen=True, slots=True)
class DescribeTools:
    """Gives what requests leave out of tools that are offered by name; a `Tool`."""

    tools: Mapping[str, McpTool]
    name: str = "describe_tools"
    only_reads: bool = True

    @property
    def definition(self) -> JSONObject:
        """The entry in a request's `tools`."""
        names: JSONObject = {"type": "array", "items": {"type": "string"}}
        described = "Returns full descriptions and argument schemas of mcp__ tools, which are listed in brief."
        return function_definition(self.name, described, {"names": names}, ("names",), closed=False)

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:  # noqa: ARG002 - nothing is called
        """Describe the tools that are named.

        Raises:
            ToolProblem: no tool is named, or one that is not there.
        """
        asked = parse_arguments(self.name, arguments).get("names")
        names = [str(name) for name in asked] if isinstance(asked, list) else []
        unknown = [name for name in names if name not in self.tools]
        if unknown or not names:
            raise ToolProblem(f"names must be some of: {', '.join(self.tools)}.")
        return ToolOutput(
            "\n".join(json.dumps(self.tools[name].whole_definition, ensure_ascii=False) for name in names)
        )


def make_mcp_tools(
    tools: Sequence[ServerTool], servers: ToolServers, *, taken: Collection[str] = (), whole: bool = True
) -> tuple[McpTool, ...]:
    """Return the tools that `ToolServers.start` gave, under valid, distinct and stable names."""
    named: dict[str, McpTool] = {}
    for tool in tools:
        name = tool_name(tool.server_id.rpartition(":")[2], tool.name)
        if name in named or name in taken:
            name = _hashed(name, tool.server_id, tool.name)
        named[name] = McpTool(name, tool, servers, whole)
    return tuple(named.values())


def definition_bytes(tool: McpTool) -> int:
    """Return what a tool adds to every request."""
    return len(json.dumps(tool.definition, separators=(",", ":")))


def tool_name(server_id: str, tool: str) -> str:
    """Return `mcp__server__tool`; what a name can't hold becomes `_`, and a long name ends in a hash instead."""
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
    """Return the schema as the API wants it: of an object, with `properties`."""
    properties = schema.get("properties")
    kept = {name: value for name, value in schema.items() if name not in _NOT_AT_THE_TOP}
    return {**kept, "type": "object", "properties": properties if isinstance(properties, dict) else {}}
