"""How long a service asks to wait: in headers that providers and gateways name differently, and in an error's words. Pure."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from codexteam.ports.model import Quota

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)(?:ec(?:ond)?s?|in(?:ute)?s?|(?:our|r)s?|ays?)?")
#: A number of seconds from this on is a moment, not a duration: the year 2001.
_LONG_AGO_SECONDS = 1e9
_TRY_AGAIN = re.compile(
    rf"(?:try again|retry|wait|resets?)(?:ing)?\s+(?:in|after|for)\s+((?:{_PART.pattern}\s*)+)", re.IGNORECASE
)
#: What gateways put before the name of a header that they pass on from the server behind them.
_PASSED_ON = ("", "llm_provider-", "x-llm_provider-", "x-upstream-", "upstream-", "x-provider-", "x-")
#: Headers that say when requests are taken again, where nothing else does: seconds, a duration or a date.
_RESETS = ("x-ratelimit-reset-after", "ratelimit-reset", "x-ratelimit-reset", "x-ratelimit-retry-after")


def duration_seconds(text: str) -> float | None:
    """Read a duration such as `1.5s`, `20ms`, `6m0s` or plain seconds; None if it is not a duration."""
    text = text.strip().lower()
    try:
        return _sensible(float(text))
    except ValueError:
        parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    return _sensible(sum(float(number) * _UNITS[unit] for number, unit in parts))


def retry_after_seconds(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """Read how long to wait: `retry-after-ms` and `Retry-After`, in seconds or as a date, the server's own first.

    Gateways pass on what the server behind them said under names of their own, such as `llm_provider-retry-after`.
    """
    for prefix in _PASSED_ON:
        seconds = _retry_after(headers, prefix, wall_seconds)
        if seconds is not None:
            return seconds
    said = (_moment_seconds(headers.get(name, ""), wall_seconds) for name in _RESETS)
    return next((seconds for seconds in said if seconds is not None), None)


def _retry_after(headers: Mapping[str, str], prefix: str, wall_seconds: float) -> float | None:
    milliseconds = duration_seconds(headers.get(f"{prefix}retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get(f"{prefix}retry-after", "")
    seconds = duration_seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - wall_seconds)
    except (ValueError, OverflowError):
        return None


def _moment_seconds(text: str, wall_seconds: float) -> float | None:
    """Read a duration, or a moment in seconds or milliseconds since 1970, as the seconds from now on."""
    seconds = duration_seconds(text)
    if seconds is None or seconds < _LONG_AGO_SECONDS:
        return seconds
    since_1970 = seconds / 1000 if seconds > _LONG_AGO_SECONDS * 1000 else seconds
    return max(0.0, since_1970 - wall_seconds)


def asked_for_seconds(message: str) -> float | None:
    """Read "Please try again in 1.5s" out of an error's text; None when it does not say so."""
    found = _TRY_AGAIN.search(message)
    return duration_seconds(found.group(1)) if found else None


def quotas(headers: Mapping[str, str]) -> tuple[Quota | None, Quota | None]:
    """Read the `x-ratelimit-*` headers: what is left of requests, and of tokens."""
    return _quota(headers, "requests"), _quota(headers, "tokens")


def _quota(headers: Mapping[str, str], what: str) -> Quota | None:
    for prefix in _PASSED_ON:
        remaining = headers.get(f"{prefix}x-ratelimit-remaining-{what}", "")
        reset_seconds = duration_seconds(headers.get(f"{prefix}x-ratelimit-reset-{what}", ""))
        if remaining.isdecimal() and reset_seconds is not None:
            return Quota(int(remaining), reset_seconds)
    return None


def _sensible(seconds: float) -> float | None:
    # "nan" and "inf" are floats too, and a negative wait is not a wait
    return seconds if 0 <= seconds < float("inf") else None
