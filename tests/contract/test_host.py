"""What every host does with an agent, whether its loop runs here or beside its sandbox on a worker."""

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from codexteam import __version__
from codexteam.adapters.machine.clock import SystemClock
from codexteam.adapters.responses.model import ModelOptions, ResponsesModel
from codexteam.adapters.sandbox.bubblewrap.engine import BubblewrapEngine
from codexteam.agent.activities import Activities
from codexteam.agent.checkpointer import resume_point
from codexteam.agent.deps import AgentSpec
from codexteam.agent.event_fields import AgentEvent, TurnAnswered
from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.outcome import AgentOutcome, OutOfBudget, Submitted
from codexteam.agent.prefix import Prompt
from codexteam.agent.reservations import Reservations
from codexteam.agent.tools.tool import Tool, ToolOutput, function_definition
from codexteam.agent.tools.tool_context import ToolLimits
from codexteam.app.worker_surroundings import ENTRY, WorkerSurroundings
from codexteam.config.settings import (
    ModelSettings,
    NetworkPolicy,
    ProviderSettings,
    SandboxLimits,
    SandboxMode,
    SandboxSettings,
)
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.ids import AgentKey, JSONObject, Purpose, RunId
from codexteam.core.redaction import REDACTED, Redactor
from codexteam.errors import HostLost
from codexteam.ports.sandbox import BaseSource, SandboxFacts, SandboxSpec
from codexteam.ports.workers import RunLink
from codexteam.run.engine_host import EngineHost
from codexteam.run.host import AgentOrder, Host
from codexteam.run.run_desk import RunDesk
from codexteam.run.worker_desk import WorkerDesk
from codexteam.run.worker_gates import WorkerGates
from codexteam.run.worker_host import WorkerHost
from codexteam.run.worker_messages import WorkerOrder
from codexteam.run.worker_service import WorkerPlace, WorkerTools, serve_order
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_workers import FakeWorkers
from tests.fakes.memory_store import MemoryStore
from tests.scripted_api import Call, Played, Reply, ScriptedApi, function_call, message
from tests.support_base_source import base_source, make_repository, unpack_snapshot
from tests.support_ray import RayCluster, ray_cluster

pytestmark = [pytest.mark.bubblewrap, pytest.mark.timeout(180)]

#: Of the run's machine alone; no worker knows it.
SECRET = "tr0ub4dor-and-three"
KEY = AgentKey(RunId(f"contract-{os.getpid()}"), "implementer", Purpose.IMPLEMENT, "T1", 1)
REPORT: JSONObject = {
    "status": "done",
    "summary": "It works.",
    "commands": [],
    "question": None,
    "later": [],
    "risks": [],
}


class Ask:
    """A tool that the run answers."""

    name = "search_code"
    only_reads = True
    definition = function_definition("search_code", "Finds.", {"query": {"type": "string"}}, ["query"])

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def call(self, arguments: str, *, call_id: str) -> ToolOutput:
        self.asked.append(arguments)
        return ToolOutput(f"found in a.txt; {SECRET}")


