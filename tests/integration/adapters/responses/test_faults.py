"""What a provider, a proxy and a network do to a stream, through the real client."""

import asyncio
import json
from contextlib import aclosing
from email.utils import formatdate
from typing import cast

import pytest

from codexteam.adapters.responses.model import ModelOptions
from codexteam.core.ids import JSONObject
from codexteam.errors import ModelAccessError
from codexteam.ports.model import (
    CallFailureKind,
    ContextExceeded,
    CutShort,
    ItemDone,
    ModelAnswer,
    StreamOpened,
    StreamRestarted,
)
from tests.fakes.fast_clock import FastClock
from tests.fakes.model_calls import KEY, collect, model_request, restarted
from tests.integration.adapters.responses.conftest import Bench
from tests.scripted_api import (
    Call,
    Drop,
    Fault,
    HttpError,
    Played,
    Raw,
    Reply,
    Reset,
    Stall,
    custom_call,
    function_call,
    message,
    reasoning,
    refusal,
)
from tests.scripted_api.wire import event

OK = [message("ok")]


async def test_a_429_waits_as_long_as_retry_after_says(bench: Bench) -> None:
    bench.play(HttpError(429, headers={"Retry-After": "7"}), OK)
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, ModelAnswer)
    assert 7 <= got.restarts[0].wait_seconds < 8
    first, second = bench.api.requests
    assert first.call.headers["idempotency-key"] == second.call.headers["idempotency-key"]
    assert first.body_bytes == second.body_bytes


async def test_a_429_waits_until_the_date_of_retry_after(bench: Bench) -> None:
    model = bench.model()
    # what the import takes is a minute of this clock
    await model.warm()
    dates: list[float] = []

    def play(_: Call) -> Played:
        dates.append(bench.clock.wall_seconds() + 600)
        return HttpError(429, headers={"Retry-After": formatdate(dates[0], usegmt=True)})

    bench.api.script = play
    # not waited out: that would be six seconds, and what is waited less is what a busy machine took in between
    async with aclosing(model.stream(model_request())) as stream:
        again = await restarted(stream)
    assert 20 < again.wait_seconds <= 601


async def test_a_date_of_retry_after_is_waited_for(bench: Bench) -> None:
    came: list[float] = []

    def play(_: Call) -> Played:
        came.append(bench.clock.wall_seconds())
        date = formatdate(came[0] + 60, usegmt=True)
        return HttpError(429, headers={"Retry-After": date}) if len(came) == 1 else OK

    bench.api.script = play
    assert isinstance((await collect(bench.model(), model_request())).end, ModelAnswer)
    assert came[1] - came[0] > 50


async def test_a_429_waits_for_milliseconds_too(bench: Bench) -> None:
    bench.play(HttpError(429, headers={"retry-after-ms": "2500"}), OK)
    got = await collect(bench.model(), model_request())
    assert 2.5 <= got.restarts[0].wait_seconds < 3


async def test_a_429_without_retry_after_backs_off(bench: Bench) -> None:
    bench.play(HttpError(429), HttpError(429), HttpError(429), OK)
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, ModelAnswer)
    waits = [restart.wait_seconds for restart in got.restarts]
    assert waits == sorted(waits)
    assert len(waits) == 3
    assert waits[2] > waits[0] * 2


async def test_a_429_says_in_its_text_how_long(bench: Bench) -> None:
    bench.play(HttpError(429, "rate_limit_exceeded", "Rate limit reached. Please try again in 1.5s."), OK)
    got = await collect(bench.model(), model_request())
    assert 1.5 <= got.restarts[0].wait_seconds < 2


async def test_a_429_ends_the_call_where_retries_are_off(bench: Bench) -> None:
    bench.play(HttpError(429, headers={"Retry-After": "1"}))
    got = await collect(bench.model(stream_max_retries=0), model_request())
    assert got.failure.kind is CallFailureKind.UNAVAILABLE
    assert "429" in got.failure.message


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408, 409])
async def test_a_status_that_may_pass_is_tried_again(bench: Bench, status: int) -> None:
    bench.play(HttpError(status), HttpError(status), OK)
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, ModelAnswer)
    assert [restart.tries for restart in got.restarts] == [2, 3]
    assert str(status) in got.restarts[0].reason


