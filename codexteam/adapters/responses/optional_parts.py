"""The parts of a request that a server may refuse, and the request without them. Pure.

A server is asked with all of them. One that it refuses is left out of this and of all later requests to its model, and
what that means is said once. `model`, `input`, `stream` and function tools are not optional: without them no agent can
work.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from codexteam.core.ids import JSONObject, JSONValue

_SHAPE = "the shape of answers is only described to the model, not enforced by the server"
_REASONING = "the model thinks as much as the server has it by default"
#: A part of this name and a value: that value alone is left out.
EFFORT: Final = "reasoning.effort="


@dataclass(frozen=True, slots=True)
class Part:
    """An optional part of a request."""

    name: str
    """As it is remembered, and shown."""
    loss: str
    """What it means to be without it, for people."""
    names: tuple[str, ...]
    """What servers call it, lower case, list positions taken out: a name stands for everything below it too."""
    is_in: Callable[[JSONObject], bool]
    remove: Callable[[JSONObject], None]
    words: str = ""
    """A pattern for errors that speak of it without naming a field."""


def _has(name: str) -> Callable[[JSONObject], bool]:
    return lambda body: name in body


def _without(*names: str) -> Callable[[JSONObject], None]:
    def remove(body: JSONObject) -> None:
        for name in names:
            body.pop(name, None)

    return remove


def _field(name: str, loss: str, *more: str, words: str = "") -> Part:
    return Part(name, loss, (name, *more), _has(name), _without(name), words)


def _inner(outer: str, name: str, loss: str, *more: str, words: str = "") -> Part:
    def is_in(body: JSONObject) -> bool:
        value = body.get(outer)
        return isinstance(value, dict) and name in value

    def remove(body: JSONObject) -> None:
        value = body.get(outer)
        if isinstance(value, dict):
            rest = {key: inner for key, inner in value.items() if key != name}
            if rest:
                body[outer] = rest
            else:
                body.pop(outer)

    return Part(f"{outer}.{name}", loss, (f"{outer}.{name}", *more), is_in, remove, words)


def _tools(body: JSONObject, kind: str) -> list[JSONObject]:
    tools = body.get("tools")
    return [tool for tool in tools if isinstance(tool, dict) and tool.get("type") == kind] if tools else []  # type: ignore[union-attr]  # a list, as `request_body` writes it


def _items(body: JSONObject) -> list[JSONObject]:
    items = body.get("input")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _custom_as_functions(body: JSONObject) -> None:
    body["tools"] = [_as_function(tool) for tool in _list(body.get("tools"))]
    body["input"] = [_as_function_item(item) for item in _list(body.get("input"))]


def _list(value: JSONValue) -> list[JSONValue]:
    return value if isinstance(value, list) else []


def _as_function(tool: JSONValue) -> JSONValue:
    if not isinstance(tool, dict) or tool.get("type") != "custom":
        return tool
    form = tool.get("format")
    grammar = form.get("definition") if isinstance(form, dict) else None
    explained = f"{tool.get('description', '')}\n`input` follows this grammar:\n{grammar}" if grammar else ""
    return {
        "type": "function",
        "name": tool.get("name"),
        "description": (explained or str(tool.get("description", ""))).replace(
            "FREEFORM: send the patch itself, not JSON.", "The whole patch is `input`."
        ),
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"input": {"type": "string"}},
            "required": ["input"],
            "additionalProperties": False,
        },
    }


def _as_function_item(item: JSONValue) -> JSONValue:
    if not isinstance(item, dict):
        return item
    match item.get("type"):
        case "custom_tool_call":
            rest = {key: value for key, value in item.items() if key != "input"}
            return {**rest, "type": "function_call", "arguments": json.dumps({"input": item.get("input")})}
        case "custom_tool_call_output":
            return {**item, "type": "function_call_output"}
        case _:
            return item


def _without_search(body: JSONObject) -> None:
    kept = [
        tool for tool in _list(body.get("tools")) if not (isinstance(tool, dict) and tool.get("type") == "web_search")
    ]
    body["tools"] = kept
    if not kept:
        _without("tools", "tool_choice", "parallel_tool_calls")(body)


def _without_strict(body: JSONObject) -> None:
    body["tools"] = [
        {key: value for key, value in tool.items() if key != "strict"} if isinstance(tool, dict) else tool
        for tool in _list(body.get("tools"))
    ]


def _say_first(body: JSONObject, role: str) -> None:
    text = body.pop("instructions", None)
    items = [{**item, "role": role} if item.get("role") == "system" else item for item in _items(body)]
    said: JSONObject = {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
    body["input"] = [said, *items] if text is not None else [*items]


def _without_thoughts(body: JSONObject) -> None:
    body["input"] = [
        item for item in _list(body.get("input")) if not (isinstance(item, dict) and item.get("type") == "reasoning")
    ]


def _is_picture(part: JSONValue) -> bool:
    return isinstance(part, dict) and part.get("type") == "input_image"


def _without_pictures(body: JSONObject) -> None:
    unseen = "(a picture, which this model cannot see)"
    body["input"] = [
        {**item, "output": unseen} if any(_is_picture(part) for part in _list(item.get("output"))) else item
        for item in _items(body)
    ]


def _without_marks(body: JSONObject) -> None:
    body["input"] = [
        {key: value for key, value in item.items() if key not in {"id", "status"}} if isinstance(item, dict) else item
        for item in _list(body.get("input"))
    ]


#: In this order errors that name none of them by a field are compared with `words`.
PARTS: Final[tuple[Part, ...]] = (
    _field("metadata", "the server cannot tell which agent asks"),
    _field("prompt_cache_key", "cached input may be found less often, which costs more"),
    Part(
        "reasoning items",
        "the model does not see its own reasoning of earlier turns again",
        ("input.encrypted_content", "input.reasoning", "encrypted_content", "input.summary"),
        lambda body: any(item.get("type") == "reasoning" for item in _items(body)),
        _without_thoughts,
        r"(reasoning item|could not be (verified|decrypted)|item.{0,40}'?rs_)",
    ),
    Part(
        "include",
        "the model does not see its own reasoning of earlier turns again",
        ("include", "reasoning.encrypted_content"),
        _has("include"),
        _without("include"),
        r"encrypted (content|reasoning)",
    ),
    _field(
        "max_output_tokens",
        "an answer may be longer, and cost more, than was set aside for it",
        "max_tokens",
        "max_completion_tokens",
    ),
    _field("parallel_tool_calls", "the model may ask for one command at a time", words=r"parallel (tool|function)"),
    Part(
        "reasoning",
        _REASONING,
        ("reasoning", "reasoning_effort", "reasoning.effort", "thinking", "enable_thinking"),
        _has("reasoning"),
        # what it thought cannot be asked for without it either
        _without("reasoning", "include"),
        r"\b(reasoning|thinking)\b",
    ),
    _inner(
        "reasoning",
        "summary",
        "no summaries of the model's reasoning come",
        "reasoning_summary",
        words=r"reasoning summar",
    ),
    _field(
        "store",
        "the server may keep requests and answers, which codexteam asks it not to do",
        words=r"\bstor(e|ing|age)\b.{0,40}(not supported|must be|unsupported)",
    ),
    _field("text", _SHAPE),
    _inner(
        "text",
        "format",
        _SHAPE,
        "response_format",
        "json_schema",
        "text.format.type",
        "text_format",
        "output_format",
        "output_config.format",
        "guided_json",
        "structured_outputs",
        words=r"(json.?schema|structured.?output|response.?format|constrained|guided|invalid schema)",
    ),
    _inner("text", "verbosity", "answers are as long as the server has them by default", "verbosity"),
    _field("service_tier", "requests are served at the server's default tier and price"),
    Part(
        "custom tools",
        "patches are sent as a function's argument",
        ("custom", "tools.custom", "tools.format", "tools.type.custom", "grammar", "custom_tool_call"),
        lambda body: (
            bool(_tools(body, "custom"))
            or any(str(item.get("type")).startswith("custom_tool_call") for item in _items(body))
        ),
        _custom_as_functions,
        r"(custom tool|free.?form|grammar|\bcustom\b)",
    ),
    Part(
        "web_search",
        "agents work without the web search that the configuration asks for",
        ("web_search", "web_search_options", "tools.external_web_access", "external_web_access"),
        lambda body: bool(_tools(body, "web_search")),
        _without_search,
        r"(web.?search|hosted tool|built.?in tool)",
    ),
    Part(
        "strict tools",
        "arguments of tools are checked here alone",
        ("tools.strict", "tools.function.strict", "strict"),
        lambda body: any("strict" in tool for tool in _tools(body, "function")),
        _without_strict,
    ),
    _field("tool_choice", "the server decides on its own when a tool is called"),
    Part(
        "instructions",
        "the instructions are the first message instead",
        ("instructions",),
        _has("instructions"),
        lambda body: _say_first(body, "system"),
    ),
    Part(
        "system messages",
        "the instructions are a message of the user's side instead",
        ("system", "developer", "input.system", "input.role", "messages.role"),
        lambda body: "instructions" in body or any(item.get("role") == "system" for item in _items(body)),
        lambda body: _say_first(body, "user"),
        r"(system|developer) (role|message|prompt|instruction)",
    ),
    Part(
        "pictures",
        "the model does not see pictures, only that there was one",
        ("input.output.image_url", "input_image", "image_url", "input.image_url", "input.output", "image"),
        lambda body: any(_is_picture(part) for item in _items(body) for part in _list(item.get("output"))),
        _without_pictures,
        r"\b(images?|vision|multi-?modal|pictures?)\b",
    ),
    Part(
        "item ids",
        "earlier answers are sent without their ids",
        ("input.id", "input.status"),
        lambda body: any("id" in item or "status" in item for item in _items(body)),
        _without_marks,
        r"item.{0,20}(with id|'?(msg|fc|rs|ctc)_)",
    ),
)
_BY_NAME: Final = {part.name: part for part in PARTS}


def without(body: JSONObject, left_out: Sequence[str]) -> JSONObject:
    """Return a request without some parts; unknown names, from a newer version, change nothing."""
    rest = dict(body)
    for name in left_out:
        if name.startswith(EFFORT):
            reasoning = rest.get("reasoning")
            if isinstance(reasoning, dict) and reasoning.get("effort") == name.removeprefix(EFFORT):
                kept = {key: value for key, value in reasoning.items() if key != "effort"}
                if kept:
                    rest["reasoning"] = kept
                else:
                    rest.pop("reasoning")
            continue
        part = _BY_NAME.get(name)
        if part is not None and part.is_in(rest):
            part.remove(rest)
    return rest


def loss_of(name: str) -> str:
    """Say what it means to be without a part."""
    part = _BY_NAME.get(name)
    return _REASONING if part is None else part.loss


def as_asked(item: JSONObject, left_out: Sequence[str], tools: Sequence[JSONObject]) -> JSONObject:
    """Return an item of an answer in the form that the request's own tools have, where they were sent in another."""
    custom = {tool.get("name") for tool in tools if tool.get("type") == "custom"}
    if item.get("type") != "function_call" or item.get("name") not in custom or "custom tools" not in left_out:
        return item
    rest = {key: value for key, value in item.items() if key != "arguments"}
    return {**rest, "type": "custom_tool_call", "input": _patch_in(str(item.get("arguments", "")))}


def _patch_in(arguments: str) -> str:
    try:
        parsed: JSONValue = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    text = parsed.get("input") if isinstance(parsed, dict) else None
    return text if isinstance(text, str) else arguments
