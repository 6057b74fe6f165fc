"""What failed tries of a call may cost: counted while the run continues, and just the same after a resume."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from codexteam.adapters.responses.model import ResponsesModel
from codexteam.agent.event_fields import (
    CallRetried,
    CallSent,
    TryUnanswered,
    TurnStarted,
    fields_of,
    unanswered_fields,
)
from codexteam.agent.outcome import AgentOutcome, ModelGaveUp, OutOfBudget, Submitted
from codexteam.agent.reservations import Reservations, restored_ledger
from codexteam.app.project import killed_calls
from codexteam.config.settings import ModelSettings
from codexteam.core.budget import BudgetLimits, Ledger
from codexteam.core.budget_amounts import Price, Unit, Usage
from codexteam.core.ids import JSONObject
from codexteam.errors import ModelAccessError
from codexteam.ports.model import ModelAnswer, ModelEvent, ModelRequest, Sending
from codexteam.ports.reporter import RunEvent
from codexteam.ports.store import RunRecord, StoredAnswer
from codexteam.report.progress import Progress
from tests.fakes.fake_sandbox import FakeEngine, ended
from tests.fakes.fast_clock import FastClock
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_calls import KEY, model_request, provider, restarted
from tests.fakes.scripted_model import USAGE
from tests.scripted_api import (
    Call,
    Drop,
    HttpError,
    Played,
    Reply,
    Reset,
    Script,
    ScriptedApi,
    Stall,
    in_order,
    message,
)
from tests.scripted_api.wire import event
from tests.support_cancelling import stop_at_each_step
from tests.support_ledger import held_tokens, spent
from tests.unit.agent.agent_world import REPORT, RUN, AgentWorld, agent_key, run_line, said

PRICE = Price(input_usd=1.0, output_usd=10.0)
#: What every try that says its usage is billed for input, less than any request here can have.
INPUT_TOKENS = 900
#: An answer may have 4,000 tokens: 0.04 USD, and some tenths of a cent for the request.
ONE_CALL_USD = 0.045

THOUGHT = event("response.reasoning_summary_text.delta", {"delta": "thinking hard"})
DROPPED = Reply(extra_events=[THOUGHT], fault=Drop())
TEXT_CAME = Drop()
OUTAGE = HttpError(503)
ANSWER = [message(REPORT)]


class Bills:
    """An agent over a scripted server that bills each answer for all the output that the request allows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = ScriptedApi(in_order())
        self.billed = Usage()
        """What the server has said so far that it bills."""
        self.limits = BudgetLimits()
        self.world: AgentWorld

    def play(self, script: Script, limits: BudgetLimits | None = None, **changes: object) -> AgentWorld:
        """The world of an agent, with changed provider settings."""
        self.api.script = script
        self.limits = limits or self.limits
        # nothing here takes long; a busy machine must not look like a service that is silent
        settings = {"base_url": self.api.base_url, "stream_idle_timeout_seconds": 1e6, **changes}
        local = provider(**settings)  # type: ignore[arg-type]  # see provider
        self.world = AgentWorld(
            self.folder,
            ResponsesModel({"local": local}, {"LOCAL_KEY": KEY}, FastClock(), lambda: 0.5),
            settings=ModelSettings("local", "test-model", max_output_tokens=4_000),
            limits=self.limits,
            prices={"test-model": PRICE},
        )
        return self.world

    def full_bill(self, call: Call) -> JSONObject:
        """A usage with all the output that the request allows."""
        output_tokens = int(str(call.body["max_output_tokens"]))
        self.billed += Usage(INPUT_TOKENS, 0, output_tokens)
        return {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens}

    def failed(self, call: Call) -> Reply:
        """It thinks, fails, and says what it bills."""
        return Reply(extra_events=[THOUGHT], end="failed", reason="server_error", told_usage=self.full_bill(call))

    def answered(self, call: Call) -> Reply:
        """The final answer."""
        return Reply(ANSWER, told_usage=self.full_bill(call))

    def told(self) -> tuple[int, float]:
        """What the server has said that it bills: tokens and USD."""
        return self.billed.total_tokens, round(PRICE.usd(self.billed) or 0.0, 8)

    def spent(self) -> tuple[int, float]:
        """What the ledger counts: tokens and USD."""
        return _spent(self.world.gate.ledger)

    async def resume(self) -> tuple[int, float]:
        """Count again from the store alone, as a resumed run does; give what that comes to.

        What users are shown comes to the same: as it was told, and as a session after a crash tells it.
        """
        assert _shown(await _told(self.world)) == self.spent()
        assert _shown(await _told_after_a_kill(self.world)) == self.spent()
        ledger = await restored_ledger(self.world.store, RUN, self.limits, self.world.prices)
        self.world.gate = Reservations(ledger, self.world.prices)
        return _spent(ledger)


