"""What gates complain of, and the identity of a complaint over rounds."""

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
