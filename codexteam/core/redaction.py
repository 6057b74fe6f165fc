"""Secrets taken out of text before it is stored, shown or sent: known values first, then what looks like a key."""

import base64
import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import TypeAlias, TypeVar, cast
from urllib.parse import quote, quote_plus

from codexteam.core.ids import JSONObject, JSONValue

T = TypeVar("T")

#: What stands where a secret was.
REDACTED = "[redacted]"

#: Shorter values are not looked for: they stand in too much text that has nothing to do with them.
MIN_VALUE_CHARACTERS = 8

#: Of a value of several lines each line this long counts by itself, since keys are often printed indented.
_MIN_LINE_CHARACTERS = 20

#: The longest that a key of one word can be: a JSON web token.
_LONGEST_KEY_CHARACTERS = 24_600
#: What a stream must remember of what it let out, to see a key that begins there: `Bearer ` is the longest beginning.
_BEFORE_CHARACTERS = 9

_Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a kind of key looks like: a text that is cheap to look for, and what must stand around it."""

    trigger: str
    pattern: re.Pattern[str]
    """Matched where the trigger begins; the group `secret`, or else all of the match, is taken out."""


#: What stands before no key.
_NO_WORD = "(?<![A-Za-z0-9])"


def _shape(trigger: str, rest: str) -> _Shape:
    """Return the shape of a key that is one word."""
    return _Shape(trigger, re.compile(_NO_WORD + re.escape(trigger) + rest))


_LONG = "{20,8192}"
_WORDS = (
    # OpenAI, Anthropic and those who follow them; a digit distinguishes a key from a style sheet's class
    _shape("sk-", rf"(?=[A-Za-z_-]{{0,32}}[0-9])[A-Za-z0-9_-]{_LONG}"),
    *(_shape(f"gh{kind}_", rf"[A-Za-z0-9_]{_LONG}") for kind in "pousr"),  # GitHub
    _shape("github_pat_", rf"[A-Za-z0-9_]{_LONG}"),
    _shape("glpat-", rf"[A-Za-z0-9_.-]{_LONG}"),  # GitLab
    *(_shape(prefix, "[A-Z0-9]{16}(?![A-Za-z0-9])") for prefix in ("AKIA", "ASIA")),  # AWS
    _shape("AIza", "[A-Za-z0-9_-]{35}"),  # Google
    *(_shape(f"xox{kind}-", "[A-Za-z0-9-]{10,1024}") for kind in "abeoprs"),  # Slack
    *(_shape(f"{kind}k_{mode}_", rf"[A-Za-z0-9]{_LONG}") for kind in "rs" for mode in ("live", "test")),  # Stripe
    _shape("npm_", "[A-Za-z0-9]{36}"),
    _shape("pypi-", "[A-Za-z0-9_-]{50,1024}"),
    _shape("hf_", rf"[A-Za-z0-9]{_LONG}"),  # Hugging Face
    _shape(
        "eyJ", r"(?<![_-]eyJ)[A-Za-z0-9_-]{10,8192}\.eyJ[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{10,8192}"
    ),  # a JSON web token
    *(_shape(word, rf"(?P<secret>[A-Za-z0-9._~+/-]{_LONG}={{0,2}})") for word in ("Bearer ", "bearer ")),
)
_SHAPES = (
    *_WORDS,
    _Shape(  # user and password in a URL
        "://",
        re.compile(r"://[^\s/:@\[\]]{1,64}:(?P<secret>[^\s/@\[\]]{3,256})@"),
    ),
    _Shape(
        "-----BEGIN ",
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
            r"(?:(?:(?!-----)[\s\S]){0,16384}-----END [A-Z ]{0,40}PRIVATE KEY-----|[\sA-Za-z0-9+/=\\]{0,16384})"
        ),
    ),
)
#: Whether any shape can be there at all: one look instead of one for each.
_TRIGGERS = re.compile("|".join(re.escape(shape.trigger) for shape in _SHAPES))

# Below: what may become a secret by what follows the end of a text.
#: What a key of one word is made of.
_WORD_CHARACTERS = f"{string.ascii_letters}{string.digits}._~+/=-"
_BEGINS_WORD = re.compile(f"{_NO_WORD}(?:{'|'.join(re.escape(shape.trigger) for shape in _WORDS)})")
_OPEN_URL = re.compile(r"://[^\s/:@\[\]]{1,64}(?::[^\s/@\[\]]{0,256})?\Z")
_LONGEST_URL_CHARACTERS = len("://") + 64 + len(":") + 256
_OPEN_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,52}"
    r"(?:-{0,5}|(?<=PRIVATE KEY)-----(?:(?!-----)[\s\S]){0,16384}(?:-----E?N?D?[A-Z ]{0,53}-{0,4})?)\Z"
)
#: The beginning of a trigger that is part of the secret.
_PART_OF_TRIGGER = re.compile(
    "|".join(
        f"{'' if shape.trigger.startswith('-') else _NO_WORD}{re.escape(shape.trigger[:size])}\\Z"
        for shape in _SHAPES
        if "secret" not in shape.pattern.groupindex
        for size in range(len(shape.trigger) - 1, 0, -1)
    )
)


class Redactor:
    """Knows the secrets of a run. Give it every value that must not get out; it finds them in other guises too."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = tuple(values)
        guises = {guise for value in self.values for guise in _guises(value)}
        self._guises = tuple(sorted(guises, key=lambda guise: (-len(guise), guise)))
        self._any_guise = re.compile("|".join(map(re.escape, self._guises))) if self._guises else None
        # a user and a password in a URL are the shortest shape
        self._shortest = min([len("://u:pwd@"), *map(len, self._guises)])

    def __repr__(self) -> str:
        return f"Redactor({len(self._guises)} guises)"

    def unfinished_from(self, text: str) -> int:
        """Return where the end of an unfinished text may begin a secret; the text's length if nowhere."""
        found = [_open_word(text), self._open_value(text)]
        url = _OPEN_URL.search(text, max(0, len(text) - _LONGEST_URL_CHARACTERS))
        # five dashes end a key, so that one before another has ended
        private_key = _OPEN_PRIVATE_KEY.match(text, max(0, text.rfind("-----BEGIN ")))
        part = _PART_OF_TRIGGER.search(text, max(0, len(text) - len("-----BEGIN ")))
        return min(found + [match.start() for match in (url, private_key, part) if match])

    def _open_value(self, text: str) -> int:
        # no guise is shorter than that
        sizes = range(min(MIN_VALUE_CHARACTERS - 1, len(text)), 0, -1)
        short = (size for size in sizes if any(guise.startswith(text[-size:]) for guise in self._guises))
        found = [len(text) - next(short, 0)]
        for guise in self._guises:
            head = guise[:MIN_VALUE_CHARACTERS]
            at = text.find(head, max(0, len(text) - len(guise) + 1))
            while at >= 0 and not guise.startswith(text[at:]):
                at = text.find(head, at + 1)
            if at >= 0:
                found.append(at)
        return min(found)

    def redact(self, text: str) -> str:
        """Return the text with `[redacted]` for every secret in it; what touches or overlaps becomes one."""
        return _cut_out(text, self.spans(text), 0, len(text))

    def redact_json(self, value: JSONValue) -> JSONValue:
        """Return the value with every text in it redacted, keys included."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, list):
            return [self.redact_json(item) for item in value]
        if isinstance(value, dict):
            return self.redact_object(value)
        return value

    def redact_object(self, value: JSONObject) -> JSONObject:
        """Return the object with every text in it redacted, keys included."""
        return {self.redact(key): self.redact_json(item) for key, item in value.items()}

    def stream(self) -> "RedactedStream":
        """Return a redactor for one text that comes in pieces."""
        return RedactedStream(self)

    def spans(self, text: str, *, first: int = 0) -> list[_Span]:
        """Return where the secrets are, in order, as (start, end), none touching another; none that begins before `first`."""
        found: list[_Span] = []
        if len(text) < self._shortest:
            return found
        if self._any_guise is not None and self._any_guise.search(text):
            found.extend(span for guise in self._guises for span in _occurrences(text, guise, first))
        if _TRIGGERS.search(text):
            for shape in _SHAPES:
                found.extend(_matches(text, shape, first))
        merged: list[_Span] = []
        for start, end in sorted(found):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


class RedactedStream:
    """One text that comes in pieces. What `feed` and `finish` give, put together, is the text redacted."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text = ""
        """The last characters that were let out, and behind them what was not: a key may begin in these."""
        self._let_out = 0
        """How many they are."""

    def feed(self, piece: str) -> str:
        """Take a piece; give all but what may be the beginning of a secret."""
        self._text += piece
        spans = self._spans()
        cut = max(self._redactor.unfinished_from(self._text), self._let_out)
        for start, end in spans:
            # also what ends there: what follows may touch it
            if start < cut <= end:
                cut = start
        return self._give(cut, spans)

    def finish(self, piece: str = "") -> str:
        """Take the last piece; give the rest."""
        self._text += piece
        return self._give(len(self._text), self._spans())

    def _spans(self) -> list[_Span]:
        # of what stands before the first character nothing is remembered
        first = 0 if self._let_out < _BEFORE_CHARACTERS else 1
        spans = self._redactor.spans(self._text, first=first)
        return [(max(start, self._let_out), end) for start, end in spans if end > self._let_out]

    def _give(self, end: int, spans: list[_Span]) -> str:
        out = _cut_out(self._text, [span for span in spans if span[1] <= end], self._let_out, end)
        forgotten = max(0, end - _BEFORE_CHARACTERS)
        self._text = self._text[forgotten:]
        self._let_out = end - forgotten
        return out


