"""Why a turn of Codex failed, in the terms of a model call."""

import json
from dataclasses import dataclass
from typing import Final

from codexteam.core.ids import JSONObject, JSONValue
from codexteam.core.text import clean_line
from codexteam.errors import ModelAccessError, UsageLimitError
from codexteam.ports.model import CallFailed, CallFailureKind

_SIGN_IN: Final = "sign in with `codex login`, or give an API key; then `codexteam resume` continues from here"
_LIMIT: Final = "`codexteam resume` continues from here once the limit has reset"
_MODEL: Final = "`codex` shows with /model which models your plan has; then `codexteam resume` continues from here"
#: Codex's words for a failure that the same request would meet again.
_LASTING: Final = frozenset({"badRequest", "contextWindowExceeded", "sandboxError", "threadRollbackFailed"})
#: What Codex has no word for.
_UNNAMED: Final = frozenset({"", "other"})
_FILTERED: Final = frozenset({"cyberPolicy", "bioPolicy", "misalignmentPolicyViolation", "inferenceHookDenied"})
_LIMITS: Final = frozenset({"usageLimitExceeded", "sessionBudgetExceeded"})


@dataclass(frozen=True, slots=True)
class Failed:
    """How a turn failed: a call's end, and the error that ends the run where no other call would fare better."""

    end: CallFailed
    error: ModelAccessError | None = None


def failure_of(turn: JSONObject, resets_at_seconds: float | None = None) -> Failed | None:
    """Return why a turn ended without an answer; None for one that completed.

    `resets_at_seconds` is when the limit of the plan that is used up resets, since the epoch, where that is known.
    """
    status, error = turn.get("status"), turn.get("error")
    if status == "completed":
        return None
    if not isinstance(error, dict):
        return Failed(CallFailed(CallFailureKind.UNAVAILABLE, f"codex ended its turn: {status}", may_be_billed=True))
    message = clean_line(str(error.get("message", "")))
    kind = _kind_of(error.get("codexErrorInfo"))
    if kind in _LIMITS:
        limit = UsageLimitError(
            f"your plan's limit is reached: {message}", hint=_LIMIT, resets_at_seconds=resets_at_seconds
        )
        return Failed(CallFailed(CallFailureKind.UNAVAILABLE, message), limit)
    if kind == "unauthorized":
        lost = ModelAccessError(f"Codex is not signed in, or no longer: {message}", hint=_SIGN_IN)
        return Failed(CallFailed(CallFailureKind.REJECTED, message), lost)
    if kind == "modelNotFound":
        return Failed(CallFailed(CallFailureKind.REJECTED, message), ModelAccessError(message, hint=_MODEL))
    if kind in _FILTERED:
        return Failed(CallFailed(CallFailureKind.FILTERED, message, may_be_billed=True))
    refused = kind in _LASTING or (kind in _UNNAMED and _is_servers_answer(str(error.get("message", ""))))
    lasting = CallFailureKind.REJECTED if refused else CallFailureKind.UNAVAILABLE
    return Failed(CallFailed(lasting, message, may_be_billed=True))


def _is_servers_answer(message: str) -> bool:
    """Whether a message is the body of a server's refusal of the request, status 400: Codex passes that on as it came.

    Of any other status it makes a sentence of its own.
    """
    try:
        body = json.loads(message)
    except ValueError:
        return False
    return isinstance(body, dict) and isinstance(body.get("error"), dict)


def _kind_of(info: JSONValue) -> str:
    """Return the name of Codex's kind: a word, or an object with it as its only key."""
    if isinstance(info, dict):
        return next(iter(info), "")
    return info if isinstance(info, str) else ""
