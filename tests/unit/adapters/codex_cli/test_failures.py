"""What a turn of Codex that failed means for a run."""

import pytest

from codexteam.adapters.codex_cli.failures import failure_of
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.ports.model import CallFailureKind


def _turn(info: JSONValue, message: str = "because") -> JSONObject:
    return {"status": "failed", "error": {"message": message, "codexErrorInfo": info}}


def test_a_turn_that_completed_did_not_fail() -> None:
    assert failure_of({"status": "completed", "error": None}) is None


@pytest.mark.parametrize("info", ["usageLimitExceeded", "sessionBudgetExceeded"])
def test_a_limit_of_the_plan_ends_the_run_until_it_resets(info: str) -> None:
    failed = failure_of(_turn(info))
    assert failed is not None
    assert isinstance(failed.error, UsageLimitError)
    assert failed.error.exit_code == 4


@pytest.mark.parametrize("info", ["unauthorized", "modelNotFound"])
def test_what_no_other_call_can_mend_ends_the_run(info: str) -> None:
    failed = failure_of(_turn(info))
    assert failed is not None
    assert isinstance(failed.error, ModelAccessError)
    assert "codexteam resume" in failed.error.hint


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        ("serverOverloaded", CallFailureKind.UNAVAILABLE),
        ({"responseStreamDisconnected": {"httpStatusCode": None}}, CallFailureKind.UNAVAILABLE),
        ("contextWindowExceeded", CallFailureKind.REJECTED),
        ("badRequest", CallFailureKind.REJECTED),
        ("cyberPolicy", CallFailureKind.FILTERED),
        ("a kind of tomorrow", CallFailureKind.UNAVAILABLE),
        (None, CallFailureKind.UNAVAILABLE),
    ],
)
def test_other_failures_are_the_calls_own(info: JSONValue, kind: CallFailureKind) -> None:
    failed = failure_of(_turn(info, "a\nmessage"))
    assert failed is not None
    assert failed.error is None
    assert (failed.end.kind, failed.end.message, failed.end.may_be_billed) == (kind, "a\\nmessage", True)


def test_an_interrupted_turn_may_have_been_billed() -> None:
    failed = failure_of({"status": "interrupted", "error": None})
    assert failed is not None
    assert failed.end.may_be_billed


@pytest.mark.parametrize(
    ("info", "message", "kind"),
    [
        ("other", '{"error": {"message": "This call is refused.", "code": "invalid_value"}}', CallFailureKind.REJECTED),
        (None, '{"error": {"message": "This call is refused."}}', CallFailureKind.REJECTED),
        ("other", "unexpected status 502 Bad Gateway: {}", CallFailureKind.UNAVAILABLE),
        ("other", '{"error": "words"}', CallFailureKind.UNAVAILABLE),
        ("serverOverloaded", '{"error": {"message": "Later."}}', CallFailureKind.UNAVAILABLE),
    ],
)
def test_a_servers_refusal_of_a_request_is_not_an_outage(info: JSONValue, message: str, kind: CallFailureKind) -> None:
    failed = failure_of(_turn(info, message))
    assert failed is not None
    assert failed.end.kind is kind
