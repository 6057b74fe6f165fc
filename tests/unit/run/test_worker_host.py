"""The run's end of a worker, over fakes: what it believes, what it shares, and what it does when something goes wrong."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codexteam.adapters.machine.clock import SystemClock
from codexteam.agent.activities import Activities
from codexteam.agent.deps import AgentSpec
from codexteam.agent.hold import AgentHold
from codexteam.agent.mail import Mailbox
from codexteam.agent.outcome import AgentOutcome, Submitted
from codexteam.agent.prefix import Prompt
from codexteam.agent.reservations import Reservations
from codexteam.agent.tools.tool_context import ToolLimits
from codexteam.config.settings import ModelSettings, NetworkPolicy, SandboxLimits, SandboxMode
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import AgentKey, CallKey, CommitId, Purpose
from codexteam.core.redaction import Redactor
from codexteam.errors import HostLost, InternalError, SandboxLost, SandboxUnavailable
from codexteam.ports.environments import Environment
from codexteam.ports.model import AnsweredCall, CallRecord, ModelAnswer, Passage, Quota
from codexteam.ports.sandbox import BaseSource, SandboxSpec
from codexteam.ports.store import OpenCall, StoredAnswer
from codexteam.ports.workers import RunLink
from codexteam.run.host import AgentOrder
from codexteam.run.run_desk import RunDesk
from codexteam.run.worker_desk import WorkerDesk
from codexteam.run.worker_files import safe_name
from codexteam.run.worker_gates import WorkerGates
from codexteam.run.worker_host import WorkerHost
from codexteam.run.worker_messages import (
    CallAnswered,
    CallOpened,
    Granted,
    Opened,
    ReservationAsked,
    RunReply,
    WorkerAsk,
    WorkerOrder,
)
from codexteam.run.worker_service import WorkerPlace, WorkerTools, serve_order
from tests.fakes.fake_repo import FakeRepo
from tests.fakes.fake_sandbox import FakeEngine, ended
from tests.fakes.fake_workers import FakeWorkers
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_model import Held, Play, ScriptedModel
from tests.unit.agent.agent_world import REPORT, RUN, run_line, said

VERSION = "1.2.3"


def key_of(task: str) -> AgentKey:
    return AgentKey(RUN, "implementer", Purpose.IMPLEMENT, task, 1)


class OneAtATime:
    """Gates that let one call through at a time, and count."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.told: list[object] = []
        self._lock = asyncio.Semaphore(1)

    @asynccontextmanager
    async def passage(self, provider_id: str, model: str, cache_key: str) -> AsyncIterator[Passage]:
        async with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            try:
                yield self
            finally:
                self.inside -= 1

    def let_in(self, requests: Quota | None, tokens: Quota | None) -> None:
        self.told.append(requests)

    def first_event(self) -> None:
        self.told.append("first")

    def slowed_down(self, retry_after_seconds: float | None) -> float:
        self.told.append(retry_after_seconds)
        return 0.0


