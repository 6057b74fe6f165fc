"""Weakened tests: found by comparing the texts of all changed test files, without a model.

Tests that moved are found by name and by content, wherever they went: only what really vanishes is a finding. What a
test compares with may have to change with the code; that is for a reader to judge, where a task's paths take it in.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from codexteam.core.file_kinds import is_test_file
from codexteam.core.findings import Category, Finding, Severity
from codexteam.core.ids import GateName
from codexteam.core.paths import matches_any, names_exactly
from codexteam.core.text import clean_line, count_of
from codexteam.ports.repo import TreeChange
from codexteam.run.gates.cases import (
    ASSERTION,
    Case,
    cases_of,
    is_collected,
    is_expected_output,
    is_fixture,
)

_SKIP = re.compile(
    r"pytest\.(?:skip|xfail|importorskip)|mark\.(?:skip|skipif|xfail)|unittest\.(?:skip|expectedFailure)|\bSkipTest\b|\.skipTest\("
    r"|\b(?:it|test|describe|suite|context)\.(?:skip|todo|only|fails)\b|\bx(?:it|describe|test)\(|\bf(?:it|describe)\("
    r"|\bt\.Skip|#\[ignore|--deselect|collect_ignore|__test__\s*=\s*False|@(?:Disabled|Ignore)\b|^//\s*[+]?(?:go:)?build\b",
    re.MULTILINE,
)
_EMPTY = re.compile(r"\bassert (?:True|1|not False)\b|expect\(true\)\.toBe\(true\)|assert!\(true\)|assertTrue\(True\)")
#: What ends the runner, or takes its place; the second is one only where it stands at the beginning of a line.
_EXITS = re.compile(
    r"\bos\._exit\(|\bpytest\.exit\(|\bprocess\.exit\(|\bos\.Exit\(|^func TestMain\("
    r"|\bos\.(?:abort|kill|exec\w*)\(|\bprocess::exit\("
    r"|\bdef load_tests\(|\bdef pytest_\w+\(|\batexit\.|^(?:sys\.exit|exit|quit|raise SystemExit)\b",
    re.MULTILINE,
)
_QUOTED_EXIT = re.compile(r"[\"'`].*(?:" + _EXITS.pattern.replace("^", "") + ")")
_MAIN = re.compile(r"^if __name__ ==.*\Z", re.MULTILINE | re.DOTALL)
_IDLE_LINE = re.compile(
    r"(?:#(?!\[)|//|/?\*|import\b|from\b.*\bimport\b|use\b|package\b|(?:async )?def test|func Test).*|[\W_]*"
)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class TextPair:
    """A changed file's text before and after; None where it is not there or no text."""

    before: str | None
    after: str | None


@dataclass(slots=True)
class _File:
    """A test file on one side of the change."""

    path: str
    text: str
    cases: list[Case]
    unmatched: list[Case] = field(default_factory=list)
    """Its cases that the other side does not have."""
    partners: list["_File"] = field(default_factory=list)
    """Files of the other side that share a case with it, or its name."""

    @property
    def lines(self) -> list[str]:
        """Its lines that mean something, without their indents."""
        bare = (" ".join(line.split()) for line in self.text.splitlines())
        return [line for line in bare if not _IDLE_LINE.fullmatch(line)]


def find_weakened(
    changes: Sequence[TreeChange], read: Callable[[TreeChange], TextPair], *, asked_for: Sequence[str] = ()
) -> list[Finding]:
    """Return a finding for each test that was weakened or removed, at most one of a kind for each file.

    `asked_for` are the paths of the plan's tasks. A removal that one names without a wildcard, and another expected value
    in a file that one takes in, are for a reader to judge.
    """
    before, after, findings = [], [], []
    for change in changes:
        path = change.path.decode("utf-8", errors="replace")
        texts = read(change)
        if is_expected_output(path) and change.status in {"M", "D"}:
            if change.status == "M" or not _moved_whole(change, changes):
                findings.append(_expected_output(path, removed=change.status == "D", asked_for=asked_for))
            continue
        if not is_test_file(path) or is_fixture(path):
            continue
        if texts.before is not None:
            before.append(_File(path, texts.before, cases_of(texts.before, path)))
        if texts.after is not None:
            after.append(_File(path, texts.after, cases_of(texts.after, path)))
    pairs = _pair(before, after)
    lost_lines = _lost_lines(before, after)
    for old in before:
        findings += _removed(old, after, lost_lines[old.path], asked_for) or _changed(
            old, pairs, lost_lines[old.path], asked_for
        )
    for new in after:
        findings += _exits(new)
    return findings


