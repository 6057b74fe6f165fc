"""One answer's tool calls: each done once, reads early and side by side, the others in order and only when all is said.

A call that only reads starts as soon as its item is complete in the stream. One that may write waits for the whole
answer, since nothing of a partial answer may be executed; and a read that stands behind it waits too, so that it sees
what was written.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from codexteam.agent.event_fields import AgentEvent, ToolFinished, ToolStarted
from codexteam.agent.tools.dialects import our_name
from codexteam.agent.tools.tool import PROBLEM_PREFIX, Tool, ToolOutput, ToolProblem
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.ports.clock import Clock
from codexteam.system.fault_points import reach

#: Item type of a call to that of its output.
OUTPUT_TYPES: Mapping[str, str] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    # answered as Codex answers it
    "local_shell_call": "function_call_output",
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model made it."""

    call_id: str
    name: str
    arguments: str
    """JSON for a function; anything for a custom tool."""
    kind: str
    """The item's type."""


def tool_call_of(item: JSONObject) -> ToolCall | None:
    """Read an item; None if it is not a call of one of our tools."""
    kind = item.get("type")
    if kind not in OUTPUT_TYPES:
        return None
    if kind == "local_shell_call":
        call_id = item.get("call_id") or item.get("id")
        named = call_id if isinstance(call_id, str) else ""
        return ToolCall(named, "local_shell", json.dumps(item.get("action")), kind)
    arguments = item.get("arguments" if kind == "function_call" else "input")
    name, call_id = item.get("name"), item.get("call_id")
    return ToolCall(
        call_id=call_id if isinstance(call_id, str) else "",
        name=name if isinstance(name, str) else "",
        arguments=arguments if isinstance(arguments, str) else "",
        kind=str(kind),
    )


class LateTools(Protocol):
    """Tools that are not known yet when an agent begins."""

    def take(self) -> Sequence[Tool]:
        """Return those that were not there when this was called last."""
        ...

    def news(self) -> Sequence[str]:
        """Return what the model is to know of them, once."""
        ...

    def may_have(self, name: str) -> bool:
        """Return whether a tool of this name may still come."""
        ...

    async def arrived(self) -> None:
        """Wait until no more will come."""
        ...


