"""What servers say when they refuse a part of a request, and the request without it."""

import json

import pytest

from codexteam.adapters.responses.error_body import read_error
from codexteam.adapters.responses.optional_parts import PARTS, Part, as_asked, without
from codexteam.adapters.responses.refusals import refused_parts
from codexteam.adapters.responses.request_body import request_body
from codexteam.agent.contract import output_schema
from codexteam.config.settings import ModelSettings
from codexteam.core.ids import JSONObject, Purpose
from tests.fakes.model_calls import model_request
from tests.unit.agent.test_prefix import all_tools

PICTURE: JSONObject = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
ITEMS: tuple[JSONObject, ...] = (
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
    {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "call_id": "c1",
        "name": "apply_patch",
        "input": "*** Begin",
        "status": "completed",
    },
    {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c2",
        "name": "view_image",
        "arguments": "{}",
        "status": "completed",
    },
    {"type": "function_call_output", "call_id": "c2", "output": [PICTURE]},
)


def everything() -> JSONObject:
    """A request with all optional parts."""
    settings = ModelSettings("p", "m", effort="high", summary="auto", verbosity="low", service_tier="flex")
    tools: list[JSONObject] = [*all_tools(freeform=True), {"type": "web_search", "external_web_access": True}]
    request = model_request(settings=settings, tools=tools, output_schema=output_schema(Purpose.IMPLEMENT), input=ITEMS)
    return request_body(request, send_metadata=True)


def said(body: object, *, status_text: str = "") -> tuple[str, ...]:
    """What is refused, by an error's body."""
    data = body if isinstance(body, bytes) else (status_text or json.dumps(body)).encode()
    return refused_parts(read_error(data), everything())


def openai(message: str, param: str | None = None, code: str | None = None) -> JSONObject:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def pydantic(*loc: str, msg: str = "Extra inputs are not permitted") -> JSONObject:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *loc], "msg": msg, "input": {}}]}


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (openai("Unknown parameter: 'metadata'.", "metadata", "unknown_parameter"), ("metadata",)),
        (openai("Unknown parameter: 'prompt_cache_key'."), ("prompt_cache_key",)),
        (openai("Unrecognized request argument supplied: prompt_cache_key"), ("prompt_cache_key",)),
        (openai("Unsupported parameter: 'reasoning.effort' is not supported with this model.", "reasoning.effort",
                "unsupported_parameter"), ("reasoning",)),
        (openai("Unsupported value: 'high' is not supported with the 'm' model. Supported values are: 'low', 'medium'.",
                "reasoning.effort", "unsupported_value"), ("reasoning.effort=high",)),
        (openai("Your organization must be verified to generate reasoning summaries.", "reasoning.summary",
                "unsupported_value"), ("reasoning.summary",)),
        (openai("Encrypted content is not supported with this model.", "include"), ("include",)),
        (openai("Unsupported parameter: 'max_output_tokens' is not supported with this model."), ("max_output_tokens",)),
        (openai("max_tokens is too large: 32000. This model supports at most 4096 completion tokens.", "max_tokens",
                "invalid_value"), ("max_output_tokens",)),
        (openai("'max_tokens' is too large: 32000. This model's maximum context length is 8192 tokens"),
         ("max_output_tokens",)),
        (openai("This model's maximum context length is 8192 tokens. However, you requested 33000 tokens "
                "(1000 in the messages, 32000 in the completion)."), ("max_output_tokens",)),
        (openai("Invalid schema for response_format 'plan': 'allOf' is not permitted.", "text.format.schema",
                "invalid_json_schema"), ("text.format",)),
        (openai("This response_format type is unavailable now"), ("text.format",)),
        (openai("Structured outputs are not supported by this engine"), ("text.format",)),
        (openai("Invalid value: 'custom'. Supported values are: 'function' and 'web_search'.", "tools[2].type",
                "invalid_value"), ("custom tools",)),
        (openai("Invalid value: 'web_search'. Supported values are: 'function'.", "tools[6].type"), ("web_search",)),
        (openai("Hosted tool 'web_search' is not supported with m."), ("web_search",)),
        (openai("The encrypted content gAAA could not be verified.", None, "invalid_encrypted_content"),
         ("reasoning items",)),
        (openai("Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."),
         ("store",)),
        (openai("Invalid value: 'reasoning'. Supported values are: 'message'.", "input[1]"), ("reasoning items",)),
        (openai("Invalid 'input[1].id': 'rs_1'. Expected an ID that begins with 'x'.", "input[1].id"), ("item ids",)),
        (openai("This model does not support image inputs"), ("pictures",)),
        (openai("Parallel tool calls are not supported"), ("parallel_tool_calls",)),
        (openai("System role not supported"), ("system messages",)),
        ({"detail": "Unsupported parameter(s): include"}, ("include",)),
        ({"detail": "Unsupported parameter(s): store, metadata"}, ("store", "metadata")),
        (pydantic("prompt_cache_key"), ("prompt_cache_key",)),
        (pydantic("text", "format"), ("text.format",)),
        (pydantic("tools", "0", "strict"), ("strict tools",)),
        ({"object": "error", "message": {"detail": [{"loc": ["body", "store"], "msg": "Extra inputs are not permitted"}]},
          "type": "invalid_request_error", "param": None, "code": None}, ("store",)),
        ({"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'service_tier'), 'msg': 'Extra "
          "inputs are not permitted', 'input': 'flex'}]", "code": 400}, ("service_tier",)),
        ({"error": {"message": "litellm.UnsupportedParamsError: custom_openai does not support parameters: "
                    "['reasoning_effort'], for model=m. To drop these, set `litellm.drop_params=True` or for proxy:\n\n"
                    "`litellm_settings:\n drop_params: true`\n. \n If you want to use these params dynamically send "
                    "allowed_openai_params=['reasoning_effort'] in your request.", "type": "invalid_request_error",
                    "param": None, "code": "400"}}, ("reasoning",)),
        ({"error": {"message": "litellm.UnsupportedParamsError: x does not support parameters: ['response_format', "
                    "'parallel_tool_calls'], for model=m."}}, ("text.format", "parallel_tool_calls")),
        ({"error": {"message": "property 'metadata' is unsupported", "type": "invalid_request_error"}}, ("metadata",)),
        ({"error": "json: unknown field \"include\""}, ("include",)),
        ({"error": "Unrecognized key(s) in object: 'store', 'include'"}, ("store", "include")),
        ({"error": "\"m\" does not support thinking"}, ("reasoning",)),
        ({"message": "unknown field `metadata`, expected one of `model`, `input`, `store`, `include`"}, ("metadata",)),
        ({"message": "Unrecognized field \"prompt_cache_key\" (class Request), not marked as ignorable (3 known "
          "properties: \"store\", \"input\", \"model\")"}, ("prompt_cache_key",)),
        ({"message": "Malformed input request: #: extraneous key [parallel_tool_calls] is not permitted"},
         ("parallel_tool_calls",)),
        ([{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"store\": Cannot find field.",
                     "status": "INVALID_ARGUMENT"}}], ("store",)),
        ({"error": {"code": 400, "message": "Provider returned error", "metadata": {
            "raw": "{\"error\":{\"message\":\"Unsupported parameter: 'service_tier'\"}}", "provider_name": "x"}}},
         ("service_tier",)),
        ({"error": {"code": "BadRequest", "message": "store must be true for this deployment"}}, ("store",)),
        ({"detail": "instructions are not supported"}, ("instructions",)),
    ],
)  # fmt: skip
def test_what_an_error_is_about_is_found_in_every_server_s_words(body: object, parts: tuple[str, ...]) -> None:
    assert said(body) == parts