async def test_a_503_waits_at_least_as_long_as_retry_after_says(bench: Bench) -> None:
    bench.play(HttpError(503, headers={"Retry-After": "9"}), OK)
    got = await collect(bench.model(), model_request())
    assert got.restarts[0].wait_seconds >= 9


@pytest.mark.parametrize(
    ("request_retries", "stream_retries", "requests"), [(4, 5, 30), (2, 0, 3), (0, 2, 3), (0, 0, 1)]
)
async def test_an_outage_costs_as_many_requests_as_in_codex(
    bench: Bench, request_retries: int, stream_retries: int, requests: int
) -> None:
    bench.clock = FastClock(speed=20_000)
    bench.play(HttpError(500))
    model = bench.model(
        ModelOptions(call_seconds=1e9),
        request_max_retries=request_retries,
        stream_max_retries=stream_retries,
        stream_idle_timeout_seconds=1e9,
    )
    got = await collect(model, model_request())
    assert got.failure.kind is CallFailureKind.UNAVAILABLE
    # five minutes of waiting end it as well
    assert len(bench.api.requests) <= requests
    assert len(bench.api.requests) >= min(requests, 12)
    assert got.failure.message.endswith(f"({len(bench.api.requests)} {'try' if requests == 1 else 'tries'})")


async def test_a_refused_connection_is_tried_again_until_somebody_listens(bench: Bench) -> None:
    bench.play(OK)
    await bench.api.stop_listening()
    stream = bench.model().stream(model_request())
    first = await anext(stream)
    assert isinstance(first, StreamRestarted), "nothing was sent"
    assert "no connection" in first.reason
    await bench.api.listen()
    rest = [event async for event in stream]
    assert isinstance(rest[-1], ModelAnswer)


async def test_a_connection_that_stays_refused_is_a_failure_and_no_exception(bench: Bench) -> None:
    await bench.api.stop_listening()
    got = await collect(bench.model(request_max_retries=2, stream_max_retries=0), model_request())
    assert got.failure.kind is CallFailureKind.UNAVAILABLE
    assert len(got.restarts) == 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reset(), id="reset before the first byte"),
        pytest.param(Drop(mid_item=True), id="dropped in the middle of an item"),
        pytest.param(Drop(mid_item=True, clean=True), id="ended in the middle of an item"),
        pytest.param(Drop(), id="dropped before response.completed"),
        pytest.param(Drop(clean=True), id="ended before response.completed"),
        pytest.param(Stall(), id="stalled"),
        pytest.param(Stall(headers_sent=False), id="nothing at all"),
        pytest.param(Stall(comment_seconds=0.01), id="stalled with comments"),
        pytest.param(Raw(b"<html>Sign in</html>", "text/html; charset=utf-8"), id="a page with status 200"),
        pytest.param(Raw(b'{"ok": true}', "application/json"), id="JSON that is not a stream"),
        pytest.param(Raw(b"", "text/event-stream"), id="an empty stream"),
        pytest.param(Raw(b'event: response.completed\ndata: {"response": \n\n'), id="broken JSON"),
        pytest.param(Raw(b"event: response.completed\ndata: [1]\n\n"), id="JSON of another shape"),
        pytest.param(Raw(b'event: response.completed\ndata: {"response": NaN}\n\n'), id="a number that is none"),
        pytest.param(
            Raw(b'event: response.completed\ndata: {"response": null}\n\n'), id="no response in the end event"
        ),
        pytest.param(Raw(b'event: response.output_item.done\ndata: {"item": "x"}\n\n'), id="an item that is none"),
    ],
)
async def test_a_stream_that_breaks_is_asked_for_again(bench: Bench, fault: Fault) -> None:
    bench.play(fault, OK)
    # only what stalls is worth a short deadline: a busy machine is slow as well
    idle_seconds = 200 if isinstance(fault, Stall) else 3000
    got = await collect(bench.model(stream_idle_timeout_seconds=idle_seconds), model_request())
    assert got.answer.items[-1]["type"] == "message"
    assert len(got.restarts) == 1
    assert len(bench.api.requests) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Drop(), CallFailureKind.UNAVAILABLE),
        (Stall(), CallFailureKind.UNAVAILABLE),
        (Raw(b"<html></html>", "text/html"), CallFailureKind.PROTOCOL),
        (Raw(b'event: response.completed\ndata: {"response"\n\n'), CallFailureKind.PROTOCOL),
        (Raw(b"data: nonsense\n\n"), CallFailureKind.PROTOCOL),
    ],
)
@pytest.mark.slow
async def test_a_stream_that_always_breaks_is_a_failure(bench: Bench, fault: Fault, kind: CallFailureKind) -> None:
    bench.play(fault)
    model = bench.model(stream_max_retries=2, stream_idle_timeout_seconds=100 if isinstance(fault, Stall) else 3000)
    got = await collect(model, model_request())
    assert got.failure.kind is kind
    assert len(bench.api.requests) == 3