def _moved_whole(change: TreeChange, changes: Sequence[TreeChange]) -> bool:
    return any(other.status == "A" and other.new_blob == change.old_blob for other in changes)


def _pair(before: Sequence[_File], after: Sequence[_File]) -> list[tuple[_File, Case, Case]]:
    """Find each test of before again: by name and content, by name, by content; what is left stays unmatched."""
    free = [(file, case) for file in after for case in file.cases]
    waiting = [(file, case) for file in before for case in file.cases]
    pairs: list[tuple[_File, Case, Case]] = []
    same: tuple[Callable[[Case], tuple[str, ...]], ...] = (
        lambda case: (case.name, case.body),
        lambda case: (case.name,),
        lambda case: (case.body,),
    )
    for key in same:
        known: dict[tuple[str, ...], list[tuple[_File, Case]]] = {}
        for file, case in free:
            known.setdefault(key(case), []).append((file, case))
        left = []
        for file, case in waiting:
            found = _take_for(file, known.get(key(case), []))
            if found is None:
                left.append((file, case))
                continue
            free.remove(found)
            pairs.append((file, case, found[1]))
            file.partners.append(found[0])
        waiting = left
    for file, case in waiting:
        file.unmatched.append(case)
    for old in before:
        old.partners += [new for new in after if new.path == old.path and new not in old.partners]
    return pairs


def _take_for(old: _File, choices: list[tuple[_File, Case]]) -> tuple[_File, Case] | None:
    """Take the case in the same file if there is one; a test goes only where runners collect it as they did before."""
    fit = [one for one in choices if is_collected(one[0].path) or not is_collected(old.path)]
    best = next((one for one in fit if one[0].path == old.path), fit[0] if fit else None)
    if best is not None:
        choices.remove(best)
    return best


def _lost_lines(before: Sequence[_File], after: Sequence[_File]) -> dict[str, list[str]]:
    """Give, for each file of before, its lines that stand nowhere any more."""
    left = Counter(line for file in after for line in file.lines)
    lost: dict[str, list[str]] = {}
    for file in before:
        lost[file.path] = []
        for line in file.lines:
            if left[line] > 0:
                left[line] -= 1
            else:
                lost[file.path].append(line)
    return lost


def _removed(old: _File, after: Sequence[_File], lost: Sequence[str], asked_for: Sequence[str]) -> list[Finding]:
    shown = clean_line(old.path)
    severity = Severity.SHOULD_FIX if names_exactly(old.path.encode(), asked_for) else Severity.MUST_FIX
    is_there = any(new.path == old.path for new in after)
    if old.unmatched:
        names = ", ".join(clean_line(case.name) for case in old.unmatched[:10])
        title = f"tests were removed from {shown}" if is_there or old.partners else f"test file {shown} was removed"
        return [_finding(old.path, title, f"Gone: {names}", severity)]
    if not is_there and not old.cases and any(ASSERTION.search(line) for line in lost):
        return [
            _finding(old.path, f"test file {shown} was removed", "What it asserts is asserted nowhere now.", severity)
        ]
    return []


