"""What goes over the wire."""

import json
from dataclasses import replace

import pytest

from codexteam.adapters.responses.model import ModelOptions
from codexteam.config.settings import ModelSettings
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONObject, Purpose
from codexteam.ports.model import ItemDone, OutputSchema, TextDelta
from tests.fakes.model_calls import KEY, call_key, collect, model_request
from tests.integration.adapters.responses.conftest import Bench
from tests.scripted_api import Reply, function_call, message, reasoning

TOOL: JSONObject = {"type": "function", "name": "exec_command", "parameters": {"type": "object"}, "strict": False}


async def test_a_request_says_everything_that_the_settings_say(bench: Bench) -> None:
    bench.play([message("ok")])
    settings = ModelSettings(
        "local",
        "test-model",
        effort="ultra",
        summary="auto",
        verbosity="low",
        service_tier="fast",
        max_output_tokens=77,
    )
    schema = OutputSchema("task_report", {"type": "object", "properties": {}, "additionalProperties": False})
    await collect(bench.model(), model_request(settings=settings, tools=[TOOL], output_schema=schema))
    body = bench.api.requests[0].call.body
    assert body == {
        "model": "test-model",
        "stream": True,
        "store": False,
        "instructions": "You implement one task.",
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "xhigh", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "text": {
            "verbosity": "low",
            "format": {"type": "json_schema", "name": "task_report", "strict": True, "schema": schema.schema},
        },
        "service_tier": "priority",
        "prompt_cache_key": "20261121-0231-7f3a-implementer",
        "max_output_tokens": 77,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]}],
        "metadata": {
            "run_id": "20261121-0231-7f3a",
            "role": "implementer",
            "purpose": "implement",
            "task_id": "T1",
            "attempt": "1",
            "turn": "1",
        },
    }


async def test_a_request_says_nothing_that_the_settings_do_not_say(bench: Bench) -> None:
    bench.play([message("ok")])
    await collect(bench.model(ModelOptions(send_metadata=False)), model_request())
    assert set(bench.api.requests[0].call.body) == {
        "model", "stream", "store", "instructions", "include", "prompt_cache_key", "max_output_tokens", "input"
    }  # fmt: skip


async def test_headers_and_query_are_the_providers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "not-for-this-provider")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: not-for-this-provider\nAuthorization: Bearer other")
    bench.play([message("ok")])
    model = bench.model(
        environment={"LOCAL_KEY": KEY, "OPENAI_CUSTOM_HEADERS": "X-Mine: a\nAuthorization: Bearer other"},
        query_params={"api-version": "2026-01-01"},
        http_headers={"X-Plain": "plain"},
        env_http_headers={"X-Env": "LOCAL_KEY", "X-Unset": "UNSET"},
    )
    await collect(model, model_request())
    seen = bench.api.requests[0]
    assert seen.path == "/v1/responses?api-version=2026-01-01"
    headers = seen.call.headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["x-plain"] == "plain"
    assert headers["x-env"] == KEY
    assert headers["accept"] == "text/event-stream"
    assert headers["idempotency-key"] == call_key().idempotency_key(model_request().settings.model)
    assert "x-unset" not in headers
    assert "not-for-this-provider" not in "".join(headers.values())


