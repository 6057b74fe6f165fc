"""The calls of one answer where a harness does them: what `AnswerCalls` is for our own tools."""

from collections.abc import Callable, Sequence

from codexteam.agent.event_fields import AgentEvent, ToolFinished, ToolStarted
from codexteam.agent.tools.tool import PROBLEM_PREFIX, Tool, ToolProblem
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.agent.tools.toolbox import OUTPUT_TYPES, OwnCalls, ToolCall, tool_call_of
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.redaction import Redactor
from codexteam.ports.clock import Clock
from codexteam.ports.harness import HarnessAgent, OfferedTool

#: Stands for what a harness puts before our text: its own instructions and tools, measured at 26 KB with Codex 0.171.
HARNESS_PROMPT = " " * 32_000


#: What a model is told of a call that has no output, since the harness or its hands ended.
BROKEN_OFF = "This was broken off, and may be done in part. Look before you ask for it again."


class HarnessCalls:
    """Lets the harness make the calls, and keeps their results without secrets.

    The calls of an answer that an earlier session stored, or one whose sandbox was lost, are unknown to the harness:
    our own tools do those, since they understand the same calls.
    """

    def __init__(
        self,
        agent: HarnessAgent,
        own: OwnCalls,
        clock: Clock,
        report: Callable[[AgentEvent], None],
        place: ToolContext | None,
    ) -> None:
        self._own = own
        self._is_known = False
        self._agent = agent
        self._clock = clock
        self._report = report
        self._place = place

    def item_done(self, item: JSONObject) -> None:
        """Nothing of an answer is done before it is stored."""
        self._is_known = self._is_known or tool_call_of(item) is not None

    def restarted(self) -> None:
        """Nothing was begun."""

    async def outputs(self, calls: Sequence[ToolCall]) -> list[JSONObject]:
        """As `AnswerCalls` says."""
        if not self._is_known:
            return await self._own.outputs(calls)
        began = self._clock.monotonic_seconds()
        for call in calls:
            self._report(ToolStarted(call.call_id, call.name, call.arguments.partition("\n")[0][:200]))
        if self._place is not None:
            self._place.wrote = True
        items = {item.get("call_id"): item for item in await self._agent.outputs([call.call_id for call in calls])}
        seconds = self._clock.monotonic_seconds() - began
        redactor = self._place.redactor if self._place is not None else Redactor()
        done: list[JSONObject] = []
        for call in calls:
            item = items.get(call.call_id)
            self._report(ToolFinished(call.call_id, call.name, item is None, seconds))
            broken: JSONObject = {"type": OUTPUT_TYPES[call.kind], "call_id": call.call_id, "output": BROKEN_OFF}
            done.append(broken if item is None else {name: _redacted(value, redactor) for name, value in item.items()})
        return done

    async def close(self) -> None:
        """Stop what our own tools began; the agent's end stops the rest."""
        await self._own.close()


def _redacted(value: JSONValue, redactor: Redactor) -> JSONValue:
    match value:
        case str():
            return redactor.redact(value)
        case list():
            return [_redacted(element, redactor) for element in value]
        case dict():
            return {name: _redacted(element, redactor) for name, element in value.items()}
        case _:
            return value


def offered_tool(tool: Tool) -> OfferedTool:
    """Return one of our tools as a harness offers it; what is wrong with a call goes to the model."""

    async def call(arguments: str, call_id: str) -> str | tuple[JSONObject, ...]:
        try:
            return (await tool.call(arguments, call_id=call_id)).content
        except ToolProblem as problem:
            return f"{PROBLEM_PREFIX}{problem}"

    return OfferedTool(tool.definition, call)
