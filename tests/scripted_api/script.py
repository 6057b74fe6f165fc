"""What a script is made of: calls that come in, replies that go out, faults that stand in for replies."""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from codexteam.core.ids import JSONObject, JSONValue


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as a script sees it."""

    number: int
    """Counted from 1 over the server's life."""
    tries: int
    """Counted from 1 over the requests with this Idempotency-Key (all requests without one count together)."""
    body: JSONObject
    headers: Mapping[str, str]
    """Names in lower case."""

    def _metadata(self, name: str) -> str:
        metadata = self.body.get("metadata") or self._of_codex()
        value = metadata.get(name) if isinstance(metadata, dict) else None
        return value if isinstance(value, str) else ""

    def _of_codex(self) -> JSONValue:
        """Return what Codex sends on for whoever began its turn."""
        sent = self.body.get("client_metadata")
        text = sent.get("x-codex-turn-metadata") if isinstance(sent, dict) else None
        value: JSONValue = json.loads(text) if isinstance(text, str) else None
        return value

    @property
    def role(self) -> str:
        return self._metadata("role")

    @property
    def purpose(self) -> str:
        return self._metadata("purpose")

    @property
    def task_id(self) -> str:
        return self._metadata("task_id")

    @property
    def attempt(self) -> int:
        return int(self._metadata("attempt") or 0)

    @property
    def run_id(self) -> str:
        return self._metadata("run_id")

    @property
    def turn(self) -> int:
        if "metadata" not in self.body:
            return 1 + self._rounds()
        return int(self._metadata("turn") or 0)

    def _rounds(self) -> int:
        """Count how often tools have answered: Codex says at which turn it began, and makes many requests in one."""
        kinds = [str(item.get("type", "")).endswith("_output") for item in self.input]
        return sum(is_output and not before for before, is_output in zip([False, *kinds], kinds, strict=False))

    @property
    def input(self) -> list[JSONObject]:
        value = self.body.get("input")
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    @property
    def outputs(self) -> list[JSONObject]:
        """The tool outputs in the input, oldest first."""
        return [item for item in self.input if str(item.get("type", "")).endswith("_call_output")]


@dataclass(frozen=True, slots=True)
class HttpError:
    """A status instead of an answer."""

    status: int
    code: str = ""
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    """`Retry-After` goes here."""
    body: bytes | None = None
    """The whole body; None makes OpenAI's error object from `code` and `message`."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset before the first byte."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The stream ends too early: in the middle of the last item, or after all items and before the end event."""

    mid_item: bool = False
    clean: bool = False
    """Ended as HTTP wants it, so that only the missing end event tells."""


@dataclass(frozen=True, slots=True)
class Stall:
    """The stream goes quiet before its end event, until the client hangs up."""

    headers_sent: bool = True
    """Without them nothing comes at all."""
    comment_seconds: float | None = None
    """How often a keep-alive comment is sent all the same."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A body of our own, with its status and content type."""

    body: bytes
    content_type: str = "text/event-stream"
    status: int = 200


Fault: TypeAlias = HttpError | Reset | Drop | Stall | Raw


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, or a fault."""

    items: Sequence[JSONObject] = ()
    end: str = "completed"
    """`completed`, `incomplete` or `failed`: the last event's name."""
    reason: str = ""
    """For `incomplete`: `max_output_tokens` or `content_filter`. For `failed`: the error's code."""
    message: str = ""
    """For `failed`: the error's message."""
    fault: Fault | None = None
    usage: bool = True
    """Whether the last event has a usage."""
    output_tokens: int | None = None
    """None counts the items' bytes, four to a token."""
    latency_seconds: float | None = None
    """Before the first byte; None is the server's own."""
    gap_seconds: float = 0.0
    """Between pieces."""
    chunk_bytes: int | None = None
    """The stream is cut into pieces of this size, whatever they cut; None sends each event whole."""
    extra_events: Sequence[bytes] = ()
    """Raw events that are put in before the end event."""
    mangled: Callable[[Sequence[bytes]], Sequence[bytes]] | None = None
    """Gets all events with the end event, each whole, and gives what is sent in their place."""
    told_usage: JSONValue = None
    """Sent as the last event's usage instead of what was counted."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers of the answer, such as `x-ratelimit-*`."""


Played: TypeAlias = Reply | Fault | Sequence[JSONObject]
Script: TypeAlias = Callable[[Call], Played | Awaitable[Played]]

_FAULTS = (HttpError, Reset, Drop, Stall, Raw)