@dataclass
class World:
    """A run and its workers."""

    folder: Path
    play: Callable[[AgentKey, int], Play] = lambda _key, _turn: [said(REPORT)]
    engine: FakeEngine = field(default_factory=FakeEngine)
    """The run's own."""
    gates: OneAtATime = field(default_factory=OneAtATime)
    store: MemoryStore = field(default_factory=MemoryStore)
    version: str = VERSION
    """The workers'."""
    serve: Callable[[WorkerOrder, RunLink, str], "asyncio.Future[None]"] | None = None
    engines: dict[str, FakeEngine] = field(default_factory=dict)
    """By node."""
    swept: list[tuple[str, tuple[AgentKey, ...]]] = field(default_factory=list)
    passes: bool = False
    """Whether calls pass the run's gates."""
    environment_key: str = ""
    mailbox: Mailbox = field(default_factory=Mailbox)

    def __post_init__(self) -> None:
        self.workers = FakeWorkers(self.folder / "workers", self._serve)
        self.workers.folder.mkdir()
        self.reservations = Reservations(Ledger(BudgetLimits()), {})
        repo = FakeRepo(self.folder, {"a.txt": b"a\n"})
        self.host = WorkerHost(
            self.workers,
            self.gates,
            repo,
            self.engine,
            Redactor(),
            SystemClock(),
            VERSION,
            "owner",
            None,
            self.folder / "copies",
        )

    async def _serve(self, order: bytes, link: RunLink, host: str) -> None:
        sent = pickle.loads(order)
        if self.serve is not None:
            await self.serve(sent, link, host)
            return
        attempt = self.folder / f"on-{host}-{sent.order.spec.key.task_id}"
        attempt.mkdir()
        await serve_order(sent, link, WorkerPlace(host, self.version, attempt, SystemClock(), self._tools_on(host)))

    def _tools_on(self, host: str) -> Callable[[WorkerOrder, WorkerDesk, AsyncExitStack], Awaitable[WorkerTools]]:
        world = self

        class Engine(FakeEngine):
            async def sweep(self, run_id: str | None, *, keep: object = ()) -> list[str]:
                world.swept.append((host, tuple(keep)))  # type: ignore[arg-type]
                return []

        async def tools(sent: WorkerOrder, desk: WorkerDesk, stack: AsyncExitStack) -> WorkerTools:
            engine = self.engines.setdefault(host, Engine(otherwise=ended(0, "done\n")))
            gates = WorkerGates(desk)
            key = sent.order.spec.key

            def play(request: object) -> Play:
                return self.play(key, request.key.turn)  # type: ignore[attr-defined]

            model = ScriptedModel(play)
            return WorkerTools(engine, _Gated(model, gates) if self.passes else model, Redactor())  # type: ignore[arg-type]

        return tools

    async def work(self, task: str = "T1") -> AgentOutcome:
        key = key_of(task)
        folder = self.folder / f"attempt-{task}"
        folder.mkdir(exist_ok=True)
        spec = AgentSpec(key, ModelSettings("fake", "gpt-5.4", max_output_tokens=4_000), Prompt("Do.", (), "Do T1."))
        order = AgentOrder(spec, SandboxMode.WORKSPACE_WRITE, ("exec_command",), False, ToolLimits(), (), folder)

        async def wanted() -> SandboxSpec:
            root = self.folder / "root.tar"
            root.write_bytes(b"tar")
            base = BaseSource(CommitId("0" * 40), root, CommitId("0" * 40))
            return SandboxSpec(
                key, base, order.mode, NetworkPolicy(), SandboxLimits(), environment_key=self.environment_key
            )

        desk = RunDesk(
            key,
            self.store,
            self.reservations,
            self.mailbox,
            AgentHold(),
            {},
            wanted,
            lambda _: None,
            lambda _: None,
            Activities(),
        )
        return await self.host.work(order, desk)


class _Gated:
    """A model whose calls pass gates."""

    def __init__(self, model: ScriptedModel, gates: WorkerGates) -> None:
        self.model = model
        self.gates = gates

    async def stream(self, request: object) -> AsyncIterator[object]:
        async with self.gates.passage("fake", "gpt-5.4", "") as passage:
            passage.let_in(Quota(3, 1.0), None)
            for _ in range(20):
                await asyncio.sleep(0)
            async for event in self.model.stream(request):  # type: ignore[arg-type]
                yield event

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_worker_of_another_version_is_refused(world: World) -> None:
    world.version = "1.2.2"
    with pytest.raises(
        SandboxUnavailable, match=r"node1 has codexteam 1\.2\.2, and the run is one of 1\.2\.3"
    ) as raised:
        await world.work()
    assert "same version" in raised.value.hint


async def test_a_fault_on_a_worker_is_told_with_its_place(world: World) -> None:
    def play(_key: AgentKey, _turn: int) -> Play:
        raise ZeroDivisionError("by nothing")

    world.play = play
    with pytest.raises(InternalError, match="on node1: ZeroDivisionError: by nothing"):
        await world.work()


