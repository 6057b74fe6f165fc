"""What a failure means: an end, a denial that stops the run, or something to try again. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from codexteam.adapters.responses.error_body import ServerError, clip, from_object, read_error
from codexteam.adapters.responses.retry_after import asked_for_seconds, retry_after_seconds
from codexteam.core.budget_amounts import Usage
from codexteam.core.ids import JSONValue
from codexteam.ports.model import CallFailed, CallFailureKind, ContextExceeded

_CONTEXT_CODES = frozenset({"context_length_exceeded", "context_window_exceeded", "string_above_max_length"})
_CONTEXT_WORDS = ("context length", "context window", "maximum context", "prompt is too long")
_LIMIT_CODES = frozenset({"usage_limit_reached", "usage_limit_exceeded"})
_PLAN_CODES = frozenset({"usage_not_included"})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded", "insufficient_credits"})
_MODEL_CODES = frozenset(
    {
        "model_not_found",
        "unknown_model",
        "model_not_available",
        "unsupported_model",
        "DeploymentNotFound",
        "invalid_model",
    }
)
_KEY_CODES = frozenset({"invalid_api_key", "account_deactivated", "unsupported_country_region_territory"})
_FILTER_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "content_policy",
        "cyber_policy",
        "ResponsibleAIPolicyViolation",
        "moderation_blocked",
        "content_moderation",
        "data_inspection_failed",
        "DataInspectionFailed",
        "sensitive_words_detected",
    }
)
_FILTER_WORDS = re.compile(
    r"content (management|filter|moderation) polic|content.?filter|responsible ?ai|flagged (as|by|for) .{0,60}"
    r"(policy|moderation|violat)|violat\w+ .{0,40}(usage|content|safety) polic|blocked by .{0,30}(guardrail|moderation|safety)",
    re.IGNORECASE,
)
#: What is not there is a path, not a model, whatever else the words hold.
_NO_PATH = re.compile(
    r"\b(path|url|uri|route|endpoint|page|resource|method|operation|api[ -]version)\b[^.;]{0,100}"
    r"(not found|not exist|n't exist|unknown|unsupported|not supported|not allowed|no match|not implemented|only for)"
    r"|(unknown|invalid|no such|unexpected|unsupported|no matching) (request )?(path|url|uri|route|endpoint|operation)\b"
    r"|cannot (post|get) /|no route|only for api-version|enabled only for",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"(?<![/\w])models?\b(?![/\w])[^;\n]{0,200}?(not exist|n't exist|not found|unknown|is not supported|not supported by|"
    r"not available|no longer available|not loaded|isn't loaded|not served|decommissioned|has been deprecated)"
    r"|(unknown|invalid|no such|unsupported|unrecogni[sz]ed|nonexistent) model\b(?! ?(parameter|path))|not a valid model"
    r"|no endpoints found for|try pulling it|invalid model name|deployment\b[^.]{0,80}(not exist|not found)",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"(does not|doesn't|not) support (the use of )?(tool|function)s?\b|support tool use|tool choice requires|"
    r"(tools?|function.?call\w*) (is|are) not (supported|enabled|available|allowed)",
    re.IGNORECASE,
)
_RATE_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "slow_down"})
_PARAMETERS = re.compile(
    r"UnsupportedParams|does not support parameters|(unknown|unsupported|unrecogni[sz]ed|unexpected|extra(neous)?)\b.{0,30}"
    r"\b(param(eter)?|argument|field|key|propert(y|ies)|inputs?)\b|extra inputs",
    re.IGNORECASE,
)
#: Codes of a failed stream that will be the same again. All others are worth another try.
_FINAL_PREFIXES = ("invalid_", "unsupported_", "content_policy", "cyber_policy", "image_", "string_", "array_", "bio_")


class Phase(Enum):
    """How far a try had come; each has a count of its own."""

    OPENING = auto()
    """No stream yet: refused, reset, a status."""
    STREAM = auto()
    """The stream broke, stalled or failed."""
    RATE = auto()
    """The server asked us to slow down. Waited out, not counted."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """A failure that another try may not meet."""

    phase: Phase
    reason: str
    wait_seconds: float | None = None
    """What the provider asked for; None when it did not say."""
    kind: CallFailureKind = CallFailureKind.UNAVAILABLE
    """What the call's failure is when there are no more tries."""
    usage: Usage | None = None
    """What this try is billed, where the provider said so."""


