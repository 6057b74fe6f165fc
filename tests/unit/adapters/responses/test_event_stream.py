"""Events out of bytes that are cut anywhere."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.adapters.responses.answer import AnswerReader
from codexteam.adapters.responses.event_stream import EventStream, EventTooLongError, ServerEvent


def _read(pieces: list[bytes], max_event_bytes: int = 1 << 20) -> list[tuple[str, bytes]]:
    stream = EventStream(max_event_bytes=max_event_bytes)
    events = [event for piece in pieces for event in stream.feed(piece)]
    last = stream.finish()
    return [(event.name, event.data) for event in ([*events, last] if last else events)]


def test_an_event_is_its_name_and_its_data() -> None:
    assert _read([b"event: a\ndata: 1\n\ndata:2\n\n"]) == [("a", b"1"), ("", b"2")]


def test_lines_of_data_are_joined() -> None:
    assert _read([b"data: 1\ndata: 2\ndata\n\n"]) == [("", b"1\n2\n")]


def test_comments_ids_and_empty_lines_are_no_events() -> None:
    assert _read([b": ping\n\n\n\nid: 4\nretry: 100\n\nevent: lonely\n\n"]) == []


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_all_line_endings_are_known(ending: bytes) -> None:
    text = ending.join([b"event: a", b"data: 1", b"", b"data: 2", b"", b""])
    for at in range(len(text)):
        assert _read([text[:at], text[at:]]) == [("a", b"1"), ("", b"2")]


def test_a_byte_order_mark_is_skipped() -> None:
    assert _read([b"\xef\xbb\xbfdata: 1\n\n"]) == [("", b"1")]


def test_an_event_that_is_cut_at_the_end_is_given_as_it_is() -> None:
    assert _read([b"data: 1\n\nevent: b\nda", b"ta: 2"]) == [("", b"1"), ("b", b"2")]


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert ServerEvent("", b"a\xffb").text() == "a\ufffdb"


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: 1\n" * 200, b"x" * 200])
def test_an_event_without_end_is_refused(data: bytes) -> None:
    stream = EventStream(max_event_bytes=100)
    with pytest.raises(EventTooLongError):
        stream.feed(data)


_line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(_line, _line), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_cuts_change_nothing(events: list[tuple[str, str]], cuts: list[int]) -> None:
    whole = "".join(f"event: {name}\ndata: {data}\n\n" for name, data in events).encode()
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(places)]
    assert _read(pieces) == [(name, data.encode()) for name, data in events]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_garbage_never_raises(pieces: list[bytes]) -> None:
    stream = EventStream(max_event_bytes=1 << 20)
    reader = AnswerReader()
    for piece in pieces:
        for event in stream.feed(piece):
            reader.read(event)
    reader.read_last(stream.finish())


_KEYS = ["type", "item", "output_index", "response", "usage", "output", "status", "error", "id", "content", "call_id"]
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)
_KINDS = ["response.output_item.done", "response.completed", "response.incomplete", "response.failed", "error", "x", ""]


@given(st.lists(st.tuples(st.sampled_from(_KINDS), _json), max_size=6))
def test_json_of_any_shape_never_raises(events: list[tuple[str, object]]) -> None:
    reader = AnswerReader()
    for kind, data in events:
        reader.read(ServerEvent(kind, json.dumps(data).encode()))
    assert isinstance(reader.late_items, tuple)
