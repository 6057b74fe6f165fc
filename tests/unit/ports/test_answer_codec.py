"""What is stored of a call's end comes back as it was."""

import json

import pytest

from codexteam.core.json_types import JSONObject
from codexteam.core.usage import Usage
from codexteam.errors import StoreError, StoreVersionError
from codexteam.ports.answer_codec import decode_answer, encode_answer
from codexteam.ports.model import Answered, CallEnd, CallFailed, ContextExceeded, CutShort, FailureKind

USAGE = Usage(10, 4, 6, 2)
ITEM: JSONObject = {"type": "message", "content": [{"type": "output_text", "text": "äöü 😀"}]}


@pytest.mark.parametrize(
    "end",
    [
        Answered((ITEM, {"type": "reasoning"}), USAGE, "resp_1"),
        Answered((), None, refusal="I can't help with that."),
        CutShort("max_output_tokens", (ITEM,), USAGE),
        CutShort("content_filter"),
        ContextExceeded("too long"),
        ContextExceeded("too long", USAGE, may_be_billed=True),
        CallFailed(FailureKind.UNAVAILABLE, "no answer"),
        CallFailed(FailureKind.REJECTED, "bad request", USAGE),
        CallFailed(FailureKind.UNAVAILABLE, "dropped", may_be_billed=True),
    ],
)
def test_every_end_survives_json(end: CallEnd) -> None:
    assert decode_answer(json.loads(json.dumps(encode_answer(end)))) == end


def test_ends_of_versions_that_did_not_tell_bills_are_read() -> None:
    too_long: JSONObject = {"version": 1, "end": "context_exceeded", "message": "m"}
    assert decode_answer(too_long) == ContextExceeded("m")
    failed: JSONObject = {"version": 1, "end": "failed", "kind": "rejected", "message": "m", "usage": None}
    assert decode_answer(failed) == CallFailed(FailureKind.REJECTED, "m")


def test_a_missing_usage_is_not_zero() -> None:
    assert encode_answer(Answered((), None))["usage"] is None


def test_an_answer_of_a_newer_version_is_refused() -> None:
    with pytest.raises(StoreVersionError, match="version 99"):
        decode_answer({"version": 99, "end": "answered"})


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"version": 1, "end": "other"},
        {"version": 1, "end": "answered", "items": "x", "usage": None, "response_id": "", "refusal": None},
        {
            "version": 1,
            "end": "answered",
            "items": [],
            "usage": {"input_tokens": 1},
            "response_id": "",
            "refusal": None,
        },
        {"version": 1, "end": "failed", "kind": "nonsense", "message": "", "usage": None},
    ],
)
def test_an_answer_that_cannot_be_read_is_one_error(value: JSONObject) -> None:
    with pytest.raises(StoreError):
        decode_answer(value)
