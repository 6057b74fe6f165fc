"""What gates complain of, and the identity of a complaint over rounds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from codexteam.core.ids import FindingId


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


class GateName(StrEnum):
    """The gates, by the roles that hold them."""

    CI = "ci_runner"
    REVIEW = "reviewer"
    QA = "qa_test_author"
    SECURITY = "security_reviewer"


@dataclass(frozen=True, slots=True)
class Finding:
    """One complaint of one gate, as it was first said."""

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


#: How much an open finding of each severity weighs when convergence is judged.
WEIGHTS = {Severity.MUST_FIX: 10, Severity.SHOULD_FIX: 2, Severity.NIT: 0}

_NOT_WORDS = re.compile(r"[^a-z0-9_./]+")
_NUMBERS = re.compile(r"\b\d+\b")


def fingerprint(finding: Finding) -> str:
    """Give a finding's identity over rounds: gate, category, file and the words of its title.

    Line numbers and counts are left out: they move when the code around a finding changes.
    """
    title = _NUMBERS.sub(" ", finding.title.casefold())
    words = " ".join(word for part in _NOT_WORDS.sub(" ", title).split() if (word := part.strip(".")))
    return f"{finding.gate.value}|{finding.category.value}|{finding.file or ''}|{words}"


def weigh(findings: Iterable[Finding]) -> int:
    """Give the weight of open findings."""
    return sum(WEIGHTS[finding.severity] for finding in findings)