class Denial(Enum):
    """Why a provider will not serve us at all."""

    KEY = auto()
    PERMISSION = auto()
    MODEL = auto()
    QUOTA = auto()
    LIMIT = auto()
    """What the plan of an account includes is used up for a while."""
    PLAN = auto()
    """The plan of an account does not include this."""
    ADDRESS = auto()
    TOOLS = auto()
    """The model cannot call functions."""
    REQUEST = auto()
    """It refuses what no agent can work without."""


#: What is read out of an error's words, and so may be about something else after all.
_BY_WORDS = frozenset({Denial.MODEL, Denial.ADDRESS, Denial.TOOLS})


@dataclass(frozen=True, slots=True)
class Denied:
    """A failure that every other call would meet as well."""

    denial: Denial
    message: str
    resets_at_seconds: float | None = None
    """Of a limit: when it ends, in seconds since 1970."""
    plan: str = ""
    """Of a limit: the account's plan."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The request itself is not taken as it is; without the part of it that the error is about it may be."""

    error: ServerError
    end: CallFailed | ContextExceeded | Denied
    """What it is if there is no such part."""

    @property
    def usage(self) -> Usage | None:
        """Return what it is billed, where the server said so."""
        return None if isinstance(self.end, Denied) else self.end.usage


Failure: TypeAlias = TryAgain | Denied | NotTaken | ContextExceeded | CallFailed


def from_status(
    status: int, headers: Mapping[str, str], body: bytes, *, wall_seconds: float, sent_bytes: int = 0
) -> Failure:
    """Classify a status that is not a 2xx. `headers` are looked up in lower case."""
    error = read_error(body)
    said = f"HTTP {status}: {error.message}" if error.message else f"HTTP {status}"
    wait_seconds = retry_after_seconds(headers, wall_seconds)
    if 300 <= status < 400:
        return Denied(Denial.ADDRESS, f"HTTP {status}: redirected to {clip(headers.get('location', 'nowhere'))}")
    if status in (403, 429) and (error.is_page or "cf-mitigated" in headers):
        # a gate in front of the server took us for something else; that passes
        return TryAgain(Phase.OPENING, f"{said}{_who(headers)}", wait_seconds)
    denial = _denial_by_code(error) or _denial_by_status(status, error)
    if denial is not None:
        denied = _denied(denial, said, error, wait_seconds, wall_seconds)
        return NotTaken(error, denied) if status in (400, 422) and denial in _BY_WORDS else denied
    match status:
        case 429:
            asked = asked_for_seconds(error.message) if wait_seconds is None else wait_seconds
            return TryAgain(Phase.RATE, said, asked)
        case 408 | 409 | 425:
            return TryAgain(Phase.OPENING, said, wait_seconds)
        case 413:
            return ContextExceeded(f"the request of {sent_bytes:,} bytes is larger than the server takes: {said}")
        case _ if status >= 500 and not _names_parameters(error):
            return TryAgain(Phase.OPENING, said, wait_seconds)
        case _:
            return _refused(error, said)


def _denial_by_code(error: ServerError) -> Denial | None:
    for codes, denial in (
        (_LIMIT_CODES, Denial.LIMIT),
        (_PLAN_CODES, Denial.PLAN),
        (_QUOTA_CODES, Denial.QUOTA),
        (_KEY_CODES, Denial.KEY),
        (_MODEL_CODES, Denial.MODEL),
    ):
        if error.codes & codes:
            return denial
    return None


def _denial_by_status(status: int, error: ServerError) -> Denial | None:
    if status == 401:
        return Denial.KEY
    if status == 402:
        return Denial.QUOTA
    if status in (405, 501):
        return Denial.ADDRESS
    if status not in (400, 403, 404, 422) or _is_filtered(error) or _speaks_of_context(error):
        return None
    if status != 403:
        if _NO_TOOLS.search(error.message):
            return Denial.TOOLS
        if _NO_PATH.search(error.message):
            return Denial.ADDRESS
    if _NO_MODEL.search(error.message):
        return Denial.MODEL
    return {403: Denial.PERMISSION, 404: Denial.ADDRESS}.get(status)