@pytest.mark.parametrize(
    "body",
    [
        openai("The model `m` does not exist."),
        openai("Rate limit reached for m. Please try again in 1s."),
        openai("Something went wrong"),
        openai("Invalid 'input[3].content[0].text': string too long."),
        openai("Unknown parameter: 'shoe_size'.", "shoe_size", "unknown_parameter"),
        {"error": {"message": "busy", "metadata": {"store": 1}}},
        {},
        [],
    ],
)
def test_an_error_about_something_else_leaves_nothing_out(body: object) -> None:
    assert said(body) == ()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_that_is_left_out_is_in_no_request(part: Part) -> None:
    name = part.name
    body = everything()
    if name == "system messages":
        body = without(body, ["instructions"])
    assert part.is_in(body)
    before = json.dumps(body)
    rest = without(body, [name])
    assert not part.is_in(rest)
    assert without(rest, [name]) == rest
    assert json.dumps(body) == before, "the request itself is left as it is"
    assert {"model", "input", "stream"} <= set(rest)


def test_a_request_without_any_optional_part_has_what_an_agent_needs() -> None:
    rest = without(everything(), [part.name for part in PARTS])
    assert set(rest) == {"model", "stream", "input", "tools"}
    tools = rest["tools"]
    assert isinstance(tools, list)
    assert {tool["type"] for tool in tools if isinstance(tool, dict)} == {"function"}


def test_instructions_that_are_refused_come_first_in_another_form() -> None:
    first = without(everything(), ["instructions"])["input"][0]  # type: ignore[index]  # a list
    assert first["role"] == "system"  # type: ignore[index,call-overload]
    first = without(everything(), ["instructions", "system messages"])["input"][0]  # type: ignore[index]
    assert first["role"] == "user"  # type: ignore[index,call-overload]


def test_a_patch_that_came_as_a_function_is_a_patch_again() -> None:
    call: JSONObject = {
        "type": "function_call",
        "call_id": "c",
        "name": "apply_patch",
        "arguments": '{"input": "*** Begin"}',
    }
    tools = all_tools(freeform=True)
    assert as_asked(call, ["custom tools"], tools) == {
        "type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin",
    }  # fmt: skip
    assert as_asked(call, [], tools) == call
    other: JSONObject = {**call, "name": "exec_command"}
    assert as_asked(other, ["custom tools"], tools) == other


def test_another_effort_than_the_refused_one_is_asked_for() -> None:
    body = everything()
    assert without(body, ["reasoning.effort=high"])["reasoning"] == {"summary": "auto"}
    assert without(body, ["reasoning.effort=xhigh"]) == body


def test_names_of_a_newer_version_change_nothing() -> None:
    assert without(everything(), ["telepathy"]) == everything()


@pytest.mark.parametrize("summary", [None, "auto"])
def test_no_effort_asks_for_no_reasoning_at_all(summary: str | None) -> None:
    settings = ModelSettings("p", "m", effort="none", summary=summary)
    body = request_body(model_request(settings=settings), send_metadata=True)
    assert not {"reasoning", "include"} & set(body)
