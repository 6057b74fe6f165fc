"""Whatever a server streams, cut wherever: events, then one end or none; never an exception, never half an item."""

import json
from itertools import pairwise

import pytest
from hypothesis import strategies as st

from codexteam.adapters.responses.answer import AnswerReader
from codexteam.adapters.responses.event_stream import EventStream, EventTooLongError
from codexteam.adapters.responses.failures import Denied, NotTaken, TryAgain
from codexteam.ports.model import CallFailed, ContextExceeded, CutShort, ItemDone, ModelAnswer, TextDelta
from tests.fuzz.mutations import ByteEdit, byte_edits, edited_bytes
from tests.fuzz.running import TIMEOUT, fuzz, require

pytestmark = [TIMEOUT, pytest.mark.slow]

_MAX_EVENT_BYTES = 1 << 16

_WORDS = """
    type item output_index response usage output status error id content call_id delta message code function_call
    completed incomplete in_progress input_tokens output_tokens input_tokens_details cached_tokens
    output_tokens_details reasoning_tokens arguments incomplete_details reason max_output_tokens refusal
    output_text
""".split()  # noqa: SIM905 - forty words read best as a text
_NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
_SCALAR = st.none() | st.booleans() | _NUMBERS | st.sampled_from(_WORDS) | st.text(max_size=6)
_JSON = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=5),
    max_leaves=14,
)
_KINDS = st.sampled_from(
    [
        "response.output_text.delta", "response.output_item.done", "response.output_item.done", "response.completed",
        "response.incomplete",
        "response.failed", "error", "response.created", "", "x",
    ]
)  # fmt: skip
_CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}
_USAGE = {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 9}}
_GOOD = [
    ("response.output_item.done", {"type": "response.output_item.done", "output_index": 0, "item": _CALL}),
    ("response.output_item.done", {"output_index": 1, "item": {**_CALL, "id": "fc_2", "status": "incomplete"}}),
    ("response.output_text.delta", {"delta": "\ud83d \u00e9"}),
    ("response.completed", {"response": {"id": "r", "usage": _USAGE, "output": [_CALL]}}),
    ("response.incomplete", {"response": {"incomplete_details": {"reason": "max_output_tokens"}, "usage": _USAGE}}),
    ("response.failed", {"response": {"error": {"code": "rate_limit_exceeded", "message": "Try again in 5s"}}}),
    ("error", {"error": {"code": None, "message": 3, "param": []}}),
]
_EVENT = st.tuples(_KINDS, _JSON) | st.sampled_from(_GOOD)
_ENDINGS = ["\n", "\r\n", "\r"]
_ENDING = st.sampled_from(_ENDINGS)
_ENDS: dict[str, tuple[str, object]] = {
    "no end": _GOOD[2],
    "answered": _GOOD[3],
    "cut short": _GOOD[4],
    "try again": _GOOD[5],
    "failed": ("response.failed", {"response": {"error": {"code": "invalid_prompt", "message": "It is not allowed"}}}),
}
#: What comes before an end and changes nothing about it, as a call whose arguments were cut would.
_BEFORE_END = [_GOOD[0], _GOOD[2]]
_WHOLE = st.tuples(st.lists(st.sampled_from(_BEFORE_END), max_size=4), st.sampled_from([*_ENDS.values()]))
_STREAM = st.tuples(
    # events by chance end most streams early, as what nobody can read: whole streams are made on purpose
    st.lists(_EVENT, max_size=8) | _WHOLE.map(lambda whole: [*whole[0], whole[1]]),
    _ENDING,
    st.lists(st.integers(0, 5000), max_size=10),
    st.one_of(st.just([]), st.just([]), byte_edits()),
)


def _bytes_of(events: list[tuple[str, object]], ending: str) -> bytes:
    out = []
    for kind, data in events:
        lines = [f"event: {kind}"] if kind else [": comment"]
        out.append(ending.join([*lines, f"data: {json.dumps(data)}", "", ""]))
    return "".join(out).encode()


def _play(pieces: list[bytes]) -> tuple[AnswerReader, list[ItemDone | TextDelta]]:
    stream, reader = EventStream(max_event_bytes=_MAX_EVENT_BYTES), AnswerReader()
    given: list[ItemDone | TextDelta] = []
    for piece in pieces:
        for event in stream.feed(piece):
            passed = reader.read(event)
            if passed is not None:
                given.append(passed)
    reader.read_last(stream.finish())
    return reader, given


def _holds(case: tuple[list[tuple[str, object]], str, list[int], list[ByteEdit]]) -> str:
    events, ending, cuts, edits = case
    whole = edited_bytes(_bytes_of(events, ending), edits)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    try:
        reader, given = _play([whole[start:end] for start, end in pairwise(places)])
    except EventTooLongError:
        return "too long"
    once, given_once = _play([whole])
    require(repr(reader.end) == repr(once.end), "where it is cut changes nothing")
    require(repr(given) == repr(given_once), "where it is cut changes nothing that is passed on")
    for passed in given:
        if isinstance(passed, ItemDone):
            require(isinstance(passed.item.get("type"), str), "an item has a type")
            require(passed.item.get("status") != "incomplete", "arguments that were cut are never given on")
            json.dumps(passed.item, allow_nan=False).encode()
    match reader.end:
        case None:
            return "no end"
        case ModelAnswer(items, usage):
            json.dumps(items, allow_nan=False, ensure_ascii=False).encode()
            cut = any(item.get("status") == "incomplete" and "call_id" in item for item in items)
            require(not cut, "an answer has no tool call that was cut")
            if usage is not None:
                require(0 <= usage.cached_input_tokens <= usage.input_tokens, "a part is no more than the whole")
                require(0 <= usage.reasoning_tokens <= usage.output_tokens, "a part is no more than the whole")
            return "answered"
        case CutShort():
            return "cut short"
        case CallFailed() | ContextExceeded() | NotTaken():
            return "failed"
        case Denied():
            return "denied"
        case TryAgain():
            return "try again"


@pytest.mark.parametrize("word", _ENDS)
def test_each_end_of_a_stream_is_met_wherever_it_is_cut(word: str) -> None:
    for ending in _ENDINGS:
        for events in ([_ENDS[word]], [*_BEFORE_END, _ENDS[word]], [*_BEFORE_END, _ENDS[word], _GOOD[0]]):
            for cut in range(len(_bytes_of(events, ending))):
                assert _holds((events, ending, [cut], [])) == word, (events, ending, cut)


def test_any_stream_ends_in_a_known_way_wherever_it_is_cut() -> None:
    met = fuzz("event stream", _STREAM, _holds, short=400)
    assert all(met[word] > 5 for word in ("no end", "answered", "try again")), met