@dataclass(slots=True)
class Toolbox:
    """The tools of one agent."""

    tools: Mapping[str, Tool]
    clock: Clock
    report: Callable[[AgentEvent], None]
    late: LateTools | None = None
    only_kind: Mapping[str, str] = field(init=False)
    definitions: tuple[JSONObject, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._define()

    def _define(self) -> None:
        self.definitions = tuple(tool.definition for tool in self.tools.values())
        self.only_kind = {
            name: "custom_tool_call" if definition.get("type") == "custom" else "function_call"
            for name, definition in zip(self.tools, self.definitions, strict=True)
        }

    def take_late(self) -> None:
        """Take in the tools that have become known since."""
        if new := () if self.late is None else self.late.take():
            self.tools = {**self.tools, **{tool.name: tool for tool in new if tool.name not in self.tools}}
            self._define()

    def only_reads(self, call: ToolCall) -> bool:
        """Whether a call may start early and be thrown away. One that cannot be done at all changes nothing either."""
        tool = self.tools.get(our_name(call.name, self.tools))
        if tool is None:
            return self.late is None or not self.late.may_have(call.name)
        return tool.only_reads

    async def do(self, call: ToolCall) -> ToolOutput:
        """Do one call. What is wrong with it becomes its output.

        Raises:
            SandboxLost: the sandbox went away.
        """
        first_line = call.arguments.partition("\n")[0][:200]
        self.report(ToolStarted(call.call_id, call.name, first_line))
        started_at = self.clock.monotonic_seconds()
        failed = False
        try:
            output = await self._do(call)
        except ToolProblem as problem:
            failed = True
            output = ToolOutput(f"{PROBLEM_PREFIX}{problem}")
        seconds = self.clock.monotonic_seconds() - started_at
        self.report(ToolFinished(call.call_id, call.name, failed, seconds))
        return output

    async def _do(self, call: ToolCall) -> ToolOutput:
        name = our_name(call.name, self.tools)
        if name not in self.tools and self.late is not None and self.late.may_have(call.name):
            await self.late.arrived()
            self.take_late()
            name = our_name(call.name, self.tools)
        tool = self.tools.get(name)
        if tool is None:
            raise ToolProblem(f"there is no tool {call.name[:100]!r}; there are: {', '.join(self.tools) or 'none'}.")
        if call.kind == "custom_tool_call" and self.only_kind[name] != call.kind and name != "apply_patch":
            # a patch is known by its own form, whichever way it comes; anything else must be what its schema says
            raise ToolProblem(f"{name} must be called as a function with JSON arguments.")
        reach("tool.call.before")
        output = await tool.call(call.arguments, call_id=call.call_id)
        reach("tool.call.after")
        return output


class AnswerCalls(Protocol):
    """The calls of one answer, from its first item to the last output."""

    def item_done(self, item: JSONObject) -> None:
        """Take an item of the answer, which is not complete yet."""
        ...

    def restarted(self) -> None:
        """The answer so far is void."""
        ...

    async def outputs(self, calls: Sequence[ToolCall]) -> list[JSONObject]:
        """Do what is not done yet and give the output items, in the order of the calls.

        Raises:
            SandboxLost: the sandbox went away.
        """
        ...

    async def close(self) -> None:
        """Stop what was started and is not wanted."""
        ...


class OwnCalls:
    """Does the calls of an answer with our own tools."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._early: dict[tuple[str, str, str], asyncio.Task[ToolOutput]] = {}
        self._blocked = False

    def item_done(self, item: JSONObject) -> None:
        """Start what the item asks for, if that can be done before the answer is complete."""
        call = tool_call_of(item)
        if call is None:
            return
        self._blocked = self._blocked or not self._toolbox.only_reads(call)
        identity = (call.kind, call.name, call.arguments)
        if not self._blocked and identity not in self._early:
            self._early[identity] = asyncio.create_task(self._toolbox.do(call), name=f"tool {call.name}")

    def restarted(self) -> None:
        """The answer so far is void. What was read stays read, for the case that it is asked for again."""
        self._blocked = False

    async def outputs(self, calls: Sequence[ToolCall]) -> list[JSONObject]:
        """Do what is not done yet and give the output items, in the order of the calls.

        Raises:
            SandboxLost: the sandbox went away.
            SandboxUnavailable: it could not be started.
        """
        done: list[ToolOutput | None] = [None] * len(calls)
        waiting: list[tuple[int, asyncio.Task[ToolOutput]]] = []
        for index, call in enumerate(calls):
            early = self._early.pop((call.kind, call.name, call.arguments), None)
            if early is not None:
                waiting.append((index, early))
            elif self._toolbox.only_reads(call):
                waiting.append((index, asyncio.create_task(self._toolbox.do(call), name=f"tool {call.name}")))
            else:
                await self._gather(waiting, done)
                done[index] = await self._toolbox.do(call)
        await self._gather(waiting, done)
        await self.close()
        return [output_item(call, output) for call, output in zip(calls, done, strict=True) if output is not None]

    @staticmethod
    async def _gather(waiting: list[tuple[int, asyncio.Task[ToolOutput]]], done: list[ToolOutput | None]) -> None:
        try:
            for index, task in waiting:
                done[index] = await task
        finally:
            await _cancel([task for _, task in waiting])
            waiting.clear()

    async def close(self) -> None:
        """Stop what was started and is not wanted."""
        left = list(self._early.values())
        self._early.clear()
        await _cancel(left)


async def _cancel(tasks: Sequence["asyncio.Task[ToolOutput]"]) -> None:
    for task in tasks:
        task.cancel()
    # what they end with was either taken already or is not wanted any more
    await asyncio.gather(*tasks, return_exceptions=True)


def output_item(call: ToolCall, output: ToolOutput) -> JSONObject:
    """Return the input item that answers a call."""
    content: JSONValue = output.content if isinstance(output.content, str) else [*output.content]
    return {"type": OUTPUT_TYPES[call.kind], "call_id": call.call_id, "output": content}


def unique_calls(items: Sequence[JSONObject], *, turn: int) -> tuple[tuple[JSONObject, ...], tuple[ToolCall, ...]]:
    """Return an answer's items and calls with every call id there once; a call without an id gets one."""
    kept: list[JSONObject] = []
    calls: dict[str, ToolCall] = {}
    for number, item in enumerate(items):
        call = tool_call_of(item)
        if call is None:
            kept.append(item)
            continue
        call_id = call.call_id or f"call_{turn}_{number}"
        if call_id not in calls:
            calls[call_id] = ToolCall(call_id, call.name, call.arguments, call.kind)
            kept.append(item if call.call_id else {**item, "call_id": call_id})
    return tuple(kept), tuple(calls.values())
