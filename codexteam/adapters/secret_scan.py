"""Finds credentials in text that leaves a sandbox, and says where, never what.

The patterns are those of `bc-detect-secrets` whose matches are credentials by their form alone; its keyword and entropy
heuristics are left out, because a hit refuses an agent's work and so must be sure. What it does not know (keys of
model providers above all) stands here. The library's own inline allowlist comments are not obeyed: an agent could
write one.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

_Matcher: TypeAlias = Callable[[str], bool]

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


@dataclass(frozen=True, slots=True)
class SecretHit:
    """One credential: its kind and the line it stands in, counted from 1."""

    kind: str
    line: int


class SecretScanner:
    """Scans lines for credentials; the library is imported at the first use."""

    def scan(self, lines: Iterable[tuple[int, str]]) -> Iterator[SecretHit]:
        """Give what numbered lines hold, at most one hit of a kind and line.

        Args:
            lines: line numbers and lines; very long lines are looked at in overlapping pieces.
        """
        seen: set[SecretHit] = set()
        for chunk in _chunks(lines):
            joined = "\n".join(line for _, line in chunk)
            for kind, matches in _matchers():
                if not matches(joined):
                    continue
                for number, line in chunk:
                    hit = SecretHit(kind, number)
                    if hit not in seen and matches(line):
                        seen.add(hit)
                        yield hit


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


@lru_cache(maxsize=1)
def _matchers() -> tuple[tuple[str, _Matcher], ...]:
    from importlib import import_module

    from detect_secrets.plugins.base import BasePlugin

    matchers: list[tuple[str, _Matcher]] = [(kind, _expression(text)) for kind, text in _OWN.items()]
    for module, name in _LIBRARY:
        plugin = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        if not isinstance(plugin, BasePlugin):
            raise TypeError(f"detect_secrets.plugins.{module}.{name} is no detector")
        matchers.append((plugin.secret_type, _plugin(plugin.analyze_string)))
    return tuple(matchers)


def _expression(text: str) -> _Matcher:
    compiled = re.compile(text)
    return lambda line: compiled.search(line) is not None


def _plugin(analyze: Callable[[str], Iterable[str]]) -> _Matcher:
    return lambda line: next(iter(analyze(line)), None) is not None