def _denied(denial: Denial, said: str, error: ServerError, wait_seconds: float | None, wall_seconds: float) -> Denied:
    if denial is not Denial.LIMIT:
        return Denied(denial, said)
    at, after, plan = (error.fields.get(name) for name in ("resets_at", "resets_in_seconds", "plan_type"))
    if _is_number(at):
        resets_at: float | None = float(at)  # type: ignore[arg-type]  # `_is_number`
    elif _is_number(after):
        resets_at = wall_seconds + float(after)  # type: ignore[arg-type]  # `_is_number`
    else:
        asked = asked_for_seconds(error.message) if wait_seconds is None else wait_seconds
        resets_at = None if asked is None else wall_seconds + asked
    return Denied(denial, said, resets_at, clip(plan) if isinstance(plan, str) else "")


def _refused(error: ServerError, said: str, usage: Usage | None = None) -> Failure:
    if _is_filtered(error):
        return CallFailed(CallFailureKind.FILTERED, f"the server's content filter refused the request: {said}", usage)
    end = (
        ContextExceeded(said, usage) if _speaks_of_context(error) else CallFailed(CallFailureKind.REJECTED, said, usage)
    )
    return NotTaken(error, end)


def from_error_object(error: JSONValue, *, usage: Usage | None = None, wall_seconds: float = 0.0) -> Failure:
    """Classify the error of `response.failed` or of an `error` event."""
    read = from_object(error) if isinstance(error, dict) else ServerError()
    code, message = read.code, read.message
    said = ": ".join(part for part in (code, message) if part) or "the model failed without a reason"
    denial = _denial_by_code(read)
    if denial is not None:
        return _denied(denial, said, read, None, wall_seconds)
    if _speaks_of_context(read) or _is_filtered(read):
        return _refused(read, said, usage)
    if code in _RATE_CODES:
        return TryAgain(Phase.RATE, said, asked_for_seconds(message), usage=usage)
    if code.startswith(_FINAL_PREFIXES) or _names_parameters(read):
        return _refused(read, said, usage)
    return TryAgain(Phase.STREAM, said, asked_for_seconds(message), usage=usage)


def from_plain_answer(content_type: str, body: bytes) -> Failure:
    """Classify a 200 whose body is not an event stream, in the server's own words."""
    error = read_error(body)
    kind = content_type.partition(";")[0].strip() or "a body without a type"
    said = f"HTTP 200 with {kind} in place of an event stream: {error.message or 'nothing'}"
    if str(error.fields.get("object", "")).startswith("chat.completion"):
        return Denied(Denial.ADDRESS, "it answers with chat completions")
    denial = _denial_by_code(error)
    if denial is None and "error" in error.fields and _NO_PATH.search(error.message):
        denial = Denial.ADDRESS
    if denial is not None:
        return _denied(denial, said, error, None, 0.0)
    return _refused(error, said) if _names_parameters(error) else unreadable(said)


def names_parameters(refused: NotTaken) -> bool:
    """Return whether a refusal is about a part of the request, and not about what is in it."""
    return _names_parameters(refused.error)


def unreadable(reason: str) -> TryAgain:
    """Classify an answer that is not what the API promises: a proxy's page, broken JSON. It may pass."""
    return TryAgain(Phase.STREAM, reason, kind=CallFailureKind.PROTOCOL)


def _names_parameters(error: ServerError) -> bool:
    """Whether an error is about a part of the request, whatever its status: bridges answer 500 for a 400 behind them."""
    return bool(_PARAMETERS.search(error.message)) or any(code.startswith("unsupported_param") for code in error.codes)


def _is_filtered(error: ServerError) -> bool:
    return bool(error.codes & _FILTER_CODES) or bool(_FILTER_WORDS.search(error.message))


def _speaks_of_context(error: ServerError) -> bool:
    lowered = error.message.lower()
    return bool(error.codes & _CONTEXT_CODES) or any(words in lowered for words in _CONTEXT_WORDS)


def _who(headers: Mapping[str, str]) -> str:
    return " (Cloudflare)" if "cf-ray" in headers or headers.get("server", "").lower() == "cloudflare" else ""


def _is_number(value: JSONValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
