"""When a thread's credits are asked for, and what is said where nothing is reported."""

import asyncio
from collections.abc import Callable

import pytest

from codexteam.adapters.codex_cli.credits import CreditReader, balance_of
from codexteam.core.ids import AgentKey, JSONObject, JSONValue, Purpose, RunId
from codexteam.core.plan_credits import CreditBalance, CreditsReading, ThreadCredits

AGENT = AgentKey(RunId("20261121-0231-7f3a"), "implementer", Purpose.IMPLEMENT, "T1", 1)


class Service:
    """What the app-server answers, and what it was asked."""

    def __init__(self, micro: JSONValue = 7) -> None:
        self.micro = micro
        self.asked: list[JSONValue] = []
        self.said: list[CreditsReading] = []

    async def ask(self, method: str, params: JSONObject) -> JSONObject:
        assert method == "account/usage/read"
        self.asked.append(params["threadId"])
        if self.micro is None:
            return {"threadUsage": None}
        return {"threadUsage": {"estimatedUsageCreditsMicros": self.micro, "estimatedUsageUsdMicros": None}}


def reader(service: Service, *, least_seconds: float = 0.0, unreported_seconds: float = 0.0) -> CreditReader:
    made = CreditReader(
        service.ask, pace_seconds=0.0, least_seconds=least_seconds, unreported_seconds=unreported_seconds
    )
    made.watch(service.said.append, {})
    return made


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def test_a_thread_is_read_after_its_answer() -> None:
    service = Service()
    reads = reader(service)
    reads.follow("a", AGENT)
    reads.answered("a")
    await until(lambda: bool(service.said))
    await reads.close()
    assert service.asked == ["a"]
    assert service.said == [CreditsReading({"a": ThreadCredits(AGENT, 7)})]


async def test_threads_of_earlier_sessions_are_read_again() -> None:
    service = Service()
    reads = CreditReader(service.ask, pace_seconds=0.0)
    reads.watch(service.said.append, {"old": AGENT})
    await until(lambda: bool(service.said))
    await reads.close()
    assert service.asked == ["old"]


async def test_answers_soon_after_each_other_are_read_together() -> None:
    service = Service()
    reads = reader(service, least_seconds=3600.0)
    reads.follow("a", AGENT)
    reads.answered("a")
    await until(lambda: bool(service.said))
    for _ in range(5):
        reads.answered("a")
        await asyncio.sleep(0)
    assert service.asked == ["a"]
    await reads.read_rest()
    await reads.close()
    assert service.asked == ["a", "a"], "at the end, what is not read yet"


async def test_what_was_read_since_its_answer_is_not_read_at_the_end() -> None:
    service = Service()
    reads = reader(service)
    reads.follow("a", AGENT)
    reads.answered("a")
    await until(lambda: bool(service.said))
    await reads.read_rest()
    await reads.close()
    assert service.asked == ["a"]


async def test_an_end_waits_no_second_time_for_what_is_not_reported() -> None:
    service = Service(None)
    reads = reader(service, unreported_seconds=3600.0)
    reads.follow("a", AGENT)
    reads.answered("a")
    await until(lambda: bool(service.said))
    reads.answered("a")
    await reads.read_rest()
    await reads.close()
    assert service.asked == ["a"]
    assert service.said == [CreditsReading({"a": ThreadCredits(AGENT, None)})]


async def test_threads_nobody_follows_are_not_asked_for() -> None:
    service = Service()
    reads = reader(service)
    reads.answered("a child of somebody's")
    await reads.read_rest()
    await reads.close()
    assert service.asked == []


@pytest.mark.parametrize("micro", ["12", 1.5, -1, True])
async def test_a_count_that_is_no_whole_number_is_none(micro: JSONValue) -> None:
    service = Service(micro)
    reads = reader(service)
    reads.follow("a", AGENT)
    reads.answered("a")
    await until(lambda: bool(service.said))
    await reads.close()
    assert service.said[0].threads["a"].micro_credits is None


@pytest.mark.parametrize(
    ("said", "balance"),
    [
        ({"hasCredits": True, "unlimited": False, "balance": "123.5"}, CreditBalance(123.5)),
        ({"hasCredits": True, "unlimited": True, "balance": None}, CreditBalance(unlimited=True)),
        ({"hasCredits": False, "unlimited": False, "balance": "0"}, CreditBalance(0.0)),
        ({"hasCredits": False, "unlimited": False, "balance": None}, None),
        ({"hasCredits": True, "unlimited": False, "balance": "a lot"}, None),
        ({"hasCredits": True, "unlimited": False, "balance": "inf"}, None),
        (None, None),
    ],
)
def test_the_credits_that_are_left_are_read_as_they_are_said(said: JSONValue, balance: CreditBalance | None) -> None:
    assert balance_of(said) == balance