def as_reply(played: Played) -> Reply:
    """Make a reply of what a script gave."""
    if isinstance(played, Reply):
        return played
    if isinstance(played, _FAULTS):
        # a stream that breaks has something in it to break
        items = (message("partial"),) if isinstance(played, Drop | Stall) else ()
        return Reply(items=items, fault=played)
    return Reply(items=tuple(played))


_ids = itertools.count(1)


def message(content: JSONValue) -> JSONObject:
    """A final answer: text as it is, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    part: JSONObject = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": f"msg_{next(_ids)}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def refusal(text: str) -> JSONObject:
    """A message that refuses."""
    item = message("")
    item["content"] = [{"type": "refusal", "refusal": text}]
    return item


def function_call(name: str, arguments: JSONObject | str, *, call_id: str | None = None) -> JSONObject:
    """A call of a function tool; text arguments are sent as they are, also when they are not JSON."""
    number = next(_ids)
    return {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": call_id or f"call_{number}",
        "name": name,
        "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
        "status": "completed",
    }


def custom_call(name: str, text: str, *, call_id: str | None = None) -> JSONObject:
    """A call of a freeform tool."""
    number = next(_ids)
    return {
        "type": "custom_tool_call",
        "id": f"ctc_{number}",
        "call_id": call_id or f"call_{number}",
        "name": name,
        "input": text,
        "status": "completed",
    }


def reasoning(summary: str = "", *, encrypted: str = "gAAAA-scripted") -> JSONObject:
    """A reasoning item with its encrypted content."""
    parts: list[JSONValue] = [{"type": "summary_text", "text": summary}] if summary else []
    return {"type": "reasoning", "id": f"rs_{next(_ids)}", "summary": parts, "encrypted_content": encrypted}


def in_order(*replies: Played) -> Script:
    """Play replies one after the other, whatever is asked; asking for more is a 500."""

    def play(call: Call) -> Played:
        if call.number > len(replies):
            return HttpError(500, message=f"the script has {len(replies)} replies and this is request {call.number}")
        return replies[call.number - 1]

    return play


def script_from_json(document: JSONObject) -> Script:
    """Make a script of a JSON document.

    `{"calls": [{"match": {"role": "...", "purpose": "...", "task_id": "...", "attempt": 1, "turn": 1, "number": 1},
    "replies": [REPLY, ...]}], "otherwise": REPLY}`. The first entry whose `match` fits counts, keys left out fit
    everything; of its replies the one for this try of the call is played, the last one again and again. REPLY is
    `{"items": [{"message": ...} | {"function_call": {"name", "arguments"}} | {"custom_call": {"name", "input"}} |
    {"reasoning": "..."} | {"item": {...}}], "fault": {"kind": "http" | "reset" | "drop" | "stall", ...}}` and
    `Reply`'s plain fields.
    """
    entries = cast("list[JSONObject]", document.get("calls", []))
    otherwise = cast("JSONObject | None", document.get("otherwise"))

    def play(call: Call) -> Played:
        for entry in entries:
            match = cast("JSONObject", entry.get("match", {}))
            if all(getattr(call, name) == wanted for name, wanted in match.items()):
                replies = cast("list[JSONObject]", entry["replies"])
                return _reply(replies[min(call.tries, len(replies)) - 1])
        if otherwise is not None:
            return _reply(otherwise)
        return HttpError(500, message=f"no entry of the script fits {call.body.get('metadata')}")

    return play


def _reply(spec: JSONObject) -> Reply:
    plain = {name: value for name, value in spec.items() if name not in {"items", "fault"}}
    items = tuple(_item(item) for item in cast("Iterable[JSONObject]", spec.get("items", ())))
    fault = _fault(cast("JSONObject", spec["fault"])) if "fault" in spec else None
    return Reply(items=items, fault=fault, **plain)  # type: ignore[arg-type]  # a wrong field fails in its test


def _item(spec: JSONObject) -> JSONObject:
    ((kind, value),) = spec.items()
    match kind:
        case "message":
            return message(value)
        case "refusal":
            return refusal(str(value))
        case "reasoning":
            return reasoning(str(value))
        case "function_call":
            return function_call(**value)  # type: ignore[arg-type]  # a wrong field fails in its test
        case "custom_call":
            fields = cast("dict[str, str]", value)
            return custom_call(fields["name"], fields["input"], call_id=fields.get("call_id"))
        case "item":
            return cast("JSONObject", value)
        case _:
            raise ValueError(f"unknown item {kind!r}")


def _fault(spec: JSONObject) -> Fault:
    fields = {name: value for name, value in spec.items() if name != "kind"}
    kinds: dict[str, Callable[..., Fault]] = {"http": HttpError, "reset": Reset, "drop": Drop, "stall": Stall}
    return kinds[str(spec["kind"])](**fields)