async def test_items_of_a_stream_that_broke_are_not_in_the_answer(bench: Bench) -> None:
    half = [function_call("exec_command", {"cmd": "rm -rf build"})]
    bench.play(Reply(items=half, fault=Drop()), OK)
    got = await collect(bench.model(), model_request())
    kinds = [type(event) for event in got.events]
    assert kinds.index(ItemDone) < kinds.index(StreamRestarted)
    assert [item["type"] for item in got.answer.items] == ["message"]


async def test_a_stream_that_drips_for_ever_ends_at_its_deadline(bench: Bench) -> None:
    drip = Reply(items=[message("x" * 4_000)], gap_seconds=0.02, chunk_bytes=4)
    bench.clock = FastClock(speed=1)

    def play(_: Call) -> Played:
        bench.clock.go(speed=100)  # however long it took to get here, time flies from now on
        return drip

    bench.api.script = play
    model = bench.model(ModelOptions(call_seconds=60), stream_idle_timeout_seconds=1000)
    got = await collect(model, model_request())
    assert got.failure.kind is CallFailureKind.UNAVAILABLE
    assert "within 60 s" in got.failure.message
    assert len(bench.api.requests) == 1


@pytest.mark.parametrize("code", ["server_error", "server_is_overloaded", "never_heard_of"])
async def test_a_response_that_failed_on_the_server_is_tried_again(bench: Bench, code: str) -> None:
    bench.play(Reply(end="failed", reason=code, message="try later"), OK)
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, ModelAnswer)
    assert code in got.restarts[0].reason


async def test_what_a_failed_try_was_billed_is_counted(bench: Bench) -> None:
    bench.play(Reply(end="failed", reason="server_error", output_tokens=11), Reply(items=OK, output_tokens=5))
    got = await collect(bench.model(), model_request())
    (failed,) = got.restarts
    assert failed.usage is not None
    assert failed.usage.output_tokens == 11
    # each try has its own reservation, so each is told with its own usage
    assert got.answer.usage is not None
    assert got.answer.usage.output_tokens == 5


THOUGHT = event("response.reasoning_summary_text.delta", {"delta": "thinking hard"})


@pytest.mark.parametrize(
    ("fault", "may_be_billed"),
    [
        pytest.param(HttpError(500), False, id="500"),
        pytest.param(HttpError(429), False, id="429"),
        pytest.param(Reset(), True, id="reset before the first byte"),
        pytest.param(Stall(headers_sent=False), True, id="nothing at all"),
        pytest.param(Drop(), True, id="dropped"),
        pytest.param(Reply(extra_events=[THOUGHT], fault=Drop()), True, id="dropped while it thought"),
        pytest.param(Reply(extra_events=[THOUGHT], end="failed", usage=False), True, id="failed while it thought"),
        pytest.param(Reply(end="failed", reason="rate_limit_exceeded", usage=False), True, id="slowed in the stream"),
        pytest.param(Raw(b"<html></html>", "text/html"), True, id="a page with status 200"),
    ],
)
@pytest.mark.slow
async def test_only_a_try_that_was_turned_away_is_not_billed(
    bench: Bench, fault: Played, *, may_be_billed: bool
) -> None:
    idle_seconds = 200 if isinstance(fault, Stall) else 3000
    bench.play(fault, OK)
    got = await collect(bench.model(stream_idle_timeout_seconds=idle_seconds), model_request())
    assert [(restart.may_be_billed, restart.usage) for restart in got.restarts] == [(may_be_billed, None)]
    bench.play(fault)
    impatient = bench.model(request_max_retries=0, stream_max_retries=0, stream_idle_timeout_seconds=idle_seconds)
    got = await collect(impatient, model_request())
    assert got.failure.may_be_billed == may_be_billed


