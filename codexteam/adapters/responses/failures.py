"""What a failure means: an end, a denial that stops the run, or something to try again. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from codexteam.adapters.responses.waiting import asked_for_seconds, retry_after_seconds
from codexteam.core.json_types import JSONValue
from codexteam.core.usage import Usage
from codexteam.ports.model import CallFailed, ContextExceeded, FailureKind

#: Of a provider's own words this much is shown.
_MAX_MESSAGE = 600

_CONTEXT_CODES = frozenset({"context_length_exceeded", "context_window_exceeded", "string_above_max_length"})
_CONTEXT_WORDS = ("context length", "context window", "maximum context", "prompt is too long")
_QUOTA_CODES = frozenset(
    {"insufficient_quota", "usage_limit_reached", "usage_not_included", "billing_hard_limit_reached", "quota_exceeded"}
)
_MODEL_CODES = frozenset({"model_not_found", "unknown_model", "model_not_available", "unsupported_model"})
_KEY_CODES = frozenset({"invalid_api_key", "account_deactivated", "unsupported_country_region_territory"})
_NO_METADATA = re.compile(
    r"(?=.*\bmetadata\b).*(unknown|unsupported|not supported|unrecogni[sz]ed|unexpected|not (permitted|allowed)|extra)",
    re.IGNORECASE,
)
_RATE_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "slow_down"})
#: Codes of a failed stream that will be the same again. All others are worth another try.
_FINAL_PREFIXES = ("invalid_", "unsupported_", "content_policy", "cyber_policy", "image_", "string_", "array_", "bio_")


class Phase(Enum):
    """How far a try had come; each has a count of its own."""

    OPENING = auto()
    """No stream yet: refused, reset, a status."""
    STREAM = auto()
    """The stream broke, stalled or failed."""
    RATE = auto()
    """Told to slow down. Waited out, not counted."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """A failure that another try may not meet."""

    phase: Phase
    reason: str
    wait_seconds: float | None = None
    """What the provider asked for; None when it did not say."""
    kind: FailureKind = FailureKind.UNAVAILABLE
    """What the call's failure is when there are no more tries."""
    usage: Usage | None = None
    """What this try is billed, where the provider said so."""


class Denial(Enum):
    """Why a provider will not serve us at all."""

    KEY = auto()
    PERMISSION = auto()
    MODEL = auto()
    QUOTA = auto()
    ADDRESS = auto()
    METADATA = auto()
    """It does not know `metadata`, which every request has."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A failure that every other call would meet as well."""

    denial: Denial
    message: str


Failure: TypeAlias = TryAgain | Denied | ContextExceeded | CallFailed


def from_status(status: int, headers: Mapping[str, str], body: bytes, *, wall_seconds: float) -> Failure:
    """Classify a status that is no 2xx. `headers` are looked up in lower case."""
    code, message = read_error(body)
    said = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    wait_seconds = retry_after_seconds(headers, wall_seconds)
    if 300 <= status < 400:
        return Denied(Denial.ADDRESS, f"HTTP {status}: redirected to {_clip(headers.get('location', 'nowhere'))}")
    denial = _denial(status, code, message)
    if denial is not None:
        return Denied(denial, said)
    match status:
        case 429:
            return TryAgain(Phase.RATE, said, asked_for_seconds(message) if wait_seconds is None else wait_seconds)
        case 408 | 409 | 425:
            return TryAgain(Phase.OPENING, said, wait_seconds)
        case 413:
            return ContextExceeded(said)
        case _ if status >= 500:
            return TryAgain(Phase.OPENING, said, wait_seconds)
        case _ if _speaks_of_context(code, message):
            return ContextExceeded(said)
        case _:
            return CallFailed(FailureKind.REJECTED, said)


def _denial(status: int, code: str, message: str) -> Denial | None:
    if code in _QUOTA_CODES or status == 402:
        return Denial.QUOTA
    if status == 401 or code in _KEY_CODES:
        return Denial.KEY
    if code in _MODEL_CODES or _speaks_of_unknown_model(status, message):
        return Denial.MODEL
    if status in (400, 422) and _NO_METADATA.search(message):
        return Denial.METADATA
    return {403: Denial.PERMISSION, 404: Denial.ADDRESS}.get(status)


def from_error_object(error: JSONValue, *, usage: Usage | None = None) -> Failure:
    """Classify the error of `response.failed` or of an `error` event."""
    fields = error if isinstance(error, dict) else {}
    code = str(fields.get("code") or fields.get("type") or "")
    message = _clip(str(fields.get("message") or ""))
    said = ": ".join(part for part in (code, message) if part) or "the model failed without a reason"
    if code in _QUOTA_CODES:
        return Denied(Denial.QUOTA, said)
    if code in _KEY_CODES:
        return Denied(Denial.KEY, said)
    if code in _MODEL_CODES:
        return Denied(Denial.MODEL, said)
    if _speaks_of_context(code, message):
        return ContextExceeded(said, usage)
    if code in _RATE_CODES:
        return TryAgain(Phase.RATE, said, asked_for_seconds(message), usage=usage)
    if code.startswith(_FINAL_PREFIXES):
        return CallFailed(FailureKind.REJECTED, said, usage)
    return TryAgain(Phase.STREAM, said, asked_for_seconds(message), usage=usage)


def unreadable(reason: str) -> TryAgain:
    """Classify an answer that is not what the API promises: a proxy's page, broken JSON. It may pass."""
    return TryAgain(Phase.STREAM, reason, kind=FailureKind.PROTOCOL)


def read_error(body: bytes) -> tuple[str, str]:
    """Give code and message of an error's body; the body itself where it is no error object."""
    text = body[:65_536].decode("utf-8", errors="replace")
    try:
        parsed: JSONValue = json.loads(body)
    except (ValueError, RecursionError):
        return "", _clip(text)
    if not isinstance(parsed, dict):
        return "", _clip(text)
    error = parsed.get("error", parsed.get("detail", parsed))
    if isinstance(error, dict):
        code = error.get("code") or error.get("type") or ""
        message = error.get("message") or error.get("detail") or text
        return str(code), _clip(str(message))
    return "", _clip(str(error))


def _speaks_of_unknown_model(status: int, message: str) -> bool:
    lowered = message.lower()
    if status not in (400, 404) or "model" not in lowered:
        return False
    return any(words in lowered for words in ("does not exist", "not found", "unknown model", "model is not supported"))


def _speaks_of_context(code: str, message: str) -> bool:
    lowered = message.lower()
    return code in _CONTEXT_CODES or any(words in lowered for words in _CONTEXT_WORDS)


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"