@dataclass
class Bench:
    """A host, a model on loopback, and a desk for each try of one agent."""

    host: Host
    base: BaseSource
    folder: Path
    api: ScriptedApi
    die: Callable[[str], Awaitable[None]]
    """Kills a machine of the host, by its name in the sandbox's facts."""
    store: MemoryStore = field(default_factory=MemoryStore)
    reservations: Reservations = field(default_factory=lambda: Reservations(Ledger(BudgetLimits()), {}))
    mailbox: Mailbox = field(default_factory=Mailbox)
    hold: AgentHold = field(default_factory=AgentHold)
    tool: Ask = field(default_factory=Ask)
    events: list[AgentEvent] = field(default_factory=list)
    facts: list[SandboxFacts] = field(default_factory=list)
    offered: frozenset[str] | None = None
    desk: RunDesk | None = None
    activities: Activities = field(default_factory=Activities)

    async def work(self, key: AgentKey = KEY) -> AgentOutcome:
        """Let the agent work, from its last stored turn if it has any."""
        point = await resume_point(self.store, key)
        folder = self.folder / "attempt"
        folder.mkdir(exist_ok=True)
        spec = AgentSpec(
            key,
            ModelSettings("loopback", "gpt-5.4", max_output_tokens=4_000),
            Prompt("Do one task.", (), "Do T1."),
            start=point.snapshot,
        )
        order = AgentOrder(
            spec,
            SandboxMode.WORKSPACE_WRITE,
            ("exec_command", "write_stdin", "search_code"),
            freeform=False,
            limits=ToolLimits(),
            hosted_tools=(),
            folder=folder,
        )

        async def wanted() -> SandboxSpec:
            limits = SandboxLimits(memory_bytes=1 << 30)
            return SandboxSpec(key, self.base, order.mode, NetworkPolicy(), limits, restore=point.snapshot)

        tools: Mapping[str, Tool] = {"search_code": self.tool}
        self.activities.begins(key, 0)
        desk = RunDesk(
            key,
            self.store,
            self.reservations,
            self.mailbox,
            self.hold,
            tools,
            wanted,
            lambda _prompt: None,
            self.events.append,
            self.activities,
        )
        self.desk = desk
        try:
            return await self.host.work(order, desk)
        finally:
            self.offered = desk.offered
            if desk.facts.done():
                self.facts.append(desk.facts.result())

    async def place(self) -> str:
        """Where the agent is that works now."""
        assert self.desk is not None
        return (await asyncio.shield(self.desk.facts)).host

    def asked(self) -> list[int]:
        """The turns that the model was asked for, in order."""
        return [request.call.turn for request in self.api.requests]

    async def files(self, outcome: AgentOutcome) -> dict[bytes, bytes]:
        """The agent's work, by name."""
        snapshot = outcome.effort.snapshot
        assert snapshot is not None
        found = await asyncio.to_thread(unpack_snapshot, self.folder / "repository", snapshot.pack, snapshot.tip)
        return {name: data for name, (_, data) in found.items()}

    def held(self) -> dict[str, int]:
        """What is still set aside for calls."""
        return {str(name): sum(account.held.values()) for name, account in self.reservations.ledger.accounts.items()}


Make = Callable[[Path, ScriptedApi, AsyncExitStack], Awaitable[tuple[Host, Callable[[str], Awaitable[None]]]]]


def _providers(api: ScriptedApi) -> dict[str, ProviderSettings]:
    return {"loopback": ProviderSettings("loopback", "Loopback", api.base_url, stream_max_retries=1)}


def _model(api: ScriptedApi, stack: AsyncExitStack, gates: WorkerGates | None = None) -> ResponsesModel:
    model = ResponsesModel(_providers(api), {}, SystemClock(), lambda: 0.5, ModelOptions(), gates=gates)
    stack.push_async_callback(model.close)
    return model


async def _never(_name: str) -> None:
    pytest.skip("a machine that dies takes the test with it")


async def _engine(
    folder: Path, api: ScriptedApi, stack: AsyncExitStack
) -> tuple[Host, Callable[[str], Awaitable[None]]]:
    engine = BubblewrapEngine(folder / "engine")
    stack.push_async_callback(engine.close)
    return EngineHost(engine, _model(api, stack), SystemClock(), Redactor([SECRET])), _never


def _worker_host(folder: Path, workers: FakeWorkers, api: ScriptedApi, stack: AsyncExitStack, around: object) -> Host:
    engine = BubblewrapEngine(folder / "engine")
    stack.push_async_callback(engine.close)
    repo = FakeRepo(folder, {"a.txt": b"a\n"})
    redactor = Redactor([SECRET])
    host = WorkerHost(
        workers,
        _model(api, stack),
        repo,
        engine,
        redactor,
        SystemClock(),
        __version__,
        str(folder),
        around,
        folder / "copies",
    )
    stack.push_async_callback(host.close)
    return host


async def _fake_workers(
    folder: Path, api: ScriptedApi, stack: AsyncExitStack
) -> tuple[Host, Callable[[str], Awaitable[None]]]:
    async def tools(sent: WorkerOrder, desk: WorkerDesk, stack: AsyncExitStack) -> WorkerTools:
        engine = BubblewrapEngine(folder / "worker-engine")
        stack.push_async_callback(engine.close)
        return WorkerTools(engine, _model(api, stack, WorkerGates(desk)), Redactor())

    async def serve(order: bytes, link: RunLink, host: str) -> None:
        workers.folder.mkdir(exist_ok=True)
        attempt = folder / f"on-{host}-{len(workers.begun)}"  # one agent works at a time
        attempt.mkdir()
        await serve_order(pickle.loads(order), link, WorkerPlace(host, __version__, attempt, SystemClock(), tools))

    workers = FakeWorkers(folder / "workers", serve)

    async def die(name: str) -> None:
        workers.die(name)

    return _worker_host(folder, workers, api, stack, None), die