def _open_word(text: str) -> int:
    """Return where a key of one word begins that the end of the text belongs to; the text's length if there is none."""
    word = max(len(text.rstrip(_WORD_CHARACTERS)), len(text) - _LONGEST_KEY_CHARACTERS)
    begins = _BEGINS_WORD.finditer(text, max(0, word - len("Bearer ")))
    return next((begin.start() for begin in begins if begin.end() >= word), len(text))


def _cut_out(text: str, spans: list[_Span], position: int, upto: int) -> str:
    """Return a part of the text, the spans in it replaced."""
    parts: list[str] = []
    for start, end in spans:
        parts += [text[position:start], REDACTED]
        position = end
    parts.append(text[position:upto])
    return "".join(parts)


def _occurrences(text: str, guise: str, first: int) -> Iterator[_Span]:
    at = text.find(guise, first)
    while at >= 0:
        yield at, at + len(guise)
        at = text.find(guise, at + 1)


def _matches(text: str, shape: _Shape, first: int) -> Iterator[_Span]:
    at = text.find(shape.trigger, first)
    while at >= 0:
        match = shape.pattern.match(text, at)
        if match is None:
            at = text.find(shape.trigger, at + 1)
            continue
        yield match.span("secret" if "secret" in shape.pattern.groupindex else 0)
        at = text.find(shape.trigger, match.end())


