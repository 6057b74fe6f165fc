"""A server of chat completions alone, as bridges have behind them: plays the same scripts as the Responses API."""

import json
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias, cast

from codexteam.core.ids import JSONObject, JSONValue
from tests.scripted_api.script import Call, HttpError, Played, as_reply

#: What is told from a role's instructions: a bridge hands on no metadata.
_PURPOSES = {
    "requirement_analyst": "scout",
    "explorer": "scout",
    "orchestrator": "plan",
    "implementer": "implement",
    "documentation": "document",
    "release_manager": "release",
    "reviewer": "review",
    "security_reviewer": "security",
    "qa_test_author": "qa",
    "ci_runner": "ci_analysis",
}
_AGENTS = Path(__file__).parents[2] / "agents"

#: Looks at a request before it is played; gives an error in its place, or None.
Gate: TypeAlias = Callable[[JSONObject], HttpError | None]


@dataclass(slots=True)
class ChatApi:
    """Where it is, and what was asked."""

    base_url: str
    requests: list[JSONObject] = field(default_factory=list)
    """Bodies, in the order they came in."""
    gate: Gate = lambda _: None
    """May be changed while the server runs."""


@contextmanager
def chat_in_thread(script: Callable[[Call], Played]) -> Iterator[ChatApi]:
    """Serve chat completions until the block ends."""
    roles = _roles()
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    api = ChatApi(f"http://127.0.0.1:{server.server_address[1]}/v1")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = cast("JSONObject", json.loads(self.rfile.read(int(self.headers["content-length"]))))
            api.requests.append(body)
            refused = api.gate(body)
            if refused is not None:
                error = {"message": refused.message, "type": "invalid_request_error", "param": None, "code": None}
                return self._send(refused.status, "application/json", [json.dumps({"error": error})], refused.headers)
            items = as_reply(script(_call(body, len(api.requests), roles))).items
            return self._send(200, "text/event-stream", _chunks(body, items), {})

        def _send(self, status: int, kind: str, parts: list[str], headers: Mapping[str, str]) -> None:
            data = "".join(parts).encode()
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, name="chat-api", daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _roles() -> dict[str, str]:
    """Give each role by the first line of its instructions."""
    tables = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in _AGENTS.glob("*.toml")}
    return {table["developer_instructions"].strip().partition("\n")[0]: name for name, table in tables.items()}


def _call(body: JSONObject, number: int, roles: Mapping[str, str]) -> Call:
    """Give the call of the Responses API that a bridge made this request from, as far as it can be seen."""
    messages = cast("list[JSONObject]", body["messages"])
    system = next((_text(message) for message in messages if message["role"] == "system"), "")
    role = next((name for line, name in roles.items() if line in system), "")
    outputs: list[JSONValue] = [
        {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": message.get("content")}
        for message in messages
        if message["role"] == "tool"
    ]
    said: list[JSONValue] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _text(message)}]}
        for message in messages
        if message["role"] == "user"
    ]
    metadata: JSONObject = {
        "role": role,
        "purpose": _PURPOSES.get(role, ""),
        "turn": str(1 + len(outputs)),
        "attempt": "1",
    }
    tools: list[JSONValue] = [
        {"type": "function", "name": cast("JSONObject", tool["function"])["name"]}
        for tool in cast("list[JSONObject]", body.get("tools") or [])
    ]
    return Call(number, 1, {"metadata": metadata, "input": [*said, *outputs], "tools": tools}, {})


def _text(message: JSONObject) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _chunks(body: JSONObject, items: object) -> list[str]:
    deltas: list[JSONObject] = [{"role": "assistant", "content": ""}]
    finish = "stop"
    for index, item in enumerate(cast("list[JSONObject]", list(cast("list[JSONObject]", items)))):
        if item["type"] == "function_call":
            called: JSONObject = {"name": item["name"], "arguments": item["arguments"]}
            one: JSONObject = {"index": index, "id": item["call_id"], "type": "function", "function": called}
            deltas.append({"tool_calls": [one]})
            finish = "tool_calls"
        elif item["type"] == "message":
            deltas.append({"content": _text(item)})
    base: JSONObject = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body.get("model")}
    choices: list[JSONValue] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    chunks: list[JSONObject] = [{**base, "choices": [choice]} for choice in choices]
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        counts: JSONObject = {"prompt_tokens": 900, "completion_tokens": 30, "total_tokens": 930}
        chunks.append({**base, "choices": [], "usage": counts})
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