async def _ray(
    cluster: RayCluster, folder: Path, api: ScriptedApi, stack: AsyncExitStack
) -> tuple[Host, Callable[[str], Awaitable[None]]]:
    from codexteam.adapters.ray_cluster.cluster import RayWorkers

    workers = await RayWorkers.connect(cluster.address, cluster.environment, entry=ENTRY, version=__version__)
    stack.push_async_callback(workers.close)
    sandbox = SandboxSettings(kind="bubblewrap", build_environment=False)
    around = WorkerSurroundings(
        "bubblewrap", sandbox, _providers(api), send_metadata=True, proxy_loopback=False, trusted=False
    )

    async def die(name: str) -> None:
        numbers = {
            node["NodeID"][:8]: int(key[4:])
            for node in await asyncio.to_thread(workers._ray.nodes)
            for key in node["Resources"]
            if key.startswith("node") and key[4:].isdigit()
        }
        await asyncio.to_thread(cluster.die, numbers[name.rpartition("-")[2]])

    return _worker_host(folder, workers, api, stack, around), die  # type: ignore[arg-type]


HOSTS = [
    pytest.param(_engine, id="engine"),
    pytest.param(_fake_workers, id="fake-workers"),
    pytest.param(_ray, id="ray", marks=pytest.mark.ray),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """One for all tests."""
    with ray_cluster(2, slots=2) as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            if name.startswith("RAY_"):
                patch.setenv(name, value)
        yield cluster


@pytest.fixture(params=HOSTS)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    make: Make = request.param
    if request.param is _ray:
        cluster: RayCluster = request.getfixturevalue("cluster")
        for number in {1, 2} - cluster.nodes.keys():
            cluster.start(number, slots=2)
        make = partial(_ray, cluster)
    make_repository(tmp_path / "repository", {"a.txt": b"a\n"})
    base = base_source(tmp_path / "repository", tmp_path / "base")
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ScriptedApi(lambda _call: [message(REPORT)]))
        host, die = await make(tmp_path, api, stack)
        yield Bench(host, base, tmp_path, api, die)


def _run(line: str) -> JSONObject:
    return function_call("exec_command", {"cmd": line})


async def test_an_agents_work_and_each_of_its_turns_come_back(bench: Bench) -> None:
    lines = {1: "echo one >> made.txt", 2: "echo two >> made.txt"}
    bench.api.script = lambda call: [_run(lines[call.turn]) if call.turn in lines else message(REPORT)]
    outcome = await bench.work()
    assert isinstance(outcome, Submitted), outcome
    assert outcome.answer["summary"] == "It works."
    turns = await bench.store.turns(KEY)
    assert [turn.turn for turn in turns] == [1, 2]
    snapshot = outcome.effort.snapshot
    assert snapshot is not None
    assert snapshot == turns[-1].workspace.snapshot
    assert snapshot.pack.parent == bench.folder / "attempt", "it is where the run keeps it"
    packs = [path.name for path in snapshot.pack.parent.iterdir() if path.suffix == ".pack"]
    assert packs == [snapshot.pack.name], "older states are gone"
    assert (await bench.files(outcome))[b"made.txt"] == b"one\ntwo\n"
    answered = [event for event in bench.events if isinstance(event, TurnAnswered)]
    assert answered == [TurnAnswered(1), TurnAnswered(2), TurnAnswered(3)]
    assert bench.offered == frozenset({"exec_command", "write_stdin", "search_code"})
    assert [facts.engine for facts in bench.facts] == ["bubblewrap"]
    assert outcome.effort.turns == 3
    assert bench.reservations.ledger.took(KEY)["tokens"] == outcome.effort.usage.total_tokens
    assert set(bench.held().values()) <= {0}


async def test_a_call_that_does_not_fit_the_budget_is_not_made(bench: Bench) -> None:
    bench.reservations.limit_run(BudgetLimits(run_tokens=10))
    outcome = await bench.work()
    assert isinstance(outcome, OutOfBudget), outcome
    assert bench.api.requests == []


async def test_tools_of_the_run_answer_and_its_secrets_stay_there(bench: Bench) -> None:
    query = function_call("search_code", {"query": "a"})
    bench.api.script = lambda call: [query if call.turn == 1 else message(REPORT)]
    outcome = await bench.work()
    assert isinstance(outcome, Submitted), outcome
    assert len(bench.tool.asked) == 1
    [turn] = await bench.store.turns(KEY)
    assert "found in a.txt" in str(turn.outputs)
    assert REDACTED in str(turn.outputs)
    assert SECRET not in str(turn.outputs)