async def _told(world: AgentWorld) -> list[RunEvent]:
    """Give what the run told of its only agent: turns with their answers, tries that failed as it heard of them."""
    agent = fields_of(agent_key(), "test-model")
    failed = [event for event in world.events if isinstance(event, TryUnanswered)]
    tries = [
        RunEvent("agent.unanswered", 1.0, unanswered_fields(agent, event.turn, event.call, event.counted))
        for event in failed
    ]
    return [*await world.store.facts(RUN), *tries]


async def _told_after_a_kill(world: AgentWorld) -> list[RunEvent]:
    """Give it as a session tells it whose predecessor was killed before it told of calls that are still open."""
    answered = {(str(one.key.agent), one.key.turn, one.key.purpose) for one in await world.store.answers(RUN)}
    record = RunRecord(RUN, "goal", "base", "running", 1.0, {})
    kept = [
        told
        for told in await _told(world)
        if told.kind != "agent.unanswered"
        or (told.fields["agent"], told.fields["turn"], told.fields["call"]) in answered
    ]
    return [*kept, *await killed_calls(world.store, record, at_seconds=1.0)]


def _shown(events: Sequence[RunEvent]) -> tuple[int, float]:
    """Give the most that users see as spent: what is known, and what calls of unknown usage count for."""
    progress = Progress()
    for told in events:
        progress.take(told)
    assert progress.usd is not None
    assert progress.unknown.usd is not None
    return progress.usage.total_tokens + progress.unknown.tokens, round(progress.usd + progress.unknown.usd, 8)


def _spent(ledger: Ledger) -> tuple[int, float]:
    assert held_tokens(ledger) == 0
    return int(spent(ledger)), round(spent(ledger, Unit.USD), 8)


@pytest.fixture
async def bills(tmp_path: Path) -> AsyncIterator[Bills]:
    bills = Bills(tmp_path)
    async with bills.api:
        yield bills
        await bills.world.model.close()


@pytest.mark.parametrize(
    ("run_usd", "most_requests"),
    [
        pytest.param(ONE_CALL_USD, 1, id="one call"),
        pytest.param(0.06, 2, id="one call and a short one to hand over"),
        pytest.param(0.1, 3, id="two calls and a short one"),
    ],
)
async def test_tries_that_only_thought_and_failed_never_pass_the_budget(
    bills: Bills, run_usd: float, most_requests: int
) -> None:
    world = bills.play(bills.failed, BudgetLimits(run_usd=run_usd, wind_down_share=0))
    assert isinstance(await world.work(), OutOfBudget)
    assert 1 <= len(bills.api.requests) <= most_requests
    spent = bills.spent()
    assert spent == bills.told()
    assert spent[1] <= run_usd
    assert await bills.resume() == spent


async def test_what_failed_tries_were_billed_is_part_of_what_the_answer_took(bills: Bills) -> None:
    def play(call: Call) -> Played:
        return bills.failed(call) if call.tries <= 3 else bills.answered(call)

    world = bills.play(play, BudgetLimits(run_usd=0.25))
    outcome = await world.work()
    assert isinstance(outcome, Submitted)
    assert outcome.effort.usage == bills.billed
    (stored,) = await world.store.answers(RUN)
    assert stored.usage == bills.billed
    assert bills.spent() == bills.told()
    assert bills.spent()[1] <= 0.25
    assert await bills.resume() == bills.spent()


async def test_a_bill_is_kept_when_the_answer_does_not_say_its_own(bills: Bills) -> None:
    def play(call: Call) -> Played:
        return bills.failed(call) if call.tries == 1 else Reply(ANSWER, usage=False)

    assert isinstance(await bills.play(play).work(), Submitted)
    assert bills.spent()[0] > bills.billed.total_tokens + 4_000
    assert await bills.resume() == bills.spent()


