"""Servers that are not OpenAI's: what they refuse, how they say it, and what stands between us and them."""

import json
import socket
from collections.abc import Sequence
from dataclasses import replace

import pytest

from codexteam.adapters.responses.model import ModelOptions, ResponsesModel
from codexteam.agent.contract import output_schema
from codexteam.core.budget_amounts import Price, usd_of
from codexteam.core.ids import JSONObject, Purpose
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.ports.model import CallFailureKind, ContextExceeded, ItemDone, ModelAnswer, ModelRequest
from tests.fakes.model_calls import KEY, collect, model_request, provider
from tests.integration.adapters.responses.conftest import Bench
from tests.scripted_api import Call, Fault, HttpError, Played, Raw, Reply, function_call, message
from tests.unit.agent.test_prefix import all_tools

OK = [message("ok")]
#: What a strict server of chat completions knows of a request.
PLAIN = frozenset({"model", "input", "stream", "tools", "tool_choice", "instructions"})


class Noted:
    """A memory that outlives the client."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str], tuple[str, ...]] = {}
        self.told: list[str] = []

    async def left_out(self, provider_id: str, model: str) -> tuple[str, ...]:
        return self.parts.get((provider_id, model), ())

    async def leave_out(self, provider_id: str, model: str, parts: Sequence[str], why: str) -> None:
        self.parts[(provider_id, model)] = tuple(parts)
        self.told.append(why)


def asking() -> ModelRequest:
    """A request as agents make it."""
    return model_request(tools=all_tools(), output_schema=output_schema(Purpose.IMPLEMENT))


def strict(call: Call) -> Played:
    """A server that refuses the first field it does not know."""
    unknown = sorted(set(call.body) - PLAIN)
    if unknown:
        return HttpError(400, "unknown_parameter", f"Unknown parameter: '{unknown[0]}'.")
    return OK


def client(bench: Bench, memory: Noted, **changes: object) -> ResponsesModel:
    settings = provider(**{"base_url": bench.api.base_url, **changes})  # type: ignore[arg-type]  # see provider
    return ResponsesModel({"local": settings}, {"LOCAL_KEY": KEY}, bench.clock, lambda: 0.5, memory=memory)


async def test_what_a_server_refuses_is_left_out_once_told_once_and_remembered(bench: Bench) -> None:
    bench.api.script = strict
    memory = Noted()
    model = client(bench, memory)
    assert isinstance((await collect(model, asking())).end, ModelAnswer)
    bodies = [request.body_bytes for request in bench.api.requests]
    assert len(set(bodies)) == len(bodies), "no request is refused twice"
    refused = len(bodies) - 1
    assert len(memory.told) == refused == len(memory.parts[("local", "test-model")])
    assert all("Unknown parameter" in told for told in memory.told)
    assert isinstance((await collect(model, asking())).end, ModelAnswer)
    assert len(bench.api.requests) == refused + 2, "the next call is made without it at once"
    await model.close()
    resumed = client(bench, memory)
    assert isinstance((await collect(resumed, asking())).end, ModelAnswer)
    assert len(bench.api.requests) == refused + 3, "and so is one of a later session"
    assert len(memory.told) == refused
    await resumed.close()


async def test_a_changed_request_is_the_same_call(bench: Bench) -> None:
    bench.play(HttpError(400, message="Unknown parameter: 'include'."), HttpError(500), OK)
    assert isinstance((await collect(bench.model(), asking())).end, ModelAnswer)
    assert len({request.call.headers["idempotency-key"] for request in bench.api.requests}) == 1


async def test_what_another_model_takes_is_still_asked_for(bench: Bench) -> None:
    bench.play(HttpError(400, message="Unknown parameter: 'metadata'."), OK)
    model = bench.model()
    await collect(model, asking())
    other = asking()
    await collect(model, replace(other, settings=replace(other.settings, model="another")))
    assert "metadata" not in bench.api.requests[1].call.body
    assert "metadata" in bench.api.requests[2].call.body


async def test_an_unexplained_refusal_stops_a_silent_server_the_second_time(
    bench: Bench,
) -> None:
    bench.play(HttpError(400, message="Something is wrong with this."))
    model = bench.model()
    assert (await collect(model, asking())).failure.kind is CallFailureKind.REJECTED
    with pytest.raises(ModelAccessError, match="refuses the requests of agents"):
        await collect(model, asking())
    assert len(bench.api.requests) == 2


async def test_an_unexplained_refusal_fails_one_agent_where_others_are_answered(bench: Bench) -> None:
    bench.play(OK, HttpError(400, message="Something is wrong with this."))
    model = bench.model()
    await collect(model, asking())
    for _ in range(3):
        assert (await collect(model, asking())).failure.kind is CallFailureKind.REJECTED


async def test_a_bridge_that_reports_a_refusal_as_its_own_failure_is_understood(bench: Bench) -> None:
    said = "litellm.UnsupportedParamsError: x does not support parameters: ['reasoning_effort', 'response_format']"
    bench.play(HttpError(500, message=said), OK)
    settings = model_request().settings
    request = replace(asking(), settings=replace(settings, effort="high"))
    assert isinstance((await collect(bench.model(), request)).end, ModelAnswer)
    second = bench.api.requests[1].call.body
    assert not {"reasoning", "text", "include"} & set(second)


async def test_a_refusal_inside_a_stream_is_understood(bench: Bench) -> None:
    bench.play(Reply(end="failed", reason="invalid_parameter", message="Unknown parameter: 'store'."), OK)
    assert isinstance((await collect(bench.model(), asking())).end, ModelAnswer)
    assert "store" not in bench.api.requests[1].call.body


async def test_a_patch_comes_back_as_one_from_a_server_without_custom_tools(bench: Bench) -> None:
    def play(call: Call) -> Played:
        if any(tool["type"] == "custom" for tool in call.body["tools"]):  # type: ignore[index,union-attr,call-overload]
            return HttpError(400, "invalid_value", "Invalid value: 'custom'. Supported values are: 'function'.")
        return [function_call("apply_patch", {"input": "*** Begin Patch"})]

    bench.api.script = play
    got = await collect(bench.model(), model_request(tools=all_tools(freeform=True)))
    [item] = got.answer.items
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** Begin Patch")
    assert [event.item["type"] for event in got.of(ItemDone)] == ["custom_tool_call"]


async def test_no_input_tokens_for_a_request_with_input_means_not_said(bench: Bench) -> None:
    bench.play(Reply(items=OK, told_usage={"input_tokens": 0, "output_tokens": 7, "total_tokens": 7}))
    assert (await collect(bench.model(), asking())).answer.usage is None


@pytest.mark.parametrize(("cost", "charged"), [(0.0125, 12_500_000), (0, None), (-1, None), ("x", None), (1e30, None)])
async def test_what_a_gateway_charges_is_part_of_the_usage(bench: Bench, cost: float, charged: int | None) -> None:
    usage: JSONObject = {"input_tokens": 9, "output_tokens": 7, "total_tokens": 16, "cost": cost}
    bench.play(Reply(items=OK, told_usage=usage))
    told = (await collect(bench.model(), asking())).answer.usage
    assert told is not None
    assert told.charged_nano_usd == charged
    assert usd_of(told, None) == (None if charged is None else 0.0125)
    assert usd_of(told, Price(input_usd=1_000_000, output_usd=0)) == 9, "a price that the user wrote wins"


async def test_an_answer_that_is_not_streamed_is_an_answer(bench: Bench) -> None:
    usage: JSONObject = {"input_tokens": 9, "output_tokens": 2}
    whole = {"id": "resp_1", "object": "response", "status": "completed", "output": OK, "usage": usage}
    bench.play(Raw(json.dumps(whole).encode(), "application/json"))
    got = await collect(bench.model(), asking())
    assert [item["type"] for item in got.answer.items] == ["message"]
    assert got.answer.usage is not None
    assert len(got.of(ItemDone)) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            Raw(b'{"error": {"message": "the model is still loading"}}', "application/json"),
            "the model is still loading",
        ),
        (Raw(b"<html><title>Sign in to Wi-Fi</title></html>", "text/html"), "Sign in to Wi-Fi"),
        (Raw(b'data: {"error": {"message": "upstream went away"}}\n\n'), "upstream went away"),
        (Raw(b'data: {"error": "upstream went away"}\n\n'), "upstream went away"),
    ],
)
async def test_a_200_that_is_no_answer_is_reported_in_the_servers_words(bench: Bench, fault: Fault, words: str) -> None:
    bench.play(fault)
    got = await collect(bench.model(stream_max_retries=1), asking())
    assert words in got.failure.message


@pytest.mark.parametrize("status", [403, 429])
async def test_a_gate_in_front_of_the_server_that_shows_a_page_is_asked_again(bench: Bench, status: int) -> None:
    page = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>" + b"x" * 5000 + b"</body></html>"
    bench.play(HttpError(status, body=page, headers={"cf-ray": "8f", "Server": "cloudflare"}), OK)
    got = await collect(bench.model(), asking())
    assert isinstance(got.end, ModelAnswer)
    assert "Just a moment..." in got.restarts[0].reason
    assert "(Cloudflare)" in got.restarts[0].reason
    assert len(got.restarts[0].reason) < 200


@pytest.mark.parametrize(
    "fault",
    [
        HttpError(400, "content_filter", "The response was filtered due to Azure OpenAI's content management policy."),
        HttpError(400, body=b'{"error":{"message":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}'),
        HttpError(400, "content_policy_violation", "Your request was flagged as potentially violating our usage policy."),
        Reply(end="failed", reason="cyber_policy", message="This was flagged."),
    ],
)  # fmt: skip
async def test_a_content_filter_is_named_as_such(bench: Bench, fault: Fault | Reply) -> None:
    bench.play(fault)
    got = await collect(bench.model(), asking())
    assert got.failure.kind is CallFailureKind.FILTERED
    assert "content filter" in got.failure.message
    assert len(bench.api.requests) == 1


async def test_a_request_that_is_too_large_for_the_server_is_named_with_its_size(bench: Bench) -> None:
    bench.play(HttpError(413, body=b"<html><title>413 Request Entity Too Large</title></html>"))
    end = (await collect(bench.model(), asking())).end
    assert isinstance(end, ContextExceeded)
    assert f"{len(bench.api.requests[0].body_bytes):,} bytes" in end.message
    assert "413 Request Entity Too Large" in end.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"llm_provider-retry-after": "7"}, 7),
        ({"llm_provider-retry-after-ms": "2500"}, 2.5),
        ({"x-ratelimit-reset-after": "9"}, 9),
        ({"Retry-After": "3", "llm_provider-retry-after": "7"}, 3),
    ],
)
async def test_a_gateway_passes_on_how_long_to_wait(bench: Bench, headers: dict[str, str], seconds: float) -> None:
    bench.play(HttpError(429, headers=headers), OK)
    got = await collect(bench.model(), asking())
    assert seconds <= got.restarts[0].wait_seconds < seconds + 1


async def test_a_usage_limit_says_when_it_resets_and_for_which_plan(bench: Bench) -> None:
    at = int(bench.clock.wall_seconds()) + 7200
    error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}
    bench.play(HttpError(429, body=json.dumps({"error": {**error, "resets_at": at}}).encode()))
    with pytest.raises(UsageLimitError) as caught:
        await collect(bench.model(), asking())
    assert (caught.value.exit_code, caught.value.resets_at_seconds) == (4, at)
    assert "plan `plus`" in str(caught.value)
    assert "--wait" in caught.value.hint
    assert len(bench.api.requests) == 1


async def test_a_usage_limit_in_seconds_from_now_is_a_moment(bench: Bench) -> None:
    error = {"code": "usage_limit_reached", "message": "no more", "resets_in_seconds": 600}
    bench.play(HttpError(429, body=json.dumps({"error": error}).encode()))
    with pytest.raises(UsageLimitError) as caught:
        await collect(bench.model(), asking())
    assert caught.value.resets_at_seconds is not None
    assert caught.value.resets_at_seconds > 1e9


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_a_server_on_this_machine_is_not_asked_through_a_proxy(
    bench: Bench, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", closed_port)
    bench.play(OK)
    environment = {"LOCAL_KEY": KEY, "http_proxy": closed_port}
    assert isinstance((await collect(bench.model(environment=environment), asking())).end, ModelAnswer)
    told_to = bench.model(
        ModelOptions(proxy_loopback=True), environment=environment, request_max_retries=0, stream_max_retries=0
    )
    failure = (await collect(told_to, asking())).failure
    assert f"through the proxy {closed_port} of http_proxy" in failure.message


async def test_an_error_behind_a_proxy_names_the_variable_and_the_way_around(
    bench: Bench, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", closed_port)
    monkeypatch.delenv("http_proxy", raising=False)
    secret = closed_port.replace("//", "//user:secret-word@")
    model = bench.model(
        environment={"LOCAL_KEY": KEY, "HTTP_PROXY": secret},
        base_url="http://models.invalid/v1",
        request_max_retries=0,
        stream_max_retries=0,
    )
    failure = (await collect(model, asking())).failure
    assert f"through the proxy {closed_port} of HTTP_PROXY; no_proxy=models.invalid goes around it" in failure.message
    assert "secret-word" not in failure.message