def _changed(
    old: _File, pairs: Sequence[tuple[_File, Case, Case]], lost: Sequence[str], asked_for: Sequence[str]
) -> list[Finding]:
    """Say how a file's tests became weaker, wherever they stand now; else what else is expected of them."""
    path, shown = old.path, clean_line(old.path)
    mine = [(one, other) for file, one, other in pairs if file is old]
    found: list[Finding] = []
    for what, pattern in (("is skipped or expected to fail", _SKIP), ("asserts nothing", _EMPTY)):
        more = sum(_count(pattern, [new.text]) for new in _unique(old.partners)) - _count(pattern, [old.text])
        if more > 0:
            found.append(_finding(path, f"a test in {shown} {what}", f"{more} more than before."))
    for what, names in (
        ("may end before it asserts", [a.name for a, b in mine if b.ends_early > a.ends_early]),
        ("catches what it should let fail", [a.name for a, b in mine if b.catches > a.catches]),
    ):
        if names:
            found.append(_finding(path, f"a test in {shown} {what}", _listed(names)))
    fewer = [a.name for a, b in mine if b.assertions < a.assertions]
    bare = not old.cases and sum(_count(ASSERTION, [new.text]) for new in old.partners) < _count(ASSERTION, [old.text])
    if fewer or (bare and any(ASSERTION.search(line) for line in lost)):
        detail = "Fewer assertions, with the same tests."
        found.append(_finding(path, f"{shown} asserts less than before", f"{detail} {_listed(fewer)}".strip()))
    if not found and lost and (old.cases or ASSERTION.search(old.text)):
        found.append(_expects_other(old, lost, asked_for))
    return found


def _expects_other(old: _File, lost: Sequence[str], asked_for: Sequence[str]) -> Finding:
    asserts = any(ASSERTION.search(line) for line in lost)
    severity = Severity.MUST_FIX if asserts and not _takes_in(old.path, asked_for) else Severity.SHOULD_FIX
    shown = clean_line(old.path)
    title = f"{shown} expects something else than before" if asserts else f"existing tests in {shown} were changed"
    known = Counter(old.lines)
    now = [line for new in _unique(old.partners) for line in new.lines if line not in known]
    detail = "\n".join((*_quoted("Was", lost), *_quoted("New", now)))
    return _finding(old.path, title, detail, severity)


def _expected_output(path: str, *, removed: bool, asked_for: Sequence[str]) -> Finding:
    severity = Severity.SHOULD_FIX if _takes_in(path, asked_for) else Severity.MUST_FIX
    how = "was removed" if removed else "was changed"
    return _finding(path, f"expected output {clean_line(path)} {how}", "Tests compare with it.", severity)


def _exits(new: _File) -> list[Finding]:
    """Find what ends the whole runner, in new test files too: whatever comes after it does not run."""
    before = sum(_count(_EXITS, [_MAIN.sub("", old.text)]) for old in new.partners)
    lines = [line.strip() for line in _MAIN.sub("", new.text).splitlines() if _EXITS.search(line)]
    if len(lines) <= before:
        return []
    bare = [line for line in lines if not _QUOTED_EXIT.search(line)]
    severity = Severity.MUST_FIX if bare else Severity.SHOULD_FIX
    title = f"{clean_line(new.path)} may end the test runner, or take its place"
    return [_finding(new.path, title, "\n".join(_quoted("It says", bare or lines)), severity)]


def _takes_in(path: str, asked_for: Sequence[str]) -> bool:
    return matches_any(path.encode(), asked_for)


def _count(pattern: re.Pattern[str], texts: Iterable[str]) -> int:
    return sum(len(pattern.findall(text)) for text in texts)


def _unique(files: Sequence[_File]) -> list[_File]:
    return list({file.path: file for file in files}.values())


def _quoted(word: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:_SHOWN]:
        yield f"{word}: {clean_line(line)[:200]}"
    if len(lines) > _SHOWN:
        yield f"{word}: {count_of(len(lines) - _SHOWN, 'more line')}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(clean_line(name) for name in names[:10])


def _finding(path: str, title: str, detail: str, severity: Severity = Severity.MUST_FIX) -> Finding:
    return Finding(title, detail, severity, Category.TESTS, file=path, paths=(path,), gate=GateName.CI)