async def test_a_connection_that_is_refused_is_not_billed(bench: Bench) -> None:
    await bench.api.stop_listening()
    got = await collect(bench.model(request_max_retries=1, stream_max_retries=0), model_request())
    assert [restart.may_be_billed for restart in got.restarts] == [False]
    assert not got.failure.may_be_billed


async def test_the_bill_of_a_context_that_is_too_long_is_told(bench: Bench) -> None:
    bench.play(HttpError(400, "context_length_exceeded"))
    turned_away = (await collect(bench.model(), model_request())).end
    bench.play(Reply(end="failed", reason="context_length_exceeded", output_tokens=3))
    in_the_stream = (await collect(bench.model(), model_request())).end
    assert isinstance(turned_away, ContextExceeded)
    assert (turned_away.usage, turned_away.may_be_billed) == (None, False)
    assert isinstance(in_the_stream, ContextExceeded)
    assert in_the_stream.usage is not None
    assert in_the_stream.may_be_billed


@pytest.mark.parametrize(
    ("played", "may_be_billed"),
    [(HttpError(401), False), (Reply(end="failed", reason="insufficient_quota"), True)],
)
async def test_a_denial_says_whether_a_stream_had_opened(
    bench: Bench, played: Reply | Fault, *, may_be_billed: bool
) -> None:
    bench.play(played)
    with pytest.raises(ModelAccessError) as caught:
        await collect(bench.model(), model_request())
    assert caught.value.may_be_billed == may_be_billed


async def test_a_rate_limit_in_the_stream_waits_as_long_as_it_says(bench: Bench) -> None:
    said = "Rate limit reached for test-model. Please try again in 1.5s. Visit the site."
    bench.play(Reply(end="failed", reason="rate_limit_exceeded", message=said), OK)
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, ModelAnswer)
    assert 1.5 <= got.restarts[0].wait_seconds < 2


async def test_an_error_event_is_tried_again(bench: Bench) -> None:
    bench.play(Raw(event("error", {"error": {"code": "server_error", "message": "oops"}})), OK)
    got = await collect(bench.model(), model_request())
    assert got.restarts[0].reason == "server_error: oops"


@pytest.mark.parametrize(
    "played",
    [
        HttpError(400, "context_length_exceeded", "too long"),
        HttpError(400, message="This model's maximum context length is 8192 tokens."),
        HttpError(413, body=b"payload too large"),
        Reply(end="failed", reason="context_length_exceeded", message="Your input exceeds the context window."),
    ],
)
async def test_a_context_that_is_too_long_is_an_end_of_its_own(bench: Bench, played: Reply | Fault) -> None:
    bench.play(played)
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, ContextExceeded)
    assert len(bench.api.requests) == 1


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_an_incomplete_answer_is_cut_short(bench: Bench, reason: str) -> None:
    cut = function_call("exec_command", '{"cmd": "rm -rf /tm')
    cut["status"] = "incomplete"
    bench.play(Reply(items=[reasoning("hm"), cut], end="incomplete", reason=reason))
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, CutShort)
    assert got.end.reason == reason
    assert got.end.usage is not None
    # what was cut is never handed out to be run
    assert [event.item["type"] for event in got.of(ItemDone)] == ["reasoning"]


async def test_a_completed_answer_with_a_cut_call_is_cut_short(bench: Bench) -> None:
    cut = function_call("exec_command", '{"cmd": "rm -rf /tm')
    cut["status"] = "incomplete"
    bench.play([cut])
    got = await collect(bench.model(), model_request())
    assert isinstance(got.end, CutShort)
    assert got.of(ItemDone) == []


async def test_a_refusal_is_told(bench: Bench) -> None:
    bench.play([refusal("I can't help with that.")])
    got = await collect(bench.model(), model_request())
    assert got.answer.refusal == "I can't help with that."


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([function_call("exec_command", '{"cmd": ')], id="malformed arguments"),
        pytest.param([function_call("exec_command", "null")], id="null arguments"),
        pytest.param([function_call("no_such_tool", {})], id="an unknown tool"),
        pytest.param(
            [
                function_call("exec_command", {"cmd": "a"}, call_id="c1"),
                function_call("exec_command", {}, call_id="c1"),
            ],
            id="two calls with one id",
        ),
        pytest.param([custom_call("apply_patch", "*** Begin Patch\n*** End Patch\n")], id="a freeform call"),
        pytest.param([message("not what the schema says")], id="an answer that breaks its schema"),
    ],
)
async def test_what_the_model_got_wrong_is_passed_on_as_it_is(bench: Bench, items: list[dict[str, object]]) -> None:
    bench.play(items)  # type: ignore[arg-type]  # items of JSON
    got = await collect(bench.model(), model_request())
    assert list(got.answer.items) == items
    assert [event.item for event in got.of(ItemDone)] == items


