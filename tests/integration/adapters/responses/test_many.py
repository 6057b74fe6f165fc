"""Many agents at once over the real client."""

import asyncio
from contextlib import aclosing

from codexteam.adapters.responses.model import ModelOptions
from codexteam.config.settings import ModelSettings
from codexteam.ports.model import ModelAnswer
from tests.fakes.model_calls import call_key, collect, model_request, restarted
from tests.integration.adapters.responses.conftest import Bench
from tests.scripted_api import Call, HttpError, Played, Reply, message


async def _ask_all(bench: Bench, count: int, options: ModelOptions | None = None) -> list[ModelAnswer]:
    model = bench.model(options)
    requests = [model_request(key=call_key(task_id=f"T{number}")) for number in range(1, count + 1)]
    return [got.answer for got in await asyncio.gather(*(collect(model, request) for request in requests))]


async def test_sixty_streams_at_once_find_their_connections_again(bench: Bench) -> None:
    together = asyncio.Event()

    async def play(call: Call) -> Played:
        if call.number == 60:
            together.set()
        await together.wait()
        return [message(call.task_id)]

    bench.api.script = play
    model = bench.model()
    requests = [model_request(key=call_key(task_id=f"T{number}")) for number in range(60)]
    got = await asyncio.gather(*(collect(model, request) for request in requests))
    assert [str(one.answer.items).count(f"'T{number}'") for number, one in enumerate(got)] == [1] * 60
    assert bench.api.connections == 60
    await asyncio.gather(*(collect(model, request) for request in requests))
    assert bench.api.connections == 60


async def test_all_agents_of_a_model_slow_down_when_one_is_told_to(bench: Bench) -> None:
    allowed = 8

    async def play(call: Call) -> Played:
        if bench.api.open_streams > allowed:
            return HttpError(429, "rate_limit_exceeded", "slow down", headers={"Retry-After": "1"})
        await asyncio.sleep(0.005)
        return [message("ok")]

    bench.api.script = play
    answers = await _ask_all(bench, 64)
    assert len(answers) == 64
    # sent again one by one and at once, each of 64 calls would be refused some times; together they learn
    refused = len(bench.api.requests) - 64
    assert refused < 64 * 2


async def test_one_429_pauses_calls_that_never_saw_it(bench: Bench) -> None:
    # measured where the calls come in: what a slow machine adds between two of our own lines does not count
    came: dict[str, float] = {}

    def play(call: Call) -> Played:
        came.setdefault(call.task_id, bench.clock.monotonic_seconds())
        if call.task_id == "T1" and call.tries == 1:
            return HttpError(429, headers={"Retry-After": "20"})
        return [message("ok")]

    bench.api.script = play
    model = bench.model()
    async with aclosing(model.stream(model_request(key=call_key(task_id="T1")))) as first:
        await restarted(first)
        await collect(model, model_request(key=call_key(task_id="T2")))
    assert came["T2"] - came["T1"] > 15


async def test_another_model_of_the_provider_is_not_slowed_down(bench: Bench) -> None:
    def play(call: Call) -> Played:
        if call.body["model"] == "test-model" and call.tries == 1:
            return HttpError(429, headers={"Retry-After": "1000"})
        return [message("ok")]

    bench.api.script = play
    model = bench.model()
    async with aclosing(model.stream(model_request(key=call_key(task_id="T1")))) as first:
        await restarted(first)
        other = ModelSettings("local", "other-model")
        await collect(model, model_request(key=call_key(task_id="T2"), settings=other))


async def test_quota_headers_pause_before_a_refusal(bench: Bench) -> None:
    came: list[float] = []

    def play(call: Call) -> Played:
        came.append(bench.clock.monotonic_seconds())
        headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}
        return Reply([message("ok")], headers=headers if call.number == 1 else {})

    bench.api.script = play
    model = bench.model()
    await collect(model, model_request())
    await collect(model, model_request(key=call_key(turn=2)))
    first, second = came
    assert second - first > 15


async def test_siblings_find_a_warm_cache_when_the_first_goes_ahead(bench: Bench) -> None:
    async def cached_share(options: ModelOptions) -> float:
        bench.api.requests.clear()
        model = bench.model(options)
        prefix = f"warm {options.warm_first} " * 1000
        requests = [model_request(key=call_key(task_id=f"T{n}"), instructions=prefix) for n in range(32)]
        got = await asyncio.gather(*(collect(model, request) for request in requests))
        usages = [one.answer.usage for one in got]
        cached = sum(usage.cached_input_tokens for usage in usages if usage)
        return cached / sum(usage.input_tokens for usage in usages if usage)

    asked = asyncio.Event()

    async def once_all_have_asked(_: Call) -> Played:
        if len(bench.api.requests) == 32:
            asked.set()
        await asked.wait()
        return [message("ok")]

    bench.api.script = once_all_have_asked
    assert await cached_share(ModelOptions(warm_first=False)) < 0.5
    bench.api.script = lambda _: [message("ok")]
    assert await cached_share(ModelOptions(warm_first=True)) > 0.9


async def test_the_width_is_a_limit(bench: Bench) -> None:
    async def play(call: Call) -> Played:
        await asyncio.sleep(0.002)
        return [message("ok")]

    bench.api.script = play
    await _ask_all(bench, 30, ModelOptions(max_width=4))
    assert bench.api.most_open_streams <= 4


async def test_a_wait_that_is_too_long_ends_the_call_and_holds_nobody_back(bench: Bench) -> None:
    bench.api.script = lambda call: (
        HttpError(429, headers={"Retry-After": "86400"}) if call.task_id == "T1" else [message("ok")]
    )
    model = bench.model()
    got = await collect(model, model_request(key=call_key(task_id="T1")))
    assert "86,400 s" in got.failure.message
    assert (await collect(model, model_request(key=call_key(task_id="T2")))).answer.items
