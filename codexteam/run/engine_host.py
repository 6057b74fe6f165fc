"""The host whose agents' loops run in this process, with their sandboxes on a machine of the sandbox engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from codexteam.agent.deps import AgentDeps
from codexteam.agent.desk import AgentDesk
from codexteam.agent.loop import run_agent
from codexteam.agent.outcome import AgentOutcome
from codexteam.agent.server_tools import ServerTools
from codexteam.agent.tools.shell import Sessions
from codexteam.agent.tools.tool import Tool
from codexteam.agent.tools.tool_context import ToolContext
from codexteam.core.redaction import Redactor
from codexteam.errors import CodexteamError
from codexteam.ports.clock import Clock
from codexteam.ports.environments import SetupOrder
from codexteam.ports.harness import HarnessAgent
from codexteam.ports.model import Model
from codexteam.ports.sandbox import Sandbox
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.run.agent_tools import own_tools
from codexteam.run.host import AgentOrder
from codexteam.system.cancellation import to_its_end
from codexteam.system.fault_points import reach


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What some agents have besides: only a host in the run's process can give it."""

    servers: Callable[[ToolContext], ServerTools] | None = None
    """Gives an agent's MCP servers for its workplace."""
    harness_agent: Callable[[ToolContext, Sequence[Tool]], HarnessAgent] | None = None
    """Gives who makes its calls in place of the model, for its workplace and its tools."""


@dataclass(slots=True)
class EngineHost:
    """A `Host` over a sandbox engine. The engine and the model are closed by who made them."""

    engine: SandboxEngine
    model: Model
    clock: Clock
    redactor: Redactor = field(default_factory=Redactor)

    @property
    def places(self) -> int | None:
        """The engine's."""
        return self.engine.places

    async def work(self, order: AgentOrder, desk: AgentDesk, surroundings: Surroundings | None = None) -> AgentOutcome:
        """Let an agent work to its end; see `Host.work`.

        Raises:
            SurroundingsError: a server that is required could not be started.
        """
        around = surroundings or Surroundings()
        sessions = Sessions()
        desk.prints(sessions.printed)
        async with _sandbox(self._start(desk)) as starting:
            place = ToolContext(starting, order.mode, order.folder, self.clock, order.limits, redactor=self.redactor)
            async with _server_tools(around.servers, place) as late, AsyncExitStack() as stack:
                if around.harness_agent is not None and late is not None:
                    await late.arrived()  # a thread's tools are fixed when it starts
                tools: tuple[Tool, ...] = (
                    *own_tools(order, desk.tools, place=place, sessions=sessions),
                    *(late.take() if late is not None else ()),
                )
                offered = frozenset(tool.name for tool in tools)
                agent: HarnessAgent | None = None
                stored_tools: tuple[Tool, ...] = ()
                if around.harness_agent is not None:
                    agent = around.harness_agent(place, tools)
                    stack.push_async_callback(_end_agent, agent)
                    stored_tools, tools = tools, ()
                said = late.news() if late is not None else ()
                prompt = replace(order.spec.prompt, facts=(*order.spec.prompt.facts, *said))
                desk.begins(prompt, offered)
                deps = AgentDeps(
                    agent or self.model,
                    desk.store,
                    self.clock,
                    desk.budget,
                    tools,
                    None if agent else late,
                    () if agent else order.hosted_tools,
                    agent,
                    stored_tools,
                    place,
                    sessions=sessions,
                    mailbox=desk.mailbox,
                    hold=desk.hold,
                    report=desk.report,
                )
                return await run_agent(replace(order.spec, prompt=prompt), deps)

    async def _start(self, desk: AgentDesk) -> Sandbox:
        wanted = await desk.sandbox_wanted()
        if isinstance(wanted, SetupOrder):
            started: Sandbox = await self.engine.environments.set_up(wanted)
        else:
            reach("sandbox.start.before")
            started = await self.engine.start(wanted)
            reach("sandbox.start.after")
        desk.sandbox_started(started.facts)
        return started


@asynccontextmanager
async def _server_tools(
    servers: Callable[[ToolContext], ServerTools] | None, place: ToolContext
) -> AsyncIterator[ServerTools | None]:
    """Start an agent's servers; they end with the block."""
    if servers is None:
        yield None
        return
    tools = servers(place)
    try:
        await tools.begin()
        yield tools
    finally:
        await to_its_end(tools.close())


@asynccontextmanager
async def _sandbox(start: Coroutine[Any, Any, Sandbox]) -> AsyncIterator["asyncio.Future[Sandbox]"]:
    """Start a sandbox in the background; however it ends, close it, or let go of one that was not started yet."""
    starting = asyncio.ensure_future(start)
    try:
        yield starting
    finally:
        if not starting.done():
            starting.cancel()
        await to_its_end(_close(starting))


async def _close(starting: "asyncio.Future[Sandbox]") -> None:
    try:
        sandbox = await starting
    except (asyncio.CancelledError, CodexteamError):
        return  # it was never created; whoever waited for it got the error
    reach("sandbox.close.before")
    await sandbox.close()
    reach("sandbox.close.after")


async def _end_agent(agent: HarnessAgent) -> None:
    await to_its_end(agent.close())
