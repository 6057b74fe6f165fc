"""What gates complain of, and the identity of a complaint over rounds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.codec import StoredForm, stored
from codexteam.core.ids import FindingId, GateName


class Severity(StrEnum):
    """How much a finding matters; only `must_fix` keeps a run from being green."""

    MUST_FIX = "must_fix"
    SHOULD_FIX = "should_fix"
    NIT = "nit"


class Category(StrEnum):
    """What a finding is about, as the contracts name it."""

    CORRECTNESS = "correctness"
    REGRESSION = "regression"
    SECURITY = "security"
    TESTS = "tests"
    CI = "ci"
    SCOPE = "scope"
    STYLE = "style"


@stored(StoredForm(optional=("source", "revision")))
@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint of one gate, as it was first said; or what people or checks ask of the pull request."""

    title: str
    detail: str
    severity: Severity
    category: Category
    file: str | None = None
    line: int | None = None
    suggestion: str | None = None
    paths: tuple[str, ...] = ()
    """Globs that the fix may write; empty when unknown."""
    gate: GateName = GateName.CI
    id: FindingId | None = None
    """None until the run has given it one."""
    source: str | None = None
    """Where people or checks ask for it (`thread:ID`, `review:ID`, `check:NAME`); None where a gate found it."""
    revision: str | None = None
    """The newest that was read there: a comment, or a commit."""


#: How much an open finding of each severity weighs when convergence is judged.
WEIGHTS = {Severity.MUST_FIX: 10, Severity.SHOULD_FIX: 2, Severity.NIT: 0}

_NOT_WORDS = re.compile(r"[^a-z0-9_./]+")
_NUMBERS = re.compile(r"\b\d+\b")


def fingerprint(finding: Finding) -> str:
    """Return a finding's identity over rounds: gate, category, file and the words of its title.

    Line numbers and counts are left out: they move when the code around a finding changes.
    """
    title = _NUMBERS.sub(" ", finding.title.casefold())
    words = " ".join(word for part in _NOT_WORDS.sub(" ", title).split() if (word := part.strip(".")))
    return f"{finding.gate.value}|{finding.category.value}|{finding.file or ''}|{words}"


def weigh(findings: Iterable[Finding]) -> int:
    """Return the weight of open findings."""
    return sum(WEIGHTS[finding.severity] for finding in findings)
