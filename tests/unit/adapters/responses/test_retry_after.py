"""How long a provider asks us to wait."""

import pytest

from codexteam.adapters.responses.retry_after import asked_for_seconds, duration_seconds, quotas, retry_after_seconds
from codexteam.ports.model import Quota

NOON = 1_795_003_200.0  # Wed, 18 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1),
        ("1.5", 1.5),
        ("1.5s", 1.5),
        ("20ms", 0.02),
        ("6m0s", 360),
        ("1h2m3s", 3723),
        ("2 minutes", 120),
        ("0", 0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("5 apples", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 18 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Wed, 18 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "whenever"}, None),
        ({"retry-after": "Wed, 99 Nov 2026 11:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOON) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.5s. Visit us.", 1.5),
        ("please try again in 20ms", 0.02),
        ("Try again in 1m30s.", 90),
        ("Try again in 2 minutes", 120),
        ("Try again later", None),
    ],
)
def test_what_an_error_says(message: str, seconds: float | None) -> None:
    assert asked_for_seconds(message) == (None if seconds is None else pytest.approx(seconds))


def test_quota_headers_are_read_where_they_are_whole() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m",
        "x-ratelimit-remaining-tokens": "many",
        "x-ratelimit-reset-tokens": "1m",
    }
    assert quotas(headers) == (Quota(0, 60), None)
    assert quotas({"x-ratelimit-remaining-requests": "5"}) == (None, None)