async def test_a_bill_is_kept_when_the_hand_over_answers(bills: Bills) -> None:
    def play(call: Call) -> Played:
        return bills.failed(call) if call.tries == 1 else bills.answered(call)

    outcome = await bills.play(play, BudgetLimits(run_usd=0.06, wind_down_share=0)).work()
    assert isinstance(outcome, OutOfBudget)
    assert outcome.handed_over is not None
    assert bills.spent() == bills.told()
    assert await bills.resume() == bills.spent()


async def test_a_bill_is_kept_when_the_context_turns_out_to_be_too_long(bills: Bills) -> None:
    def play(call: Call) -> Played:
        return bills.failed(call) if call.tries == 1 else HttpError(400, "context_length_exceeded")

    assert isinstance(await bills.play(play).work(), ModelGaveUp)
    assert bills.spent()[0] == bills.billed.total_tokens
    assert await bills.resume() == bills.spent()


@pytest.mark.parametrize(
    "fault", [DROPPED, TEXT_CAME, Reset(), Reply(extra_events=[THOUGHT], end="failed", usage=False)]
)
async def test_a_try_whose_usage_nobody_knows_counts_as_all_that_was_reserved(bills: Bills, fault: Played) -> None:
    world = bills.play(lambda _: fault, request_max_retries=0, stream_max_retries=2)
    assert isinstance(await world.work(), ModelGaveUp)
    assert len(bills.api.requests) == 3
    assert spent(world.gate.ledger) > 3 * 4_000
    assert await bills.resume() == bills.spent()


async def test_streams_that_drop_never_pass_the_budget(bills: Bills) -> None:
    world = bills.play(lambda _: DROPPED, BudgetLimits(run_usd=ONE_CALL_USD, wind_down_share=0))
    assert isinstance(await world.work(), OutOfBudget)
    assert len(bills.api.requests) == 1
    assert 0.04 < bills.spent()[1] <= ONE_CALL_USD
    assert await bills.resume() == bills.spent()


async def test_requests_that_are_turned_away_cost_nothing(bills: Bills) -> None:
    world = bills.play(lambda _: OUTAGE, BudgetLimits(run_usd=ONE_CALL_USD), stream_max_retries=0)
    assert isinstance(await world.work(), ModelGaveUp)
    assert len(bills.api.requests) > 1
    assert bills.spent() == (0, 0)
    assert await world.store.open_calls(RUN) == []


@pytest.mark.parametrize("broken", [TEXT_CAME, DROPPED])
@pytest.mark.parametrize("run_usd", [None, 0.2])
async def test_a_broken_try_is_not_forgotten_over_an_outage(
    bills: Bills, broken: Played, run_usd: float | None
) -> None:
    def play(call: Call) -> Played:
        return broken if call.number == 1 else OUTAGE

    limits = BudgetLimits(run_usd=run_usd)
    world = bills.play(play, limits, request_max_retries=1, stream_max_retries=1)
    assert isinstance(await world.work(), ModelGaveUp)
    one_try = bills.spent()
    assert one_try[0] > 4_000
    assert await bills.resume() == one_try
    # still down: being turned away takes nothing back
    assert isinstance(await world.work(), ModelGaveUp)
    assert bills.spent() == one_try
    assert await bills.resume() == one_try
    bills.api.script = bills.answered
    assert isinstance(await world.work(), Submitted)
    assert bills.spent()[0] == one_try[0] + bills.billed.total_tokens
    assert await bills.resume() == bills.spent()


async def test_what_a_broken_try_was_billed_is_not_forgotten_over_an_outage(bills: Bills) -> None:
    def play(call: Call) -> Played:
        return bills.failed(call) if call.number == 1 else OUTAGE

    world = bills.play(play, request_max_retries=1, stream_max_retries=1)
    assert isinstance(await world.work(), ModelGaveUp)
    assert bills.spent() == bills.told()
    assert await bills.resume() == bills.spent()


async def test_a_broken_try_is_not_forgotten_when_access_is_denied(bills: Bills) -> None:
    denied = HttpError(401, "invalid_api_key", "no")
    world = bills.play(in_order(DROPPED, denied, denied))
    with pytest.raises(ModelAccessError):
        await world.work()
    one_try = bills.spent()
    assert one_try[0] > 4_000
    assert await bills.resume() == one_try
    with pytest.raises(ModelAccessError):
        await world.work()
    assert bills.spent() == one_try
    assert await bills.resume() == one_try


