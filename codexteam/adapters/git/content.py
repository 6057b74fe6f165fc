"""What may be added to files: no credentials, no invisible characters; only lines that are new are judged.

`SecretScanner` finds what looks like a credential in lines. `ContentPolicy` reads the changed files, in pieces under a
deadline, and also finds the very values of secrets that this run was given.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeAlias

from codexteam.adapters.git.runner import GitDeadline
from codexteam.core.paths import show
from codexteam.ports.repo import TreeChange, Violation

_Matcher: TypeAlias = Callable[[str], Iterable[str]]
"""Gives the credentials in a text."""

#: Formats that the library has no pattern for: name to expression. Each repetition is bounded, because the text is
#: hostile: an expression that looks ahead to the end of the text from each place takes hours over a few megabytes.
_OWN = {
    "OpenAI key": r"sk-[A-Za-z0-9_-]{20,160}T3BlbkFJ[A-Za-z0-9_-]{20}",
    "Anthropic key": r"sk-ant-[a-z]{3,5}[0-9]{2}-[A-Za-z0-9_-]{80}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Hugging Face token": r"\bhf_[A-Za-z]{34}\b",
    "OpenRouter key": r"sk-or-v1-[0-9a-f]{64}\b",
    "GitHub fine-grained token": r"github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}\b",
    "GitLab token": r"gl(?:pat|dt|rt|ptt|cbt|agent)-[0-9A-Za-z_-]{20}",
    "PyPI token": r"pypi-AgE[A-Za-z0-9_-]{50}",
    "private key": r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----",
}
#: The library's detectors: module and class.
_LIBRARY = (
    ("aws", "AWSKeyDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("npm", "NpmDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("twilio", "TwilioKeyDetector"),
)
_CHUNK_CHARACTERS = 1 << 16
_OVERLAP_CHARACTERS = 512
#: Bidirectional controls, zero-width characters inside text, and invisible tags: what hides code from its reader.
#: The joiners U+200C and U+200D and the marks U+200E and U+200F are ordinary in several scripts and in emoji, a byte
#: order mark at the start is an editor's; they are left alone.
_INVISIBLE = re.compile("[\u200b\u202a-\u202e\u2060-\u2069\U000e0000-\U000e007f]|(?<!^)\ufeff|\x1b")
_BINARY_LOOK_BYTES = 8000
#: A value shorter than this is in ordinary text by chance.
_MIN_SECRET_CHARACTERS = 8
_LINES_PER_CHECK = 2000
_PIECE_BYTES = 1 << 15
_OVERLAP_BYTES = 512
ReadBlob = Callable[[str], bytes | None]
#: Says whether one file of the base holds all of these texts.
InBase = Callable[[tuple[str, ...]], bool]
_KEY_BEGINS = "-----BEGIN"
_KEY_ENDS = b"-----END"
_KEY_HEADER = b"PRIVATE KEY"
#: Of a key of several lines: how far it can reach, and how its lines are recognised.
_KEY_BYTES = 16_384
_KEY_PART = re.compile(rb"[A-Za-z0-9+/=]{16,}")


@dataclass(frozen=True, slots=True)
class SecretHit:
    """One credential: its kind and the line it stands in, counted from 1."""

    kind: str
    line: int
    value: str = field(default="", repr=False)
    """The credential itself, or how it begins; for comparing alone."""


class SecretScanner:
    """Scans lines for credentials; the library is imported at the first use."""

    def scan(self, lines: Iterable[tuple[int, str]]) -> Iterator[SecretHit]:
        """Return what numbered lines hold, each credential of a line once.

        Args:
            lines: line numbers and lines; very long lines are looked at in overlapping pieces.
        """
        seen: set[SecretHit] = set()
        for chunk in _chunks(lines):
            joined = "\n".join(line for _, line in chunk)
            for kind, matches in _matchers():
                if next(iter(matches(joined)), None) is None:
                    continue
                for number, line in chunk:
                    found = {SecretHit(kind, number, value) for value in matches(line)} - seen
                    seen |= found
                    yield from sorted(found, key=lambda hit: hit.value)


def _chunks(lines: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    chunk: list[tuple[int, str]] = []
    size = 0
    for number, line in lines:
        for start in range(0, max(len(line), 1), _CHUNK_CHARACTERS):
            piece = line[max(start - _OVERLAP_CHARACTERS, 0) : start + _CHUNK_CHARACTERS]
            chunk.append((number, piece))
            size += len(piece)
            if size >= _CHUNK_CHARACTERS:
                yield chunk
                chunk, size = [], 0
    if chunk:
        yield chunk


def load_matchers() -> None:
    """Load what finds credentials, so that the first work that is taken in need not wait for it."""
    _matchers()


@lru_cache(maxsize=1)
def _matchers() -> tuple[tuple[str, _Matcher], ...]:
    from importlib import import_module

    from detect_secrets.plugins.base import BasePlugin

    matchers: list[tuple[str, _Matcher]] = [(kind, _expression(text)) for kind, text in _OWN.items()]
    for module, name in _LIBRARY:
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        if not isinstance(plugin, BasePlugin):
            raise TypeError(f"detect_secrets.plugins.{module}.{name} is not a detector")
        matchers.append((plugin.secret_type, plugin.analyze_string))
    return tuple(matchers)


def _expression(text: str) -> _Matcher:
    compiled = re.compile(text)
    return lambda text: (found.group() for found in compiled.finditer(text))


class Hit(Protocol):
    """A credential that was found."""

    @property
    def kind(self) -> str:
        """What it is, never the credential."""
        ...

    @property
    def line(self) -> int:
        """Where, counted from 1."""
        ...

    @property
    def value(self) -> str:
        """The credential, or how it begins; never shown."""
        ...


class LineScanner(Protocol):
    """What finds credentials in numbered lines."""

    def scan(self, lines: Iterable[tuple[int, str]]) -> Iterable[Hit]:
        """Return what the lines hold."""
        ...


class ContentPolicy:
    """Looks at what was added: lines that the old version has already are the user's, not the task's."""

    def __init__(
        self,
        scanner: LineScanner | None,
        secret_values: Sequence[str],
        deadline: GitDeadline,
        *,
        allowed: Collection[str] = (),
        in_base: InBase = lambda _: False,
    ) -> None:
        """Take the detectors of credentials, and the exceptions.

        Args:
            scanner: finds credentials; None: only exact values are looked for.
            secret_values: the exact values.
            deadline: when to give up.
            allowed: fingerprints of credentials that somebody allowed.
            in_base: what the base holds already, in whatever file, is not new.
        """
        self._scanner = scanner
        self._allowed = allowed
        self._in_base = in_base
        self._values = [value.encode() for value in secret_values if len(value) >= _MIN_SECRET_CHARACTERS]
        self._deadline = deadline

    def problems(self, changes: Sequence[TreeChange], read: ReadBlob, known: set[str]) -> Iterator[Violation]:
        """Return what the changed files' new lines hold.

        Args:
            changes: what differs from the base.
            read: gives a blob's bytes, None when it is too large to look at.
            known: blobs that are in the base's history already; a moved file is not new.
        """
        for change in changes:
            if change.status == "A" and any(value in change.path for value in self._values):
                yield Violation("secret", "a file's name holds a secret of this run's surroundings", "")
            if change.new_mode not in {"100644", "100755", "120000"} or change.new_blob in known:
                continue
            new = read(change.new_blob)
            if new is None:
                continue
            old = read(change.old_blob) if change.status == "M" else None
            yield from self._file(change.path, new, old or b"")

    def _file(self, path: bytes, new: bytes, old: bytes) -> Iterator[Violation]:
        for value in self._values:
            at = new.find(value)
            if at >= 0 and value not in old:
                line = new.count(b"\n", 0, at) + 1
                yield Violation("secret", f"{show(path)}:{line}: a secret of this run's surroundings", show(path), line)
        if self._scanner is not None:
            for hit in self._scanner.scan(self._added(new, old, always=_KEY_HEADER)):
                parts = _parts_of(hit, new)
                mark = fingerprint(hit.kind, parts)
                if mark in self._allowed or self._is_old(parts, old):
                    continue
                message = f"{show(path)}:{hit.line}: looks like a credential ({hit.kind}, fingerprint {mark})"
                yield Violation("secret", message, show(path), hit.line, mark)
        if b"\0" in new[:_BINARY_LOOK_BYTES]:
            return
        for number, text in self._added(new, old):
            found = _INVISIBLE.search(text)
            if found:
                message = f"{show(path)}:{number}: an invisible or control character (U+{ord(found.group()):04X})"
                yield Violation("invisible", message, show(path), number)

    def _is_old(self, parts: tuple[str, ...], old: bytes) -> bool:
        return all(part.encode() in old for part in parts) or self._in_base(parts)

    def _added(self, new: bytes, old: bytes, *, always: bytes | None = None) -> Iterator[tuple[int, str]]:
        """Return the lines that the old version has not, long ones in overlapping pieces; stops at the deadline.

        Lines with `always` in them are given in any case: another key begins with the same line.
        """
        had = set(old.split(b"\n"))
        for number, line in enumerate(new.split(b"\n"), 1):
            if number % _LINES_PER_CHECK == 0:
                self._deadline.check()
            if line in had and (always is None or always not in line):
                continue
            if len(line) <= _PIECE_BYTES:
                yield number, line.decode("utf-8", "replace")
                continue
            for start in range(0, len(line), _PIECE_BYTES):
                self._deadline.check()
                yield number, line[max(start - _OVERLAP_BYTES, 0) : start + _PIECE_BYTES].decode("utf-8", "replace")


def fingerprint(kind: str, parts: Sequence[str]) -> str:
    """Return a credential's name: the same wherever it occurs, and revealing nothing of it."""
    return hashlib.sha256("\0".join((kind, *parts)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _parts_of(hit: Hit, new: bytes) -> tuple[str, ...]:
    """Return the texts that identify a credential: itself, or the following lines of a key that begins here."""
    if not hit.value.startswith(_KEY_BEGINS):
        return (hit.value,)
    at = 0
    for _ in range(hit.line - 1):
        at = new.find(b"\n", at) + 1
    begins = new.find(hit.value.encode(), at)
    if begins < 0:
        return (hit.value,)
    body = new[begins + len(hit.value) : begins + _KEY_BYTES].split(_KEY_ENDS, 1)[0]
    return tuple(part.decode("ascii") for part in _KEY_PART.findall(body)) or (hit.value,)
