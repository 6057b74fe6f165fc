"""No secret gets through, whatever it is wrapped in and however the text is cut."""

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.redaction import MIN_VALUE_CHARACTERS, REDACTED, Redactor

# what begins no other secret's look-alike and can't appear in the replacement
_SECRET = st.text(alphabet="ABCDEFGHKLMNOP0123456789!%&/+= äß\n\"'", min_size=12, max_size=40).filter(
    lambda value: len(value.strip()) >= 12 and value.strip() not in REDACTED
)
_TEXT = st.text(alphabet="abcxyz .\n,-_:/", max_size=60)

#: Shaped like keys, and no keys.
_KEYS = [
    "sk-proj-" + "a1B2" * 10,
    "sk-ant-api03-" + "Zz9_" * 12,
    "sk-" + "0123456789abcdef" * 2,
    "ghp_" + "a1" * 18,
    "github_pat_" + "A1_b" * 10,
    "glpat-" + "x1" * 12,
    "AKIA" + "ABCD1234" * 2,
    "AIza" + "abcde" * 7,
    "xoxb-" + "1234567-abcdef",
    "sk_live_" + "a1" * 12,
    "npm_" + "a1" * 18,
    "pypi-" + "AgEI" * 20,
    "hf_" + "aB" * 17,
    "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0" + "." + "c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]

#: What is secret in them is only a part.
_IN_PART = ["Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "https://user:s3cret-word@example.org/x"]


@given(_SECRET, _TEXT, _TEXT)
def test_a_known_value_is_taken_out_in_every_guise(secret: str, before: str, after: str) -> None:
    value = secret.strip()
    guises = [
        value,
        base64.b64encode(value.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
        quote(value, safe=""),
        quote_plus(value),
        quote(value, safe="").lower() if value == value.lower() else quote(value),
        json.dumps(value)[1:-1],
        value.encode().hex(),
    ]
    redactor = Redactor([secret])
    for guise in guises:
        redacted = redactor.redact(f"{before}<{guise}>{after}")
        assert guise not in redacted
        assert REDACTED in redacted


@given(_SECRET, st.text(alphabet="abc:", min_size=1, max_size=9))
def test_a_value_inside_longer_base64_is_taken_out(secret: str, user: str) -> None:
    value = secret.strip()
    encoded = base64.b64encode(f"{user}{value}{user}".encode()).decode()
    redacted = Redactor([value]).redact(f"Authorization: Basic {encoded}")
    assert REDACTED in redacted
    # of the value's own characters at most those at its two borders are left
    assert len(redacted) <= len("Authorization: Basic ") + len(REDACTED) + 2 * (len(user) * 4 // 3 + 4)


@given(st.lists(_SECRET, max_size=3), _TEXT, st.lists(st.sampled_from(_KEYS + _IN_PART), max_size=3), st.data())
def test_a_stream_gives_what_the_whole_text_gives(
    secrets: list[str], filler: str, keys: list[str], data: st.DataObject
) -> None:
    parts = data.draw(st.permutations([*secrets, *keys, filler, filler * 5, " "]))
    text = data.draw(st.sampled_from([" ", "", "\n", "=", "-", "x", "://"])).join(parts)
    redactor = Redactor(secrets)
    stream = redactor.stream()
    out, position = "", 0
    while position < len(text):
        size = data.draw(st.integers(1, 80))
        out += stream.feed(text[position : position + size])
        position += size
    assert out + stream.finish() == redactor.redact(text)


@pytest.mark.parametrize("key", [*_KEYS, *_IN_PART])
def test_a_key_in_three_pieces_is_taken_out_wherever_they_end(key: str) -> None:
    redactor = Redactor()
    text = f"x {key} y"
    for first in range(len(text)):
        for second in range(first, len(text), 5):
            stream = redactor.stream()
            pieces = (text[:first], text[first:second], text[second:])
            assert "".join(map(stream.feed, pieces)) + stream.finish() == redactor.redact(text), pieces


@given(st.sampled_from(_KEYS), st.data())
def test_what_has_not_ended_is_not_let_out(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(key)))
    stream = Redactor(["correct horse battery staple"]).stream()
    assert stream.feed(f"the key is {key[:at]}") in {"the key is ", f"the key is {REDACTED}"}


@pytest.mark.parametrize(
    "prompt",
    ["Password:", "Continue? [y/N] ", ">>> ", "(gdb) ", "yes", "the task", "press any key", "https:", "12 % done"],
)
def test_a_prompt_is_let_out_at_once(prompt: str) -> None:
    assert Redactor(["correct horse battery staple", "0f4Q-value"]).stream().feed(prompt) == prompt


def test_a_known_value_that_has_begun_is_not_let_out() -> None:
    stream = Redactor(["correct horse battery staple"]).stream()
    assert stream.feed("password=correct hor") == "password="
    assert stream.feed("se battery staple\n") == f"{REDACTED}\n"
    assert stream.feed("it was correct") == "it was "
    assert stream.feed(", I think\n") == "correct, I think\n"
    assert stream.finish() == ""


@given(st.lists(st.text(max_size=MIN_VALUE_CHARACTERS - 1)), _TEXT)
def test_short_and_empty_values_change_nothing(values: list[str], text: str) -> None:
    assert Redactor(values).redact(text) == Redactor().redact(text)


@given(_TEXT)
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert Redactor(["correct horse battery staple"]).redact(text) == text


@pytest.mark.parametrize("key", _KEYS)
def test_what_looks_like_a_key_is_taken_out(key: str) -> None:
    redactor = Redactor()
    assert redactor.redact(f"key={key}") == f"key={REDACTED}"
    assert redactor.redact(f'{{"key":"{key}"}}') == f'{{"key":"{REDACTED}"}}'
    assert redactor.redact(key) == REDACTED


@pytest.mark.parametrize(
    "text",
    [
        "task-force-one-two-three-four-five",
        "sk-folding-cube-animation-delay-slow",
        "risk-0123456789012345678901234567",
        "Bearer of bad news",
        "https://example.org:8080/path@2",
        "-----BEGIN CERTIFICATE-----\nMIIEow\n-----END CERTIFICATE-----",
        "AKIAbc",
        "commit 0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_what_is_no_key_stays(text: str) -> None:
    assert Redactor().redact(text) == text


def test_only_the_secret_part_is_taken_out() -> None:
    assert Redactor().redact("Authorization: Bearer abcdefghijklmnopqrstuvwxyz") == f"Authorization: Bearer {REDACTED}"
    assert Redactor().redact("https://user:s3cret@example.org/x") == f"https://user:{REDACTED}@example.org/x"


def test_a_private_key_that_was_cut_off_is_taken_out_as_far_as_it_goes() -> None:
    assert Redactor().redact("-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabcd") == REDACTED


def test_overlapping_secrets_leave_no_part_of_either() -> None:
    assert Redactor(["abcdefgh1234", "1234ijklmnop"]).redact("abcdefgh1234ijklmnop") == REDACTED


def test_each_long_line_of_a_value_counts_by_itself() -> None:
    value = "first line that is long enough\nsecond line that is long enough"
    redacted = Redactor([value]).redact("    second line that is long enough\n")
    assert redacted == f"    {REDACTED}\n"


def test_json_is_redacted_in_depth_and_keeps_its_shape() -> None:
    redactor = Redactor(["0123456789abc"])
    assert redactor.redact_json(
        {"a": ["x 0123456789abc", 1, None, True, 1.5], "0123456789abc": {"b": json.dumps({"k": "0123456789abc"})}}
    ) == {"a": [f"x {REDACTED}", 1, None, True, 1.5], REDACTED: {"b": f'{{"k": "{REDACTED}"}}'}}


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert "0123456789abc" not in repr(Redactor(["0123456789abc"]))


_COSTLY = ["the quick brown fox\n", "x", "sk-", "sk-a-", "eyJ", "Bearer ", "://a:b", "-----BEGIN RSA PRIVATE KEY-----"]


@pytest.mark.parametrize("unit", [*_COSTLY, "-eyJ" + "a" * 30, "eyJ" + "a" * 8000 + "."])
def test_the_time_grows_with_the_text_and_not_faster(unit: str) -> None:
    redactor = Redactor([f"value-{number}-{'x' * 30}" for number in range(10)])
    text = unit * ((1 << 20) // len(unit))
    start = time.process_time()
    redactor.redact(text)
    # an eighth of 8 MB; a quadratic search would take minutes
    assert time.process_time() - start < 2


@pytest.mark.parametrize("unit", [*_COSTLY, "-----BEGIN ", "-----END PRIVATE KEY-----", "-"])
def test_looking_for_what_has_begun_takes_no_time_to_speak_of(unit: str) -> None:
    redactor = Redactor(["sk-" * 10_000, "-" * 10_000 + "x"])
    text = unit * (200_000 // len(unit))
    start = time.process_time()
    for ending in ("", " x", "-----END PRIVATE KEY----- x", "\n\n"):
        redactor.unfinished_from(text + ending)
    # on the loop at each look at a running command; a quadratic search took a second and more for a tenth of it
    assert time.process_time() - start < 0.5