async def test_what_is_said_to_an_agent_is_read_before_its_next_turn(bench: Bench) -> None:
    def play(call: Call) -> Sequence[JSONObject]:
        if call.turn == 1:
            loop.call_soon_threadsafe(bench.mailbox.say, "Use tabs.")
            return [_run("sleep 1.5")]
        return [message(REPORT)]

    loop = asyncio.get_running_loop()
    bench.mailbox.say("Be quick.")
    bench.api.script = play
    outcome = await bench.work()
    assert isinstance(outcome, Submitted), outcome
    [turn] = await bench.store.turns(KEY)
    assert "Be quick." in str(turn.outputs)
    assert "Use tabs." in str(turn.outputs)
    assert bench.mailbox.waiting() == ()


async def test_no_turn_begins_while_a_person_holds_the_agent(bench: Bench) -> None:
    loop = asyncio.get_running_loop()

    def play(call: Call) -> Sequence[JSONObject]:
        if call.turn == 1:
            loop.call_soon_threadsafe(bench.hold.take, 1, "mark")
            loop.call_soon_threadsafe(loop.call_later, 3.0, bench.hold.let_go, 1)
            return [_run("sleep 1")]
        times.append(loop.time())
        return [message(REPORT)]

    times: list[float] = []
    bench.api.script = play
    began = loop.time()
    assert isinstance(await bench.work(), Submitted)
    assert times[0] - began >= 3.0


async def test_people_see_what_a_command_prints_while_it_runs(bench: Bench) -> None:
    line = function_call("exec_command", {"cmd": "echo first; sleep 4", "yield_time_ms": 250})
    poll = function_call("write_stdin", {"session_id": 1, "chars": "", "yield_time_ms": 3500}, call_id="call_2")
    bench.api.script = lambda call: [{1: line, 2: poll}.get(call.turn, message(REPORT))]
    line["arguments"] = str(line["arguments"]).replace("echo first; sleep 4", "sleep 0.6; echo first; sleep 3")
    work = asyncio.ensure_future(bench.work())
    seen = ""
    while not work.done() and "first" not in seen:
        await asyncio.sleep(0.1)
        seen = bench.activities.printed(str(KEY))
    assert isinstance(await work, Submitted)
    assert "first" in seen


async def test_an_agent_that_is_stopped_continues_from_its_last_turn(bench: Bench) -> None:
    second = asyncio.Event()

    async def play(call: Call) -> Played:
        if call.turn == 1:
            return Reply([_run("echo one >> made.txt")])
        if call.turn == 2:
            loop.call_soon_threadsafe(second.set)
            return Reply([_run("echo two >> made.txt; sleep 3")])
        return Reply([message(REPORT)])

    loop = asyncio.get_running_loop()
    bench.api.script = play
    work = asyncio.ensure_future(bench.work())
    await second.wait()
    await asyncio.sleep(0.7)  # the answer is stored, and its command runs
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [turn.turn for turn in await bench.store.turns(KEY)] == [1]
    assert set(bench.held().values()) <= {0}
    outcome = await bench.work()
    assert isinstance(outcome, Submitted), outcome
    assert bench.asked() == [1, 2, 3], "an answered call is not asked again"
    assert (await bench.files(outcome))[b"made.txt"] == b"one\ntwo\n", "the workspace is as it was after its last turn"


async def test_a_host_that_dies_costs_its_agent_at_most_a_turn(bench: Bench) -> None:
    reached = asyncio.Event()

    async def play(call: Call) -> Played:
        if call.turn == 2 and not reached.is_set():
            loop.call_soon_threadsafe(reached.set)
            await asyncio.sleep(30)
        return Reply([_run(f"echo {call.turn} >> made.txt") if call.turn < 4 else message(REPORT)])

    loop = asyncio.get_running_loop()
    bench.api.script = play
    work = asyncio.ensure_future(bench.work())
    await reached.wait()
    place = await bench.place()
    await bench.die(place)
    with pytest.raises(HostLost):
        await work
    assert set(bench.held().values()) <= {0}, "what nobody answered is counted, not set aside"
    assert [turn.turn for turn in await bench.store.turns(KEY)] == [1]
    outcome = await bench.work()
    assert isinstance(outcome, Submitted), outcome
    assert bench.asked() == [1, 2, 2, 3, 4]
    assert (await bench.files(outcome))[b"made.txt"] == b"1\n2\n3\n"
    left = [path.name for path in (bench.folder / "attempt").iterdir() if path.suffix == ".pack"]
    assert len(left) == 1, "older states are gone, those of the dead host too"
    assert bench.facts[0].host == place
    assert bench.facts[1].host != place


async def test_a_host_says_how_many_places_it_has(bench: Bench) -> None:
    assert bench.host.places in {None, 4}
