"""A worker's work for one agent, from the run's order to its last word."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.core.ids import AgentKey
from codexteam.core.redaction import Redactor
from codexteam.errors import CodexteamError, InternalError, SandboxLost, SandboxUnavailable
from codexteam.ports.clock import Clock
from codexteam.ports.model import Model
from codexteam.ports.sandbox_engine import SandboxEngine
from codexteam.ports.workers import RunLink
from codexteam.run.engine_host import EngineHost
from codexteam.run.host import AgentOrder
from codexteam.run.worker_desk import WorkerDesk
from codexteam.run.worker_messages import Opened, Welcome, WorkerEnded, WorkerOrder
from codexteam.system.cancellation import stopped


@dataclass(frozen=True, slots=True)
class WorkerTools:
    """What a worker works with. The engine and the model are its own, and closed by whoever gives them."""

    engine: SandboxEngine
    model: Model
    redactor: Redactor


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where a worker is."""

    host: str
    """The name of its machine, as the cluster knows it."""
    version: str
    folder: Path
    """For this agent alone; what is in it is gone when the agent has ended."""
    clock: Clock
    tools: Callable[[WorkerOrder, WorkerDesk, AsyncExitStack], Awaitable[WorkerTools]]
    """Makes what it works with; the stack closes it."""


async def serve_order(sent: WorkerOrder, link: RunLink, place: WorkerPlace) -> None:
    """Let an agent work, and tell its run everything; what goes wrong is told, too.

    Cancelling it stops the agent, kills its commands and removes its sandbox.
    """
    if sent.version != place.version:
        link.send(WorkerEnded(error=other_version(place.host, place.version, sent.version)))
        return
    link.send(Opened(place.host, place.version))
    welcome = await link.receive()
    if not isinstance(welcome, Welcome):
        raise InternalError(f"a run began with {type(welcome).__name__}")
    order = replace(sent.order, folder=place.folder)
    desk = WorkerDesk(order, welcome, link, place.clock)
    listening = asyncio.ensure_future(desk.listen())
    try:
        working = asyncio.ensure_future(_work(sent, order, desk, place, welcome.at_work))
        desk.stop = lambda: _cancel(working)
        try:
            await asyncio.wait({listening, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not working.done():
                await stopped(working)
        if not working.cancelled():
            link.send(working.result())
        else:
            link.send(WorkerEnded())
    finally:
        await stopped(listening)


def other_version(host: str, version: str, wanted: str) -> SandboxUnavailable:
    """Return what is wrong with a machine that has another codexteam than the run."""
    return SandboxUnavailable(
        f"{host} has codexteam {version}, and the run is one of {wanted}",
        hint="install the same version on all machines of the cluster",
    )


def _cancel(task: "asyncio.Task[WorkerEnded]") -> None:
    task.cancel()


async def _work(
    sent: WorkerOrder, order: AgentOrder, desk: WorkerDesk, place: WorkerPlace, at_work: tuple[AgentKey, ...] | None
) -> WorkerEnded:
    try:
        async with AsyncExitStack() as stack:
            tools = await place.tools(sent, desk, stack)
            desk.bring = _bringing(tools.engine, desk)
            if at_work is not None:
                await tools.engine.sweep(order.spec.key.run_id, keep=at_work)
            showing = asyncio.ensure_future(desk.show_printed())
            stack.push_async_callback(stopped, showing)
            host = EngineHost(tools.engine, tools.model, place.clock, tools.redactor)
            # while everything is still there that its files are in
            return await desk.ended(await host.work(order, desk))
    except SandboxLost as error:
        # a machine of ours that says so is no machine that is gone
        return WorkerEnded(error=SandboxLost(str(error), hint=error.hint))
    except CodexteamError as error:
        return WorkerEnded(error=error)
    except Exception as error:  # noqa: BLE001 - the run is told, and no worker is asked why its run waits for ever
        return WorkerEnded(error=InternalError(f"on {place.host}: {type(error).__name__}: {error}"))


def _bringing(engine: SandboxEngine, desk: WorkerDesk) -> Callable[[str], Awaitable[None]]:
    async def bring(key: str) -> None:
        keeper = engine.environments
        if await keeper.find(key) is not None:
            return
        async with keeper.claim(key):
            if await keeper.find(key) is None:
                await keeper.unpack(key, await desk.environment_file(key))

    return bring
