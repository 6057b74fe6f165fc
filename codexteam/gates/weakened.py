"""Weakened tests and edited gate commands: found by comparing texts, without a model."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from codexteam.core.findings import Category, Finding, GateName, Severity
from codexteam.core.text import clean_line
from codexteam.ports.repo import TreeChange

_TEST_FILE = re.compile(
    r"(^|/)(tests?|spec|__tests__)/|(^|/)(test_[^/]*|[^/]*_test|[^/]*[._-](?:test|spec))\.[a-z]+$|(^|/)conftest\.py$"
)
_TEST_CASE = re.compile(
    r"^\s*(?:async\s+)?def (test\w*)"  # pytest, unittest
    r"|^\s*(?:it|test|describe)(?:\.\w+)?\(\s*[\"'`](.+?)[\"'`]"  # jest, vitest, mocha, node
    r"|^func (Test\w+)"  # go
    r"|#\[test\]\s*\n\s*fn (\w+)",  # cargo
    re.MULTILINE,
)
_ASSERTION = re.compile(r"\bassert\w*\b|\bexpect\(|\bself\.assert|\bt\.(?:Error|Fatal)|\bshould\b")
_SKIP = re.compile(
    r"pytest\.(?:skip|xfail|importorskip)|mark\.(?:skip|skipif|xfail)|unittest\.skip|\b(?:it|test|describe)\.(?:skip|todo)\("
    r"|\bx(?:it|describe|test)\(|\bt\.Skip|#\[ignore\]|--deselect|collect_ignore"
)
_EMPTY = re.compile(r"\bassert True\b|\bassert 1\b|expect\(true\)\.toBe\(true\)|assert!\(true\)")

#: Files that say how a repository is checked; changed by a task they are looked at by a person or a finding.
GATE_FILES = (
    "Makefile", "makefile", "GNUmakefile", "justfile", "tox.ini", "noxfile.py", "pytest.ini", "setup.cfg",
    ".coveragerc", "conftest.py", "*/conftest.py", "jest.config.*", "vitest.config.*", ".github/workflows/*",
    ".gitlab-ci.yml", ".circleci/*", "azure-pipelines.yml", "Jenkinsfile", ".pre-commit-config.yaml", ".ci/*",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextPair:
    """A changed file's text before and after; None where it is not there or no text."""

    before: str | None
    after: str | None


def is_test_file(path: str) -> bool:
    """Say whether a path looks like a test's."""
    return bool(_TEST_FILE.search(path))


def is_gate_file(path: str) -> bool:
    """Say whether a path says how the repository is checked."""
    return any(fnmatchcase(path, glob) for glob in GATE_FILES)


def find_weakened(
    changes: Sequence[TreeChange], read: Callable[[TreeChange], TextPair], *, asked_for: Sequence[str] = ()
) -> list[Finding]:
    """Give a finding for each test file or gate command that was weakened.

    `asked_for` are paths that tasks name without a wildcard: changing what a gate file says is then what was asked, and
    removing a test file is for a reader to judge.
    """
    findings: list[Finding] = []
    for change in changes:
        path = change.path.decode("utf-8", errors="replace")
        if is_test_file(path) and change.status in {"M", "D", "T"}:
            findings += _weakened_test(path, read(change), named=path in asked_for)
        elif is_gate_file(path) and change.status in {"M", "D", "T"} and path not in asked_for:
            findings.append(
                _finding(
                    path,
                    f"{clean_line(path)} was changed and no task names it",
                    "It says how the repository is checked.",
                )
            )
    return findings


def _weakened_test(path: str, texts: TextPair, *, named: bool) -> list[Finding]:
    shown = clean_line(path)
    before, after = texts.before or "", texts.after
    if after is None:
        severity = Severity.SHOULD_FIX if named else Severity.MUST_FIX
        return [_finding(path, f"test file {shown} was removed", "Its tests no longer run.", severity)]
    gone = sorted(_cases(before) - _cases(after))
    found: list[Finding] = []
    if gone:
        severity = Severity.SHOULD_FIX if named else Severity.MUST_FIX
        names = ", ".join(clean_line(name) for name in gone[:10])
        found.append(_finding(path, f"tests were removed from {shown}", f"Gone: {names}", severity))
    for what, pattern in (("is skipped or expected to fail", _SKIP), ("asserts nothing", _EMPTY)):
        more = len(pattern.findall(after)) - len(pattern.findall(before))
        if more > 0:
            found.append(
                _finding(path, f"a test in {shown} {what}", f"{more} more than before: {pattern.pattern[:60]}...")
            )
    fewer = len(_ASSERTION.findall(before)) - len(_ASSERTION.findall(after))
    if fewer > 0 and not gone:
        found.append(
            _finding(path, f"{shown} asserts less than before", f"{fewer} assertions fewer, with the same tests.")
        )
    return found


def _cases(text: str) -> set[str]:
    return {next(group for group in found.groups() if group) for found in _TEST_CASE.finditer(text)}


def _finding(path: str, title: str, detail: str, severity: Severity = Severity.MUST_FIX) -> Finding:
    return Finding(title, detail, severity, Category.TESTS, file=path, paths=(path,), gate=GateName.CI)
