"""One answer out of its events: what to pass on while it comes, and how it ends. Pure."""

import json
from typing import Final, TypeAlias

from codexteam.adapters.responses.event_stream import ServerEvent
from codexteam.adapters.responses.failures import Denial, Denied, Failure, TryAgain, from_error_object, unreadable
from codexteam.core.budget_amounts import Usage, nano
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.ports.model import CallFailed, CallFailureKind, CutShort, ItemDone, ModelAnswer, TextDelta

AnswerEnd: TypeAlias = ModelAnswer | CutShort | Failure

#: The largest item that is taken; an 8 MB answer must come through, an endless one must not.
MAX_ITEM_BYTES: Final = 16 << 20
#: The last event repeats all items.
MAX_EVENT_BYTES: Final = 4 * MAX_ITEM_BYTES
_MAX_ITEMS: Final = 1000
#: A count that is larger counts nothing, and is more than can be stored.
_MOST_TOKENS: Final = 1 << 53
#: No call costs as much.
_MOST_USD: Final = 1e6

_DELTA = "response.output_text.delta"
_ITEM_DONE = "response.output_item.done"
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
#: The only events whose data is parsed.
_IN_USE = _ENDS | {_DELTA, _ITEM_DONE}


class AnswerReader:
    """Takes events; gives items and text as they come. `end` is set by the event that ends the answer."""

    def __init__(self, wall_seconds: float = 0.0) -> None:
        """`wall_seconds` is the moment that "in ten minutes" counts from."""
        self.end: AnswerEnd | None = None
        self._wall_seconds = wall_seconds
        self._items: dict[tuple[JSONValue, JSONValue], JSONObject] = {}
        self._item_bytes = 0

    @property
    def late_items(self) -> tuple[JSONObject, ...]:
        """What the end brought without an event of its own before."""
        return self.end.items if isinstance(self.end, ModelAnswer) and not self._items else ()

    def read(self, event: ServerEvent) -> ItemDone | TextDelta | None:
        """Take one event. Events after the end and events of unknown types give nothing."""
        if self.end is not None or (event.name and event.name not in _IN_USE):
            return None
        if event.data == b"[DONE]":
            return None
        try:
            data = _parse(event)
        except (ValueError, RecursionError) as error:
            self.end = unreadable(f"the event {event.name or 'without a name'} is not JSON: {error}")
            return None
        kind = event.name or _scalar(data.get("type"))
        if kind is None and "error" in data:
            kind = "error"  # as bridges say it whose server failed on the way
        if kind == _DELTA:
            delta = data.get("delta")
            return TextDelta(delta) if isinstance(delta, str) and delta else None
        if kind == _ITEM_DONE:
            return self._item_done(data, len(event.data))
        if kind in _ENDS:
            self.end = self._read_end(str(kind), data)
        elif kind is None and str(data.get("object", "")).startswith("chat.completion"):
            self.end = Denied(Denial.ADDRESS, "it answers with chat completions")
        return None

    def read_last(self, event: ServerEvent | None) -> None:
        """Take what a stream ended in: an end event that lacks its empty line counts, a truncated one does not."""
        if event is None:
            return
        self.read(event)
        if isinstance(self.end, TryAgain) and self.end.kind is CallFailureKind.PROTOCOL:
            self.end = None

    def read_whole(self, body: bytes) -> None:
        """Take an answer from a server that does not stream: one object, as at the end of a stream."""
        try:
            response: JSONValue = json.loads(body, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return
        if isinstance(response, dict) and response.get("object") == "response":
            status = response.get("status")
            kind = f"response.{status}" if status in {"failed", "incomplete"} else "response.completed"
            self.end = self._read_end(kind, {"response": _without_surrogates(response)})

    def _item_done(self, data: JSONObject, size: int) -> ItemDone | None:
        item = data.get("item")
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            self.end = unreadable("an output item has no type")
            return None
        self._item_bytes += size
        if size > MAX_ITEM_BYTES or self._item_bytes > MAX_EVENT_BYTES or len(self._items) >= _MAX_ITEMS:
            self.end = CallFailed(
                CallFailureKind.PROTOCOL,
                f"the answer is larger than is taken ({self._item_bytes:,} bytes in {len(self._items) + 1} items; "
                f"an item may have {MAX_ITEM_BYTES:,} bytes, an answer {MAX_EVENT_BYTES:,} in {_MAX_ITEMS})",
            )
            return None
        place = (_scalar(data.get("output_index")), _scalar(item.get("id") or item.get("call_id")))
        if place != (None, None) and place in self._items:
            # said twice is meant once: a tool call must not run twice
            return None
        self._items[(len(self._items), None) if place == (None, None) else place] = item
        # arguments that were cut must never run, and only the answer's end may show that they were
        return None if item.get("status") == "incomplete" else ItemDone(item)

    def _read_end(self, kind: str, data: JSONObject) -> AnswerEnd:
        if kind == "error":
            nested = data.get("error")
            return self._failure(nested if isinstance(nested, dict | str) else data)
        response = data.get("response")
        if not isinstance(response, dict):
            return unreadable(f"{kind} has no response")
        usage = read_usage(response.get("usage"))
        if kind == "response.failed":
            return self._failure(response.get("error"), usage)
        items = tuple(self._items.values()) or _items_of(response)
        if kind == "response.incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            return CutShort(str(reason or "unknown"), items, usage)
        if any(item.get("status") == "incomplete" and "call_id" in item for item in items):
            return CutShort("incomplete_tool_call", items, usage)
        response_id = response.get("id")
        return ModelAnswer(items, usage, response_id if isinstance(response_id, str) else "", _refusal(items))

    def _failure(self, error: JSONValue, usage: Usage | None = None) -> Failure:
        fields: JSONValue = {"message": error} if isinstance(error, str) else error
        return from_error_object(fields, usage=usage, wall_seconds=self._wall_seconds)


def read_usage(value: JSONValue) -> Usage | None:
    """Return the tokens of an answer; None when the server did not say, or not in a way that can be counted."""
    if not isinstance(value, dict):
        return None
    tokens_in, tokens_out = _count(value.get("input_tokens")), _count(value.get("output_tokens"))
    # every request has input: a zero is a bridge's way of not knowing
    if not tokens_in or tokens_out is None:
        return None
    cached = _detail(value, "input_tokens_details", "cached_tokens")
    reasoning = _detail(value, "output_tokens_details", "reasoning_tokens")
    # a part is never more than the whole, whatever a server says: money is computed from it
    charged = _charged_nano_usd(value.get("cost"))
    return Usage(tokens_in, min(cached, tokens_in), tokens_out, min(reasoning, tokens_out), charged)


def _charged_nano_usd(cost: JSONValue) -> int | None:
    """Read a gateway's cost in dollars; a zero is said by those that do not know the price."""
    is_number = isinstance(cost, int | float) and not isinstance(cost, bool)
    return nano(cost) if is_number and 0 < cost < _MOST_USD else None  # type: ignore[operator,arg-type]  # a number


def _parse(event: ServerEvent) -> JSONObject:
    # a lone surrogate is legal JSON and breaks everything that writes UTF-8 later; pairs are joined by the parser
    text = event.text()
    data: JSONValue = json.loads(text, parse_constant=_no_number)
    if "\\ud" in text or "\\uD" in text:
        data = _without_surrogates(data)
    if not isinstance(data, dict):
        raise ValueError(f"an object was expected, not {type(data).__name__}")  # noqa: TRY004 - one kind of bad data
    return data


def _no_number(name: str) -> JSONValue:
    # the parser takes what JSON does not have, and the next request could not be written
    raise ValueError(f"{name} is not JSON")


def _without_surrogates(value: JSONValue) -> JSONValue:
    match value:
        case str():
            return value.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="replace")
        case list():
            return [_without_surrogates(part) for part in value]
        case dict():
            return {str(_without_surrogates(name)): _without_surrogates(part) for name, part in value.items()}
        case _:
            return value


def _items_of(response: JSONObject) -> tuple[JSONObject, ...]:
    # servers that send no item events repeat all items at the end
    output = response.get("output")
    return tuple(item for item in output if isinstance(item, dict)) if isinstance(output, list) else ()


def _refusal(items: tuple[JSONObject, ...]) -> str | None:
    contents = (item.get("content") for item in items)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    said = [str(part.get("refusal", "")) for part in parts if isinstance(part, dict) and part.get("type") == "refusal"]
    return "\n".join(said) if said else None


def _detail(usage: JSONObject, group: str, name: str) -> int:
    details = usage.get(group)
    return (_count(details.get(name)) if isinstance(details, dict) else None) or 0


def _count(value: JSONValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS else None


def _scalar(value: JSONValue) -> JSONValue:
    # keys must be hashable, whatever a server sends
    return value if isinstance(value, int | str) else None