def _guises(value: str) -> Iterator[str]:
    value = value.strip()
    if len(value) < MIN_VALUE_CHARACTERS:
        return
    yield value
    for line in value.splitlines():
        if len(line.strip()) >= _MIN_LINE_CHARACTERS:
            yield line.strip()
    raw = value.encode(errors="surrogateescape")
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        yield from _base64_guises(raw, encode)
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), quoted)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield raw.hex()
    yield raw.hex().upper()


def _base64_guises(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """Return what `raw` looks like in base64 wherever it begins in what was encoded, such as behind a user's name."""
    for offset in range(3):
        encoded = encode(bytes(offset) + raw).decode()
        # only the characters that no neighbouring byte has a part in
        first = -(-offset * 8 // 6)
        last = (offset + len(raw)) * 8 // 6
        yield encoded[first:last]


def redact_texts(value: T, redact: Callable[[str], str]) -> T:
    """Return an event or an answer with every text in it redacted; the same object where nothing had to be taken out."""
    return cast("T", _redacted_value(value, redact))


def _redacted_value(value: object, redact: Callable[[str], str]) -> object:
    match value:
        case Enum():  # a word of ours, though many are texts
            return value
        case str():
            return redact(value)
        case tuple():
            items = tuple(_redacted_value(item, redact) for item in value)
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        case Mapping():
            table = {key: _redacted_value(item, redact) for key, item in value.items()}
            return table if any(table[key] is not value[key] for key in table) else value
        case _ if is_dataclass(value) and not isinstance(value, type):
            changed = {
                field.name: new
                for field in fields(value)
                if (new := _redacted_value(old := getattr(value, field.name), redact)) is not old
            }
            return replace(value, **changed) if changed else value
        case _:
            return value
