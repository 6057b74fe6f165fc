"""How long a provider asks us to wait: headers and the text of its errors."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from codexteam.core.governor import Quota

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)(?:ec(?:ond)?s?|in(?:ute)?s?|(?:our|r)s?|ays?)?")
_TRY_AGAIN = re.compile(rf"try again in\s+((?:{_PART.pattern}\s*)+)", re.IGNORECASE)


def duration_seconds(text: str) -> float | None:
    """Read a duration such as `1.5s`, `20ms`, `6m0s` or plain seconds; None when it is none."""
    text = text.strip().lower()
    try:
        return _sensible(float(text))
    except ValueError:
        parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    return _sensible(sum(float(number) * _UNITS[unit] for number, unit in parts))


def retry_after_seconds(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """Read `retry-after-ms` and `Retry-After`, in seconds or as a date; None when neither says anything."""
    milliseconds = duration_seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = duration_seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - wall_seconds)
    except (ValueError, OverflowError):
        return None


def asked_for_seconds(message: str) -> float | None:
    """Read "Please try again in 1.5s" out of an error's text; None when it does not say so."""
    found = _TRY_AGAIN.search(message)
    return duration_seconds(found.group(1)) if found else None


def quotas(headers: Mapping[str, str]) -> tuple[Quota | None, Quota | None]:
    """Read the `x-ratelimit-*` headers: what is left of requests, and of tokens."""
    return _quota(headers, "requests"), _quota(headers, "tokens")


def _quota(headers: Mapping[str, str], what: str) -> Quota | None:
    remaining = headers.get(f"x-ratelimit-remaining-{what}", "")
    reset_seconds = duration_seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
    if not remaining.isdecimal() or reset_seconds is None:
        return None
    return Quota(int(remaining), reset_seconds)


def _sensible(seconds: float) -> float | None:
    # "nan" and "inf" are floats too, and a negative wait is none
    return seconds if 0 <= seconds < float("inf") else None