async def test_a_sandbox_that_a_worker_loses_is_no_lost_host(world: World) -> None:
    def lose(sandbox: object, _command: object) -> object:
        sandbox.lose()  # type: ignore[attr-defined]
        raise HostLost("its engine is gone")

    world.engines["node1"] = FakeEngine(otherwise=lose)  # type: ignore[arg-type]
    world.play = lambda _key, turn: [run_line("ls")] if turn == 1 else [said(REPORT)]
    with pytest.raises(SandboxLost, match="its engine is gone") as raised:
        await world.work()
    assert not isinstance(raised.value, HostLost)


async def test_an_environment_is_copied_once_and_kept_by_each_node(world: World) -> None:
    world.engine.environments.put(Environment("k1", "the test", 0, 1.0), {"modules/it.js": b"it\n"})
    world.environment_key = "k1"
    world.play = lambda _key, turn: [run_line("ls")] if turn == 1 else [said(REPORT)]
    outcomes = await asyncio.gather(*(world.work(f"T{n}") for n in (1, 2, 3, 4)))
    assert all(isinstance(outcome, Submitted) for outcome in outcomes)
    for node in ("node1", "node2"):
        kept = world.engines[node].environments
        assert kept.layers["k1"] == {"modules/it.js": b"it\n"}
        assert [sandbox.files["modules/it.js"] for sandbox in world.engines[node].started] == [b"it\n"] * 2
    copies = [handle for handle in world.workers.shared if handle.startswith("k1.environment")]
    assert len(copies) == 1, "all fetch the same copy"
    assert [*(world.folder / "copies").iterdir()] == [], "which is not left on the run's disk"


async def test_an_environment_that_the_run_has_not_is_an_error(world: World) -> None:
    world.environment_key = "k1"
    world.play = lambda _key, turn: [run_line("ls")] if turn == 1 else [said(REPORT)]
    with pytest.raises(SandboxUnavailable, match="no environment k1 to copy"):
        await world.work()


async def test_a_node_is_swept_once_and_again_after_it_was_lost(world: World) -> None:
    asked = asyncio.Event()
    first = True

    def play(key: AgentKey, turn: int) -> Play:
        nonlocal first
        if first and key.task_id == "T9":
            first = False
            return Held([said(REPORT)], asyncio.Event(), asked)
        return [said(REPORT)]

    world.play = play
    await asyncio.gather(world.work("T1"), world.work("T2"))
    await asyncio.gather(world.work("T3"), world.work("T4"))
    assert sorted(node for node, _ in world.swept) == ["node1", "node2"]
    assert all(key_of("T1") in kept and key_of("T2") in kept for _, kept in world.swept), "those at work are kept"
    lost = asyncio.ensure_future(world.work("T9"))
    await asked.wait()
    node = world.workers.begun[-1].host
    world.workers.die(node)
    with pytest.raises(HostLost):
        await lost
    world.workers.nodes[node] = 0  # it is back
    await asyncio.gather(world.work("T5"), world.work("T6"))
    assert [name for name, _ in world.swept].count(node) == 2


async def test_a_worker_that_speaks_for_another_agent_is_refused(world: World) -> None:
    replies: list[RunReply] = []

    async def lie(sent: WorkerOrder, link: RunLink, host: str) -> None:
        link.send(Opened(host, VERSION))
        await link.receive()
        call = OpenCall(CallKey(key_of("T2"), 1, Purpose.IMPLEMENT), "", 1_000_000, None, None)
        link.send(WorkerAsk(1, CallOpened(call)))
        reply = await link.receive()
        assert isinstance(reply, RunReply)
        replies.append(reply)

    world.serve = lie  # type: ignore[assignment]
    with pytest.raises(HostLost):
        await world.work("T1")
    assert "speaks for implementer T2.1" in str(replies[0].error)
    assert await world.store.open_calls(RUN) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../../.ssh/authorized_keys", "/etc/passwd", "a/b", "a\0b"])
def test_a_file_of_a_worker_stays_in_the_agents_folder(name: str) -> None:
    with pytest.raises(SandboxUnavailable):
        safe_name(name)


def test_a_name_that_is_one_is_taken() -> None:
    assert safe_name("turn-1.pack") == "turn-1.pack"


