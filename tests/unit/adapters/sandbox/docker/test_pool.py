"""Which engine gets the next sandbox; engines are fakes, and time is told."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from codexteam.adapters.sandbox.docker.pool import Pool
from codexteam.config.settings import EngineSettings
from codexteam.errors import SandboxUnavailable


@dataclass(eq=False)
class FakeEngine:
    """Answers or does not."""

    settings: EngineSettings
    answers: bool = True
    looks: int = 0

    async def look(self) -> str:
        self.looks += 1
        if not self.answers:
            raise SandboxUnavailable(f"no Docker engine answers ({self.settings.name})")
        return "1.0"


@dataclass
class Waits:
    """Sleeps end when the test says so."""

    seconds: list[float] = field(default_factory=list)
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(until)
        await until

    async def over(self) -> None:
        """Let all who sleep wake up, and do what they do then."""
        ended, self.waiting = self.waiting, []
        for each in ended:
            if not each.done():
                each.set_result(None)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def engine(name: str, slots: int = 8, weight: float | None = None, *, draining: bool = False) -> FakeEngine:
    return FakeEngine(EngineSettings(name, slots=slots, weight=weight, draining=draining))


async def taken(pool: Pool[FakeEngine], count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(count):
        got = await pool.take()
        assert got is not None
        found[got.settings.name] += 1
    return found


@pytest.mark.parametrize(
    ("engines", "count", "expected"),
    [
        ([engine("a"), engine("b")], 8, {"a": 4, "b": 4}),
        ([engine("a", weight=2), engine("b", weight=1)], 9, {"a": 6, "b": 3}),
        ([engine("a", slots=4), engine("b", slots=12)], 8, {"a": 2, "b": 6}),
        ([engine("a", slots=2, weight=9), engine("b", slots=9, weight=1)], 8, {"a": 2, "b": 6}),
        ([engine("a", weight=0.5), engine("b", weight=1.5)], 8, {"a": 2, "b": 6}),
    ],
    ids=["even", "twice the weight", "the slots are the weight", "no more than its slots", "fractions"],
)
async def test_agents_are_spread_by_weight_among_free_slots(
    engines: list[FakeEngine], count: int, expected: dict[str, int]
) -> None:
    assert await taken(Pool(engines), count) == expected


async def test_nothing_is_looked_at_while_all_are_up() -> None:
    waits = Waits()
    engines = [engine("a"), engine("b")]
    pool = Pool(engines, sleep=waits.sleep)
    await taken(pool, 4)
    assert waits.seconds == []
    assert [each.looks for each in engines] == [0, 0]


async def test_an_engine_that_is_down_is_used_again_once_it_answers() -> None:
    waits = Waits()
    told: list[str] = []
    a, b = engine("a", slots=9), engine("b", slots=1)
    pool = Pool([a, b], report=told.append, sleep=waits.sleep)
    a.answers = False
    pool.mark_down(a, "connection refused")
    assert (await taken(pool, 1)) == {"b": 1}
    waiting = asyncio.ensure_future(pool.take())
    for _ in range(9):
        await settle()
        await waits.over()
    assert waits.seconds[:9] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    assert not waiting.done()
    a.answers = True
    await waits.over()
    assert await waiting is a
    assert [line.split(" ")[:2] for line in told] == [["host", "a"], ["host", "a"]]
    looks = a.looks
    await waits.over()
    assert a.looks == looks, "it is up"
    await pool.close()


async def test_who_found_it_up_otherwise_ends_the_looking() -> None:
    waits = Waits()
    a, b = engine("a"), engine("b")
    pool = Pool([a, b], sleep=waits.sleep)
    pool.mark_down(a, "x")
    pool.mark_down(a, "x again")
    await settle()
    assert waits.seconds == [1]
    pool.mark_up(a)
    await settle()
    assert await pool.take() is a
    await waits.over()
    assert a.looks == 0


async def test_one_that_is_down_is_tried_where_none_is_up_and_only_once() -> None:
    a, b = engine("a"), engine("b")
    pool = Pool([a, b], sleep=Waits().sleep)
    for each in (a, b):
        pool.mark_down(each, "x")
    assert await pool.take() is a
    assert await pool.take(tried_down={id(a)}) is b
    assert await pool.take(tried_down={id(a), id(b)}) is None
    pool.mark_up(a)
    assert await pool.take(tried_down={id(a), id(b)}) is a, "it answered since"
    assert await pool.take(failed={id(a), id(b)}) is None
    await pool.close()


async def test_an_outage_of_all_hosts_is_waited_out() -> None:
    waits = Waits()
    a, b = engine("a"), engine("b")
    pool = Pool([a, b], sleep=waits.sleep)
    for each in (a, b):
        pool.mark_up(each)
        each.answers = False
        pool.mark_down(each, "no route to host")
    outlasting = asyncio.ensure_future(pool.outlasts_outage(within_seconds=60))
    await settle()
    await waits.over()
    assert not outlasting.done()
    b.answers = True
    await waits.over()
    assert await outlasting
    assert await pool.take(tried_down={id(a), id(b)}) is b
    await pool.close()


async def test_hosts_that_never_answered_and_a_single_one_are_not_waited_for() -> None:
    for engines in ([engine("a"), engine("b")], [engine("a")]):
        pool = Pool(engines, sleep=Waits().sleep)
        if len(engines) == 1:
            pool.mark_up(engines[0])
        for each in engines:
            pool.mark_down(each, "x")
        assert not await pool.outlasts_outage(within_seconds=60)
        await pool.close()


async def test_hosts_that_are_drained_or_of_no_use_end_no_outage() -> None:
    a, b, c = engine("a"), engine("b", draining=True), engine("c")
    pool = Pool([a, b, c], sleep=Waits().sleep)
    for each in (a, b, c):
        pool.mark_up(each)
    pool.mark_down(a, "x")
    assert not await pool.outlasts_outage(within_seconds=0.01, failed={id(c)})
    await pool.close()


async def test_an_outage_that_lasts_is_given_up() -> None:
    a, b = engine("a"), engine("b")
    pool = Pool([a, b], sleep=Waits().sleep)
    for each in (a, b):
        pool.mark_up(each)
        pool.mark_down(each, "x")
    assert not await pool.outlasts_outage(within_seconds=0.01)
    await pool.close()


async def test_no_agent_starts_on_a_drained_engine() -> None:
    drained: set[str] = set()
    told: list[str] = []
    a, b = engine("a"), engine("b", slots=1)
    pool = Pool([a, b], drained=lambda: frozenset(drained), report=told.append)
    assert await pool.take() is a
    drained.add("a")
    assert await pool.take() is b
    waiting = asyncio.ensure_future(pool.take())
    await settle()
    pool.give_back(a)
    await settle()
    assert not waiting.done()
    assert told == [], "one that is not drained has its agents"
    drained.clear()
    pool.look_again()
    assert await waiting is a


async def test_with_all_of_them_drained_who_asks_waits_and_it_is_said_once() -> None:
    drained = {"a"}
    told: list[str] = []
    a, b = engine("a"), engine("b", draining=True)
    pool = Pool([a, b], drained=lambda: frozenset(drained), report=told.append)
    waiting = asyncio.ensure_future(pool.take())
    await settle()
    pool.look_again()
    await settle()
    assert told == ["no agent starts: drained are a, b; `codexteam cluster undrain NAME` lets them start there"]
    drained.clear()
    pool.look_again()
    assert await waiting is a
    assert list(pool.up()) == [a]


async def test_a_start_that_is_stopped_while_it_waits_takes_no_slot() -> None:
    a = engine("a", slots=1)
    pool = Pool([a])
    assert await pool.take() is a
    waiting = asyncio.ensure_future(pool.take())
    await settle()
    waiting.cancel()
    await settle()
    pool.give_back(a)
    async with asyncio.timeout(5):
        assert await pool.take() is a