async def test_a_provider_without_a_key_gets_no_authorization(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-this-provider")
    bench.play([message("ok")])
    await collect(bench.model(api_key_variable=None), model_request())
    assert "authorization" not in bench.api.requests[0].call.headers


async def test_an_authorization_header_of_the_settings_is_taken(bench: Bench) -> None:
    bench.play([message("ok")])
    await collect(bench.model(api_key_variable=None, http_headers={"authorization": "Basic eA=="}), model_request())
    assert bench.api.requests[0].call.headers["authorization"] == "Basic eA=="


async def test_an_idempotency_key_is_ascii_whatever_a_role_is_called(bench: Bench) -> None:
    bench.play([message("ok")])
    await collect(bench.model(), model_request(key=call_key(role="prüfer")))
    key = bench.api.requests[0].call.headers["idempotency-key"]
    assert key.isascii()
    assert "pr%C3%BCfer" in key


async def test_the_same_request_is_the_same_bytes(bench: Bench) -> None:
    bench.play([message("ok")])
    request = model_request(tools=[TOOL])
    model = bench.model()
    await collect(model, request)
    await collect(model, replace(request, input=list(request.input)))
    first, second = bench.api.requests
    assert first.body_bytes == second.body_bytes


async def test_the_prefix_of_siblings_is_the_same_bytes(bench: Bench) -> None:
    bench.play([message("ok")])
    model = bench.model()
    for task in ("T1", "T2"):
        facts: JSONObject = {"type": "message", "role": "user", "content": "the repository"}
        said: JSONObject = {"type": "message", "role": "user", "content": f"do {task}"}
        await collect(model, model_request(key=call_key(task_id=task), input=[facts, said], tools=[TOOL]))
    first, second = (request.body_bytes for request in bench.api.requests)
    shared = next(index for index, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1])
    assert first[:shared].endswith(b'"content":"do T')


async def test_the_items_of_an_answer_go_back_whole_encrypted_reasoning_included(bench: Bench) -> None:
    call = function_call("exec_command", {"cmd": "true"})
    thought = reasoning("why", encrypted="gAAAA-secret")
    bench.play([thought, call], [message("done")])
    model = bench.model()
    first = (await collect(model, model_request())).answer
    output: JSONObject = {"type": "function_call_output", "call_id": call["call_id"], "output": "ok"}
    said: JSONObject = {"type": "message", "role": "user", "content": "Go."}
    await collect(model, model_request(key=call_key(turn=2), input=[said, *first.items, output]))
    assert bench.api.requests[1].call.input == [said, thought, call, output]


async def test_items_come_before_the_answer_and_the_usage_is_told_apart(bench: Bench) -> None:
    items = [reasoning("hm"), function_call("exec_command", {"cmd": "ls"}), message("all done")]
    bench.play(Reply(items=items, output_tokens=40))
    got = await collect(bench.model(), model_request())
    assert [event.item for event in got.of(ItemDone)] == items
    assert "".join(event.text for event in got.of(TextDelta)) == "all done"
    tokens = bench.api.requests[0].input_tokens
    assert got.answer.items == tuple(items)
    assert got.answer.usage == Usage(tokens, 0, 40, 8)
    assert got.answer.response_id == "resp_1"


async def test_cached_input_is_reported(bench: Bench) -> None:
    bench.play([message("ok")])
    model = bench.model()
    request = model_request(instructions="word " * 2000)
    first = (await collect(model, request)).answer.usage
    second = (await collect(model, request)).answer.usage
    assert first is not None
    assert second is not None
    assert first.cached_input_tokens == 0
    assert second.cached_input_tokens / second.input_tokens > 0.9
    assert second.cached_input_tokens % 128 == 0


async def test_connections_are_kept(bench: Bench) -> None:
    bench.play([message("ok")])
    model = bench.model()
    for turn in range(1, 6):
        await collect(model, model_request(key=call_key(turn=turn)))
    assert bench.api.connections == 1


def test_every_purpose_turn_and_model_has_an_idempotency_key_of_its_own(bench: Bench) -> None:
    keys = {
        call_key(purpose=purpose, turn=turn, attempt=attempt).idempotency_key(model)
        for model in ("one", "other")
        for purpose in Purpose
        for turn in (1, 2)
        for attempt in (1, 2)
    }
    assert len(keys) == len(Purpose) * 8


async def test_the_wire_is_json_that_any_server_reads(bench: Bench) -> None:
    bench.play([message("ok")])
    said: JSONObject = {"type": "message", "role": "user", "content": "ünï \u2028 \ud83d lone"}
    await collect(bench.model(), model_request(input=[said]))
    body = bench.api.requests[0].body_bytes
    assert json.loads(body)["input"][0]["content"] == said["content"]
    assert body.isascii()