async def test_calls_of_all_workers_pass_one_gate(world: World) -> None:
    world.passes = True
    outcomes = await asyncio.gather(*(world.work(f"T{n}") for n in (1, 2, 3, 4)))
    assert all(isinstance(outcome, Submitted) for outcome in outcomes)
    assert world.gates.most == 1
    assert world.gates.inside == 0
    assert world.gates.told == [Quota(3, 1.0)] * 4


async def test_a_lost_worker_leaves_its_gate(world: World) -> None:
    asked = asyncio.Event()
    world.passes = True
    world.play = lambda key, _turn: (
        Held([said(REPORT)], asyncio.Event(), asked) if key.task_id == "T1" else [said(REPORT)]
    )
    lost = asyncio.ensure_future(world.work("T1"))
    await asked.wait()
    waiting = asyncio.ensure_future(world.work("T2"))
    for _ in range(50):
        await asyncio.sleep(0)
    world.workers.die(world.workers.begun[0].host)
    with pytest.raises(HostLost):
        await lost
    assert isinstance(await waiting, Submitted)
    assert world.gates.inside == 0


async def test_mail_that_is_in_a_stored_turn_is_told_to_no_next_worker(world: World) -> None:
    second = asyncio.Event()
    world.mailbox.say("Be quick.")
    world.mailbox.say("Be quick.")
    world.mailbox.pass_on("T2 says: use tabs.")
    world.play = lambda _key, turn: (
        [run_line("ls")] if turn == 1 else Held([said(REPORT)], asyncio.Event(), second) if not gone else [said(REPORT)]
    )
    gone: list[str] = []
    lost = asyncio.ensure_future(world.work())
    await second.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert (world.mailbox.waiting(), world.mailbox.notes()) == ((), ())
    world.mailbox.say("Be quick.")
    gone.append(world.workers.begun[0].host)
    world.workers.die(gone[0])
    with pytest.raises(HostLost):
        await lost
    assert world.mailbox.waiting() == ("Be quick.",), "this one nobody has read"
    assert isinstance(await world.work(), Submitted)
    texts = [str(turn.outputs) for turn in await world.store.turns(key_of("T1"))]
    assert [text.count("Be quick.") for text in texts] == [2, 1]
    assert [text.count("use tabs") for text in texts] == [1, 0]


async def test_an_answer_that_is_stored_counts_as_it_was_billed(world: World) -> None:
    async def answer_and_die(sent: WorkerOrder, link: RunLink, host: str) -> None:
        link.send(Opened(host, VERSION))
        await link.receive()
        key = CallKey(key_of("T1"), 1, Purpose.IMPLEMENT)
        link.send(WorkerAsk(1, ReservationAsked(key, "gpt-5.4", 1_000, 4_000, hand_over=False)))
        reply = await link.receive()
        assert isinstance(reply, RunReply)
        assert isinstance(reply.value, Granted)
        link.send(WorkerAsk(2, CallOpened(OpenCall(key, "", 5_000, None, None))))
        await link.receive()
        usage = Usage(input_tokens=100, cached_input_tokens=0, output_tokens=20, reasoning_tokens=0)
        made = AnsweredCall(ModelAnswer((said(REPORT),), usage), CallRecord("gpt-5.4"))
        link.send(WorkerAsk(3, CallAnswered(StoredAnswer(key, "", made, usage), ())))
        await link.receive()

    world.serve = answer_and_die  # type: ignore[assignment]
    with pytest.raises(HostLost):
        await world.work()
    assert world.reservations.ledger.took(key_of("T1"))["tokens"] == 120
    assert await world.store.open_calls(RUN) == []


async def test_what_a_lost_worker_was_asking_counts_as_spent(world: World) -> None:
    asked = asyncio.Event()
    world.play = lambda _key, _turn: Held([said(REPORT)], asyncio.Event(), asked)
    lost = asyncio.ensure_future(world.work())
    await asked.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    world.workers.die(world.workers.begun[0].host)
    with pytest.raises(HostLost):
        await lost
    took = world.reservations.ledger.took(key_of("T1"))["tokens"]
    [open_call] = await world.store.open_calls(RUN)
    assert took == open_call.reserved_tokens > 0
