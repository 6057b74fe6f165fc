"""A reply as the bytes of an event stream."""

import json
from collections.abc import Iterator

from codexteam.core.ids import JSONObject, JSONValue
from tests.scripted_api.prompt_cache import BYTES_PER_TOKEN, Prompt
from tests.scripted_api.script import Reply

#: Text goes out in this many deltas at most, so that a long answer streams and an 8 MB one does not take for ever.
_MAX_DELTAS = 8


def event(kind: str, fields: JSONObject) -> bytes:
    """One event: its name, its data, an empty line."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def head_events(reply: Reply, response_id: str) -> Iterator[bytes]:
    """All events but the last."""
    response: JSONObject = {"id": response_id, "object": "response", "status": "in_progress", "output": []}
    yield event("response.created", {"response": response})
    for index, item in enumerate(reply.items):
        yield from item_events(index, item)
    yield from reply.extra_events


def item_events(index: int, item: JSONObject) -> Iterator[bytes]:
    """One item: added, its text in pieces, done."""
    started: JSONObject = {**item, "status": "in_progress"}
    for name, empty in (("content", []), ("arguments", ""), ("input", "")):
        if name in started:
            started[name] = empty
    yield event("response.output_item.added", {"output_index": index, "item": started})
    place: JSONObject = {"item_id": item.get("id"), "output_index": index}
    match item.get("type"):
        case "message":
            text = _text_of(item)
            for piece in _pieces(text):
                yield event("response.output_text.delta", {**place, "content_index": 0, "delta": piece})
        case "function_call":
            for piece in _pieces(str(item["arguments"])):
                yield event("response.function_call_arguments.delta", {**place, "delta": piece})
        case "custom_tool_call":
            for piece in _pieces(str(item["input"])):
                yield event("response.custom_tool_call_input.delta", {**place, "delta": piece})
        case _:
            pass  # reasoning streams nothing that a client must read
    yield event("response.output_item.done", {"output_index": index, "item": item})


def last_event(reply: Reply, response_id: str, prompt: Prompt, model: JSONValue) -> bytes:
    """`response.completed`, `response.incomplete` or `response.failed`."""
    response: JSONObject = {
        "id": response_id,
        "object": "response",
        "model": model,
        "status": reply.end,
        "output": list(reply.items),
    }
    if reply.usage:
        response["usage"] = _usage(reply, prompt) if reply.told_usage is None else reply.told_usage
    if reply.end == "incomplete":
        response["incomplete_details"] = {"reason": reply.reason}
    if reply.end == "failed":
        response["error"] = {"code": reply.reason, "message": reply.message}
    return event(f"response.{reply.end}", {"response": response})


def _usage(reply: Reply, prompt: Prompt) -> JSONObject:
    output = reply.output_tokens
    if output is None:
        output = -(-len(json.dumps(list(reply.items))) // BYTES_PER_TOKEN)
    thought = sum(BYTES_PER_TOKEN * 2 for item in reply.items if item.get("type") == "reasoning")
    return {
        "input_tokens": prompt.tokens,
        "input_tokens_details": {"cached_tokens": prompt.cached_tokens},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": min(thought, output)},
        "total_tokens": prompt.tokens + output,
    }


def _text_of(item: JSONObject) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _pieces(text: str) -> Iterator[str]:
    size = max(1, -(-len(text) // _MAX_DELTAS))
    for start in range(0, len(text), size):
        yield text[start : start + size]
