"""What is stored of calls and workspaces comes back as it was, and so does what older versions stored."""

import json
from pathlib import Path

import pytest

from codexteam.core.budget_amounts import Amount, Usage
from codexteam.core.codec import decode, encode_object
from codexteam.core.ids import CommitId, JSONObject
from codexteam.errors import StoreError, StoreVersionError
from codexteam.ports.model import (
    AnsweredCall,
    CallEnd,
    CallFailed,
    CallFailureKind,
    CallRecord,
    ContextExceeded,
    CutShort,
    ModelAnswer,
)
from codexteam.ports.sandbox import Remark, Snapshot, WorkspaceState

USAGE = Usage(10, 4, 6, 2)
ITEM: JSONObject = {"type": "message", "content": [{"type": "output_text", "text": "äöü 😀"}]}
RECORD = CallRecord("gpt-5", Amount(2_000, None, 5), Amount(1, 2, 3), hand_over=True)
SNAPSHOT = Snapshot("abc", CommitId("0" * 40), Path("/state/turn-1.pack"), 512)

#: As version 0.1 wrote it beside every answer.
CALL = (
    '"call": {"model": "gpt-5", "counted": {"tokens": 2000, "nano_usd": null, "nano_credits": 5}, '
    '"lost": {"tokens": 1, "nano_usd": 2, "nano_credits": 3}, "hand_over": true}'
)
_USAGE = '{"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 6, "reasoning_tokens": 2}'


@pytest.mark.parametrize(
    "end",
    [
        ModelAnswer((ITEM, {"type": "reasoning"}), USAGE, "resp_1"),
        ModelAnswer((), None, refusal="I can't help with that."),
        ModelAnswer((), Usage(10, 4, 6, 2, 12_500_000)),
        CutShort("max_output_tokens", (ITEM,), USAGE),
        CutShort("content_filter"),
        ContextExceeded("too long"),
        ContextExceeded("too long", USAGE, may_be_billed=True),
        CallFailed(CallFailureKind.UNAVAILABLE, "no answer"),
        CallFailed(CallFailureKind.REJECTED, "bad request", USAGE),
        CallFailed(CallFailureKind.UNAVAILABLE, "dropped", may_be_billed=True),
    ],
)
def test_every_end_survives_json(end: CallEnd) -> None:
    call = AnsweredCall(end, RECORD)
    assert decode(AnsweredCall, json.loads(json.dumps(encode_object(call))), "call") == call


@pytest.mark.parametrize(
    ("written", "end"),
    [
        (
            f'{{"version": 1, "end": "answered", "items": [{{"type": "message"}}], "usage": {_USAGE}, '
            f'"response_id": "resp_1", "refusal": null, {CALL}}}',
            ModelAnswer(({"type": "message"},), USAGE, "resp_1"),
        ),
        (
            f'{{"version": 1, "end": "cut_short", "reason": "max_output_tokens", "items": [], "usage": null, {CALL}}}',
            CutShort("max_output_tokens"),
        ),
        (f'{{"version": 1, "end": "context_exceeded", "message": "too long", {CALL}}}', ContextExceeded("too long")),
        (
            f'{{"version": 1, "end": "failed", "kind": "rejected", "message": "no", "usage": null, {CALL}}}',
            CallFailed(CallFailureKind.REJECTED, "no"),
        ),
    ],
)
def test_answers_of_older_versions_are_read(written: str, end: CallEnd) -> None:
    assert decode(AnsweredCall, json.loads(written), "call") == AnsweredCall(end, RECORD)


def test_an_answer_is_written_as_older_versions_read_it() -> None:
    call = AnsweredCall(ModelAnswer(({"type": "message"},), USAGE, "resp_1"), RECORD)
    written = (
        f'{{"version": 1, "end": "answered", "items": [{{"type": "message"}}], "usage": {_USAGE}, '
        f'"response_id": "resp_1", "refusal": null, {CALL}}}'
    )
    assert encode_object(call) == json.loads(written)


@pytest.mark.parametrize(
    ("written", "workspace"),
    [
        (
            '{"tip": "abc", "base": "0000000000000000000000000000000000000000", "pack": "/state/turn-1.pack", '
            '"pack_bytes": 512}',
            WorkspaceState(SNAPSHOT),
        ),
        (
            '{"tip": "abc", "base": "0000000000000000000000000000000000000000", "pack": "/state/turn-1.pack", '
            '"pack_bytes": 512, "remarks": [["big.bin", "too large"]]}',
            WorkspaceState(SNAPSHOT, (Remark("big.bin", "too large"),)),
        ),
        ('{"remarks": [["big.bin", "too large"]]}', WorkspaceState(None, (Remark("big.bin", "too large"),))),
        ("{}", WorkspaceState()),
    ],
)
def test_workspaces_are_written_and_read_as_in_older_versions(written: str, workspace: WorkspaceState) -> None:
    assert decode(WorkspaceState, json.loads(written), "workspace") == workspace
    assert encode_object(workspace) == json.loads(written)


def test_a_missing_usage_is_not_zero() -> None:
    assert encode_object(ModelAnswer((), None))["usage"] is None


def test_an_answer_of_a_newer_version_is_refused() -> None:
    with pytest.raises(StoreVersionError, match="version 99"):
        decode(AnsweredCall, {"version": 99, "end": "vanished"}, "call")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "unknown end None"),
        ({"version": 1, "end": "other"}, "unknown end 'other'"),
        ({"end": "answered", "items": "x", "usage": None}, "call.items: expected a list, found 'x'"),
        ({"end": "answered", "items": []}, "call: usage is missing"),
        ({"end": "answered", "items": [], "usage": {"input_tokens": 1}}, "call.usage: cached_input_tokens is missing"),
        ({"end": "failed", "kind": "nonsense", "message": ""}, "call.kind: expected one of unavailable, rejected"),
        ({"end": "cut_short", "reason": "x"}, "call: call is missing"),
        ({"end": "cut_short", "reason": "x", "call": {"model": "m"}}, "call.call: counted is missing"),
    ],
)
def test_an_answer_that_cannot_be_read_names_its_place(value: JSONObject, problem: str) -> None:
    with pytest.raises(StoreError) as error:
        decode(AnsweredCall, value, "call")
    assert problem in str(error.value)