async def test_a_denial_in_a_stream_that_had_opened_may_be_billed(bills: Bills) -> None:
    no_quota = Reply(extra_events=[THOUGHT], end="failed", reason="insufficient_quota", usage=False)
    world = bills.play(in_order(no_quota))
    with pytest.raises(ModelAccessError):
        await world.work()
    assert bills.spent()[0] > 4_000
    assert await bills.resume() == bills.spent()


async def test_tries_that_were_cut_off_add_up_over_resumes(bills: Bills) -> None:
    # a killed process leaves in the store what a cancelled one does
    world = bills.play(in_order(DROPPED, Stall(), Stall(), ANSWER))
    for tries in (2, 3):
        bills.api.stalled.clear()
        task = asyncio.create_task(world.work())
        await bills.api.stalled.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        spent = bills.spent()
        assert spent[0] > tries * 4_000
        assert await bills.resume() == spent
    assert isinstance(await world.work(), Submitted)
    assert bills.spent()[0] > 3 * 4_000
    assert await bills.resume() == bills.spent()


async def _cut_off(bills: Bills, task: "asyncio.Task[AgentOutcome]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # a killed process leaves in the store what a cancelled one does
    assert await bills.world.store.open_calls(RUN) == []
    assert bills.spent() == await bills.resume() == (0, 0)


#: Two seconds on the clock of these tests.
WAIT = {"Retry-After": "200"}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_call_stopped_once_turned_away_costs_nothing(bills: Bills, status: int) -> None:
    world = bills.play(lambda _: HttpError(status, headers=WAIT))
    task = asyncio.create_task(world.work())
    while not any(isinstance(each, CallRetried) for each in world.events):
        await asyncio.sleep(0.001)
    await _cut_off(bills, task)


async def test_a_call_stopped_behind_anothers_back_off_costs_nothing(bills: Bills) -> None:
    world = bills.play(lambda _: HttpError(429, headers=WAIT))
    async with aclosing(world.model.stream(model_request(settings=world.settings))) as other:  # type: ignore[type-var]
        await restarted(other)
        task = asyncio.create_task(world.work())
        while not any(isinstance(each, TurnStarted) for each in world.events):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.1)
        assert len(bills.api.requests) == 1
        await _cut_off(bills, task)


async def test_a_call_stopped_before_its_connection_is_taken_costs_nothing(bills: Bills) -> None:
    with socket.socket() as server, ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):  # its queue is full
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        world = bills.play(bills.answered, base_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        task = asyncio.create_task(world.work())
        while not any(isinstance(each, TurnStarted) for each in world.events):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)
        assert not any(isinstance(each, CallSent) for each in world.events)
        await _cut_off(bills, task)


async def test_a_call_that_was_sent_and_is_stopped_counts_in_full(bills: Bills) -> None:
    world = bills.play(lambda _: Stall())
    task = asyncio.create_task(world.work())
    await bills.api.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bills.spent()[0] > 4_000
    assert await bills.resume() == bills.spent()


class LateStore(MemoryStore):
    """Writes an answer a few steps later, also when who asked for it is stopped meanwhile, as the real one does."""

    async def record_answer(self, answer: StoredAnswer, facts: Sequence[RunEvent] = ()) -> None:
        await asyncio.shield(asyncio.ensure_future(self._later(super().record_answer(answer, facts))))

    async def _later(self, write: Coroutine[object, object, None]) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await write


class PlainModel:
    """Answers twice, each time with a usage."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        yield Sending()
        await asyncio.sleep(0)
        yield ModelAnswer((run_line("ls") if request.key.turn == 1 else said(REPORT),), USAGE)

    async def close(self) -> None: ...


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_an_answer_stored_while_its_agent_stops_is_counted_once(tmp_path: Path, twice: bool) -> None:
    made: list[AgentWorld] = []

    async def work() -> AgentOutcome:
        made.append(
            AgentWorld(
                tmp_path,
                PlainModel(),
                FakeEngine(otherwise=ended()),
                store=LateStore(),
                settings=ModelSettings("local", "test-model", max_output_tokens=4_000),
                prices={"test-model": PRICE},
            )
        )
        return await made[-1].work()

    async def all_say_the_same(where: str) -> None:
        for _ in range(10):  # what was asked for is written
            await asyncio.sleep(0)
        for world in made[-1:]:
            told = await _told_after_a_kill(world)
            again = await restored_ledger(world.store, RUN, BudgetLimits(), world.prices)
            assert _shown(told) == _spent(again) == _spent(world.gate.ledger), where

    assert isinstance(await stop_at_each_step(work, all_say_the_same, twice=twice), Submitted)