async def test_an_item_that_is_said_twice_is_meant_once(bench: Bench) -> None:
    call = function_call("exec_command", {"cmd": "make"})
    again = f"event: response.output_item.done\ndata: {json.dumps({'output_index': 0, 'item': call})}\n\n".encode()
    bench.play(Reply(items=[call], extra_events=[again]))
    got = await collect(bench.model(), model_request())
    assert len(got.of(ItemDone)) == 1
    assert got.answer.items == (call,)


async def test_a_usage_that_is_missing_is_missing(bench: Bench) -> None:
    bench.play(Reply(items=OK, usage=False))
    got = await collect(bench.model(), model_request())
    assert got.answer.usage is None


@pytest.mark.parametrize("count", [-1, 10**30, "7", 1.5, True, None])
async def test_a_usage_that_cannot_be_counted_is_missing(bench: Bench, count: object) -> None:
    usage = cast("JSONObject", {"input_tokens": count, "output_tokens": 1})
    bench.play(Reply(items=OK, told_usage=usage))
    got = await collect(bench.model(), model_request())
    assert got.answer.usage is None


async def test_event_types_never_seen_before_are_ignored(bench: Bench) -> None:
    strange = b'event: response.telepathy.delta\ndata: not even JSON\n\ndata: {"type": "response.other"}\n\n'
    bench.play(Reply(items=OK, extra_events=[strange, b": comment\n\n", b"retry: 5\nid: 7\n\n", b"data: [DONE]\n\n"]))
    got = await collect(bench.model(), model_request())
    assert got.answer.items == tuple(OK)


async def test_an_answer_of_8_mb_comes_through(bench: Bench) -> None:
    text = "0123456789abcdef" * (512 << 10)
    bench.play(Reply(items=[message(text)]))
    got = await collect(bench.model(), model_request())
    assert json.dumps(got.answer.items).count("0123456789abcdef") == 512 << 10


async def test_an_item_without_end_is_refused(bench: Bench) -> None:
    bench.play(Reply(items=[message("x" * (17 << 20))]))
    got = await collect(bench.model(), model_request())
    assert got.failure.kind is CallFailureKind.PROTOCOL
    assert len(bench.api.requests) == 1


async def test_invalid_utf8_survives_as_replacement(bench: Bench) -> None:
    item = json.dumps(message("a?b")).encode().replace(b"a?b", b"a\xff\xfeb")
    body = b'data: {"type": "response.output_item.done", "output_index": 0, "item": ' + item + b"}\n\n"
    body += b'data: {"type": "response.completed", "response": {"id": "r"}}\n\n'
    bench.play(Raw(body))
    got = await collect(bench.model(), model_request())
    assert "a\ufffd\ufffdb" in json.dumps(got.answer.items, ensure_ascii=False)


async def test_lone_surrogates_survive_as_replacement(bench: Bench) -> None:
    bench.play([message("a \ud83d b"), message("\U0001f600")])
    got = await collect(bench.model(), model_request())
    text = json.dumps(got.answer.items, ensure_ascii=False)
    text.encode("utf-8")
    assert "a \ufffd" in text
    assert "\U0001f600" in text


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 64, 1000])
async def test_a_stream_may_be_cut_anywhere(bench: Bench, chunk_bytes: int) -> None:
    items = [reasoning("ünï"), message("çödé \U0001f600 done")]
    bench.play(Reply(items=items, chunk_bytes=chunk_bytes))
    got = await collect(bench.model(), model_request())
    assert got.answer.items == tuple(items)


