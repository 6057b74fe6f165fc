"""With any budget and at any width: what one agent after the other finishes is finished by many at once."""

import asyncio
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from codexteam.agent.reservations import Reservations
from codexteam.core.budget import BudgetLimits, Exhausted, Ledger
from codexteam.core.budget_amounts import Price, Unit, Usage
from codexteam.core.budget_queue import EXPECTED_CALLS, Standing, work_rank
from codexteam.core.ids import AgentKey, CallKey, Purpose
from tests.examples import examples
from tests.support_ledger import held_tokens, spent
from tests.unit.agent.agent_world import RUN

PRICE = Price(input_usd=1.0, output_usd=10.0)


@dataclass(frozen=True)
class Call:
    """What is asked for, and how much of it is used; and the steps that others may take before it and during it."""

    input_tokens: int
    output_tokens: int
    share: float
    steps_before: int
    steps: int


@dataclass(frozen=True)
class Job:
    calls: tuple[Call, ...]
    effort: int = 1


@dataclass
class Outcome:
    finished: set[int]
    refused: set[int]
    gate: Reservations
    most_at_once: int = 0


async def work_through(jobs: list[Job], limits: BudgetLimits, width: int) -> Outcome:
    """Let agents work on the jobs in order, `width` at once; nothing starts behind one that was refused."""
    gate = Reservations(Ledger(limits), {"m": PRICE})
    outcome = Outcome(set(), set(), gate)
    free = asyncio.Semaphore(width)
    calling = 0

    async def work(number: int, job: Job) -> None:
        nonlocal calling
        agent = AgentKey(RUN, "implementer", Purpose.IMPLEMENT, f"T{number}", 1)
        try:
            with gate.at_work(agent, Standing(work_rank((0, number)), job.effort)):
                for turn, call in enumerate(job.calls, start=1):
                    for _ in range(call.steps_before):
                        await asyncio.sleep(0)
                    decision = await gate.reserve(
                        CallKey(agent, turn, Purpose.IMPLEMENT),
                        "m",
                        input_tokens=call.input_tokens,
                        output_tokens=call.output_tokens,
                    )
                    if isinstance(decision, Exhausted):
                        outcome.refused.add(number)
                        return
                    calling += 1
                    outcome.most_at_once = max(outcome.most_at_once, calling)
                    for _ in range(call.steps):
                        await asyncio.sleep(0)
                    calling -= 1
                    used = min(int(call.output_tokens * call.share), decision.output_tokens)
                    gate.settle(decision, Usage(int(call.input_tokens * call.share), 0, used, 0))
                gate.learn(agent, job.effort)
            outcome.finished.add(number)
        finally:
            free.release()

    started = []
    for number, job in enumerate(jobs):
        await free.acquire()
        if outcome.refused:
            free.release()
            break
        started.append(asyncio.create_task(work(number, job)))
        await asyncio.sleep(0)
    async with asyncio.timeout(60):  # nobody may wait for ever
        await asyncio.gather(*started)
    return outcome


calls = st.builds(
    Call, st.integers(500, 40_000), st.integers(1_024, 32_000), st.floats(0.01, 1), st.integers(0, 3), st.integers(1, 4)
)
jobs_of_any_size = st.lists(
    st.builds(Job, st.lists(calls, min_size=1, max_size=12).map(tuple), st.integers(1, 5)), min_size=1, max_size=12
)
limits_of_any_kind = st.builds(
    BudgetLimits,
    run_tokens=st.none() | st.integers(0, 2_000_000),
    run_usd=st.none() | st.floats(0, 5),
    role_tokens=st.just({}) | st.fixed_dictionaries({"implementer": st.integers(0, 2_000_000)}),
    task_tokens=st.none() | st.integers(0, 500_000),
    wind_down_share=st.sampled_from([0.0, 0.05, 0.3]),
)


@settings(max_examples=examples(150), deadline=None)
@given(jobs_of_any_size, limits_of_any_kind, st.integers(1, 20))
def test_whoever_waits_is_let_on_or_refused_and_no_limit_is_passed(
    jobs: list[Job], limits: BudgetLimits, width: int
) -> None:
    outcome = asyncio.run(work_through(jobs, limits, width))
    ledger = outcome.gate.ledger
    assert held_tokens(ledger) == 0
    assert limits.run_tokens is None or spent(ledger) <= limits.run_tokens
    assert limits.run_usd is None or spent(ledger, Unit.USD) <= limits.run_usd + 1e-9
    assert spent(ledger, kind="role", name="implementer") <= limits.role_tokens.get("implementer", 10**12)
    assert outcome.finished | outcome.refused or not jobs
    if not outcome.refused:
        assert outcome.finished == set(range(len(jobs)))


@st.composite
def jobs_of_one_kind(draw: st.DrawFn) -> list[Job]:
    """Draw work of which nothing takes more than twice as much as other work of its effort."""
    size = draw(st.integers(1_024, 32_000))
    call = Call(draw(st.integers(500, 40_000)), size, draw(st.floats(0.01, 0.9)), 1, 2)
    most = draw(st.integers(1, EXPECTED_CALLS // 2))
    found = []
    for _ in range(draw(st.integers(1, 20))):
        count = draw(st.integers(most, 2 * most))
        found.append(Job((call,) * count))
    return found


SIX = [Job((Call(5_000, 32_000, 0.05, 1, 3),) * 3) for _ in range(6)]


@settings(max_examples=examples(300), deadline=None)
@given(jobs_of_one_kind(), st.floats(0, 1.3), st.integers(2, 20), st.sampled_from(["tokens", "usd", "role"]))
@example(SIX, 0.5, 6, "tokens")
@example(SIX, 1.0, 6, "usd")
def test_what_one_agent_after_the_other_finishes_is_finished_at_any_width(
    jobs: list[Job], share: float, width: int, unit: str
) -> None:
    ledger = asyncio.run(work_through(jobs, BudgetLimits(), 1)).gate.ledger
    call = jobs[0].calls[0]
    tokens = int(share * (spent(ledger) + call.input_tokens + call.output_tokens))
    match unit:
        case "tokens":
            limits = BudgetLimits(run_tokens=tokens)
        case "role":
            limits = BudgetLimits(role_tokens={"implementer": tokens})
        case _:
            limits = BudgetLimits(run_usd=share * (spent(ledger, Unit.USD) + 0.5))
    alone = asyncio.run(work_through(jobs, limits, 1))
    together = asyncio.run(work_through(jobs, limits, width))
    assert together.finished >= alone.finished


def test_where_there_is_enough_for_all_all_are_at_work() -> None:
    long = [Job((Call(5_000, 32_000, 0.05, 1, 100),) * 3) for _ in range(18)]
    outcome = asyncio.run(work_through(long, BudgetLimits(run_tokens=20_000_000, run_usd=500), 18))
    assert outcome.most_at_once == 18


def test_the_less_there_is_the_fewer_are_at_work_and_all_finish() -> None:
    outcome = asyncio.run(work_through(SIX, BudgetLimits(run_tokens=80_000), 6))
    assert outcome.finished == set(range(6))
    assert outcome.most_at_once < 6
