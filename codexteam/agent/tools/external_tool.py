"""Tools whose outputs nobody here made: their texts are cut and freed of secrets like a command's."""

import hashlib
from dataclasses import dataclass

from codexteam.agent.tools.clip import as_text
from codexteam.agent.tools.tool import Tool, ToolOutput, ToolProblem
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.core.ids import JSONObject


@dataclass(frozen=True, slots=True)
class ExternalTool:
    """A tool of a server or of the user, behind the limits of an agent's workplace."""

    tool: Tool
    place: ToolContext
    writes: bool = False
    """Whether a call may change the workspace, whatever the tool says."""

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name

    @property
    def definition(self) -> JSONObject:
        """The tool's definition."""
        return self.tool.definition

    @property
    def only_reads(self) -> bool:
        return self.tool.only_reads

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        """Call the tool and shorten what it gives, or what it complains of."""
        self.place.wrote = self.place.wrote or self.writes
        try:
            output = await self.tool.call(arguments, call_id=call_id)
        except ToolProblem as problem:
            raise ToolProblem(await self._short(str(problem), call_id)) from None
        if isinstance(output.content, str):
            return ToolOutput(await self._short(output.content, call_id))
        return ToolOutput(tuple([await self._part(part, call_id) for part in output.content]))

    async def _part(self, part: JSONObject, call_id: str) -> JSONObject:
        text = part.get("text")
        return {**part, "text": await self._short(text, call_id)} if isinstance(text, str) else part

    async def _short(self, text: str, call_id: str) -> str:
        name = hashlib.sha256(call_id.encode("utf-8", errors="replace")).hexdigest()[:6]
        limit = self.place.limits.output_tokens
        return (await self.place.shorten(self.place.redactor.redact(as_text(text)), limit, name=f"{name}.txt"))[0]