@pytest.mark.parametrize(
    ("played", "said", "hint"),
    [
        (HttpError(401, "invalid_api_key", f"Incorrect API key provided: {KEY}"), "credentials", "LOCAL_KEY"),
        (HttpError(403, message="no access"), "permit", "LOCAL_KEY"),
        (HttpError(404, "model_not_found", "The model does not exist"), "test-model", "-m"),
        (HttpError(400, message="The model `test-model` does not exist"), "test-model", "-m"),
        (HttpError(400, "unknown_parameter", "Unknown parameter: 'tool_names'."), "tool_names", "LiteLLM"),
        (HttpError(400, message="gemma does not support tools"), "cannot call functions", "--enable-auto-tool-choice"),
        (HttpError(400, message='"auto" tool choice requires --enable-auto-tool-choice'), "functions", "use a model"),
        (HttpError(404, message="model 'llama9' not found, try pulling it first"), "know the model", "-m"),
        (HttpError(400, message="/responses: Invalid model name passed in model=x. Call `/v1/models`"), "model", "-m"),
        (HttpError(404, message="No endpoints found for meta/llama-9."), "does not know the model", "-m"),
        (HttpError(404, "DeploymentNotFound", "The API deployment for this resource does not exist."), "model", "-m"),
        (HttpError(404, message="Path /v1/models/x/responses not found"), "address", "base_url"),
        (HttpError(400, message="Unknown endpoint for this model: /v1/responses"), "address", "LiteLLM"),
        (HttpError(400, message="Invalid URL (POST /v1/responses)"), "address", "base_url"),
        (HttpError(400, "BadRequest", "API version not supported"), "address", "base_url"),
        (HttpError(405, message="Method Not Allowed"), "address", "base_url"),
        (HttpError(501, message="Not Implemented"), "address", "base_url"),
        (
            Raw(b'{"error":"Unexpected endpoint or method. (POST /v1/responses)"}', "application/json"),
            "address",
            "base_url",
        ),
        (Raw(b'data: {"object":"chat.completion.chunk","choices":[]}\n\n'), "chat completions", "bridge"),
        (Raw(b'{"object":"chat.completion","choices":[]}', "application/json"), "chat completions", "bridge"),
        (HttpError(429, "usage_not_included", "Not in your plan"), "account's plan", "another `model_provider`"),
        (HttpError(404, body=b"<h1>Not Found</h1>"), "address", "base_url"),
        (HttpError(302, headers={"Location": "http://other.example/v1"}), "http://other.example/v1", "base_url"),
        (HttpError(429, "insufficient_quota", "You exceeded your current quota"), "quota", "credit"),
        (HttpError(429, "usage_limit_reached", "You've hit your usage limit"), "usage limit", "--wait"),
        (Reply(end="failed", reason="insufficient_quota", message="quota"), "quota", "credit"),
    ],
)
async def test_a_denial_stops_at_once_and_says_what_to_do(
    bench: Bench, played: Reply | Fault, said: str, hint: str
) -> None:
    bench.play(played)
    with pytest.raises(ModelAccessError) as caught:
        await collect(bench.model(), model_request())
    assert said in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.exit_code == (4 if "usage limit" in said else 6)
    assert KEY not in str(caught.value) + caught.value.hint
    assert len(bench.api.requests) == 1


async def test_a_missing_key_stops_before_any_request(bench: Bench) -> None:
    with pytest.raises(ModelAccessError, match="Missing environment variable: `LOCAL_KEY`"):
        await collect(bench.model(environment={"OTHER": "x"}), model_request())
    assert bench.api.requests == []


@pytest.mark.parametrize("played", [HttpError(400, "invalid_value", "bad"), HttpError(422, message="bad")])
async def test_a_request_that_is_wrong_is_not_repeated(bench: Bench, played: HttpError) -> None:
    bench.play(played)
    got = await collect(bench.model(), model_request())
    assert got.failure.kind is CallFailureKind.REJECTED
    assert "bad" in got.failure.message
    assert len(bench.api.requests) == 1


async def test_cancelling_hangs_up(bench: Bench) -> None:
    bench.play(Stall())
    model = bench.model(stream_idle_timeout_seconds=1e6)
    task = asyncio.create_task(collect(model, model_request()))
    await bench.api.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.api.no_open_streams()
    # its place is free again
    bench.play(OK)
    assert (await collect(model, model_request())).answer.items == tuple(OK)


async def test_closing_the_stream_hangs_up(bench: Bench) -> None:
    bench.play(Reply(items=OK, fault=Stall()))
    async with aclosing(bench.model(stream_idle_timeout_seconds=1e6).stream(model_request())) as stream:
        while not isinstance(await anext(stream), StreamOpened):
            pass
    await bench.api.no_open_streams()
