"""What test runners print when they end: how many tests ran, which failed, and whether the runner itself broke.

Each runner is one row of `RUNNERS`. A row is recognised by what it prints and never by the command line, because people
call their tests through make, npm, tox and scripts of their own. Every pattern was taken from the output of the real
program; the exit code alone lies for most of them (node, go, cargo, mocha and ctest return 0 when no test ran; make
returns 2 whatever failed).

A report with executed tests beats every other sign: a suite in which one test cannot reach the network has run. Only
where no test ran do the patterns of `broken` and `nothing` count.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

#: What is read of a line: runners' own lines are shorter, and a pattern's time grows with the square of a hostile one.
_LINE_CHARS = 400


@dataclass(frozen=True, slots=True)
class RunnerReport:
    """What one test runner said of its run."""

    runner: str
    executed: int
    """Tests that ran to a verdict; skipped ones are not among them."""
    failed: int = 0
    skipped: int = 0
    broken: str = ""
    """The line that says why the runner could not do its work; empty when it could."""
    empty: bool = False
    """It looked for tests and found none to run."""


@dataclass(frozen=True, slots=True)
class _Runner:
    """One runner's words. `passed`, `failed` and `skipped` have one group: a number; all their matches are added up."""

    name: str
    known_by: str
    """Printed by this runner and no other."""
    passed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    total: str = ""
    """For runners that print how many ran in all; `passed` then follows from it."""
    nothing: str = ""
    """No test was found or selected."""
    broken: str = ""
    """It could not start, collect, compile or configure."""
    each_passed: str = ""
    """For runners that print no number: a line for each test, or package, that passed."""
    each_failed: str = ""


RUNNERS: tuple[_Runner, ...] = (
    _Runner(
        "pytest",
        known_by=r"^=+ .*(?:passed|failed|error|skipped|deselected|xfailed|xpassed|no tests ran|warning).* in [\d.]+s"
        r"|^=+ test session starts|^(?:\d+ (?:passed|failed|errors?|skipped|deselected|xfailed|xpassed|warnings?)(?:, )?)+"
        r" in [\d.]+s|^no tests ran in |^(?:ERROR: )?usage: .*pytest|ImportError while loading conftest|^__main__\.py: error: "
        r"|^ERROR: (?:not found: |file or directory not found: |Missing required plugins)|^INTERNALERROR> "
        r"|^pytest: error: |^ERROR: .*(?:pytest|conftest)",
        passed=(r"^(?:=+ )?(?:.*?, )?(\d+) passed\b.* in [\d.]+s", r"^(?:=+ )?(?:.*?, )?(\d+) xfailed\b.* in [\d.]+s"),
        failed=(
            r"^(?:=+ )?(?:.*?, )?(\d+) failed\b.* in [\d.]+s",
            r"^(?:=+ )?(?:.*?, )?(\d+) errors?\b.* in [\d.]+s",
            r"^(?:=+ )?(?:.*?, )?(\d+) xpassed\b.* in [\d.]+s",
        ),
        skipped=(r"^(?:=+ )?(?:.*?, )?(\d+) skipped\b.* in [\d.]+s",),
        nothing=r"^(?:=+ )?no tests ran in |^(?:=+ )?\d+ deselected.* in [\d.]+s",
        broken=r"^!+ Interrupted: \d+ errors? during collection|^ImportError while loading conftest|^ERROR: usage: "
        r"|error: unrecognized arguments: |^ERROR: (?:file or directory )?not found: |^ERROR: Missing required plugins"
        r"|^INTERNALERROR> |Error importing plugin|^ERROR: .*'minversion' requires|^ERROR: .*\.(?:ini|toml|cfg)\b"
        r"|^(?:pytest|__main__\.py): error: ",
    ),
    _Runner(
        "unittest",
        known_by=r"^Ran \d+ tests? in [\d.]+s$",
        total=r"^Ran (\d+) tests? in [\d.]+s$",
        failed=(
            r"^FAILED \(.*?failures=(\d+)",
            r"^FAILED \(.*?errors=(\d+)",
            r"^FAILED \(.*?unexpected successes=(\d+)",
        ),
        skipped=(r"^(?:OK|FAILED|NO TESTS RAN) \(.*?skipped=(\d+)",),
        nothing=r"^NO TESTS RAN|^Ran 0 tests in ",
        broken=r"ImportError: Failed to import test module|ImportError: Start directory is not importable",
    ),
    _Runner(
        "jest",
        known_by=r"^Tests: +.*\d+ total$|^Test Suites: +.*\d+ total$|^No tests found, exiting with code "
        r"|^● Validation Error|Unrecognized CLI Parameter",
        passed=(r"^Tests: +.*?(\d+) passed.* total$",),
        failed=(r"^Tests: +.*?(\d+) failed.* total$",),
        skipped=(r"^Tests: +.*?(\d+) (?:skipped|todo).* total$",),
        nothing=r"^No tests found, exiting with code |must contain at least one test",
        broken=r"● Test suite failed to run|^● Validation Error|Unrecognized CLI Parameter",
    ),
    _Runner(
        "vitest",
        known_by=r"^ *(?:Test Files|Tests) {2}.*(?:\(\d+\)|no tests)$|^No test files found, exiting with code "
        r"|^ *RUN +v\d|MISSING DEPENDENCY +Cannot find dependency|^CACError: ",
        passed=(r"^ *Tests {2}.*?(\d+) passed.*$",),
        failed=(r"^ *Tests {2}.*?(\d+) failed.*$",),
        skipped=(r"^ *Tests {2}.*?(\d+) (?:skipped|todo).*$",),
        nothing=r"^No test files found, exiting with code |No test suite found in file",
        broken=r"Failed Suites \d+|MISSING DEPENDENCY +Cannot find dependency|^CACError: |failed to load config from "
        r"|^ *Tests {2}no tests$",
    ),
    _Runner(
        "mocha",
        known_by=r"^ *\d+ passing \(|^ *\d+ failing$|^Error: No test files found",
        passed=(r"^ *(\d+) passing \(",),
        failed=(r"^ *(\d+) failing$",),
        skipped=(r"^ *(\d+) pending$",),
        nothing=r"^Error: No test files found|^ *0 passing \(",
        broken=r"✖ ERROR: |^Error: Cannot find module|invalid reporter",
    ),
    _Runner(
        "jasmine",
        known_by=r"^\d+ specs?, \d+ failures?|^No specs found$",
        total=r"^(\d+) specs?, ",
        failed=(r"^\d+ specs?, (\d+) failures?",),
        skipped=(r"^\d+ specs?, .*?(\d+) pending specs?",),
        nothing=r"^No specs found$",
    ),
    _Runner(
        "ava",
        known_by=r"^ *\d+ tests? (?:passed|failed)$|Couldn\u2019t find any (?:files to test|matching tests)"
        r"|^ *✘ No tests found in ",
        passed=(r"^ *(\d+) tests? passed$",),
        failed=(r"^ *(\d+) tests? failed$", r"^ *(\d+) uncaught exceptions?$"),
        skipped=(r"^ *(\d+) tests? skipped$",),
        nothing=r"Couldn\u2019t find any (?:files to test|matching tests)|No tests found in ",
        broken=r"exited with a non-zero exit code",
    ),
    _Runner(
        "node",
        known_by=r"^(?:#|\u2139) tests \d+$",
        passed=(r"^(?:#|\u2139) pass (\d+)$",),
        failed=(r"^(?:#|\u2139) fail (\d+)$", r"^(?:#|\u2139) cancelled (\d+)$"),
        skipped=(r"^(?:#|\u2139) skipped (\d+)$",),
        nothing=r"^(?:#|\u2139) tests 0$",
        broken=r"^Could not find '",
    ),
    _Runner(
        "go",
        known_by=r"^(?:ok|FAIL|---|\?) +\t?\S+|^--- (?:PASS|FAIL|SKIP): |\[no test files\]|^FAIL\t|^ok  \t"
        r"|^go: .*(?:requires go >= |toolchain not available|missing go\.sum entry|module lookup disabled)"
        r"|no required module provides package",
        each_passed=r"^ok +\t?\S+.*(?<!\[no tests to run\])$|^ *--- PASS: ",
        each_failed=r"^ *--- FAIL: |^panic: test timed out",
        nothing=r"\[no test files\]|\[no tests to run\]",
        broken=r"\[(?:build|setup) failed\]|no required module provides package|missing go\.sum entry"
        r"|module lookup disabled|requires go >= |toolchain not available|^go: cannot find main module",
    ),
    _Runner(
        "cargo",
        known_by=r"^test result: |^running \d+ tests?$|^error: could not compile|^error: no such command"
        r"|^error: could not find `Cargo\.toml`|^error: no matching package named|rustup could not choose a version",
        passed=(r"^test result: .*?(\d+) passed",),
        failed=(r"^test result: .*? (\d+) failed",),
        skipped=(r"^test result: .*? (\d+) ignored",),
        nothing=r"^running 0 tests$",
        broken=r"^error: could not compile|^error: no such command|^error: could not find `Cargo\.toml`"
        r"|^error: no matching package named|cannot update the lock file|rustup could not choose a version"
        r"|^error: failed to (?:get|download|parse|load)|^error: unexpected argument",
    ),
    _Runner(
        "maven",
        known_by=r"^\[(?:INFO|ERROR|WARNING)\] +(?:Tests run: |BUILD (?:SUCCESS|FAILURE)|No tests to run|Scanning for)",
        total=r"^\[(?:INFO|ERROR|WARNING)\] +Tests run: (\d+), Failures: \d+, Errors: \d+, Skipped: \d+$",
        failed=(
            r"^\[(?:INFO|ERROR|WARNING)\] +Tests run: \d+, Failures: (\d+), Errors: \d+, Skipped: \d+$",
            r"^\[(?:INFO|ERROR|WARNING)\] +Tests run: \d+, Failures: \d+, Errors: (\d+), Skipped: \d+$",
        ),
        skipped=(r"^\[(?:INFO|ERROR|WARNING)\] +Tests run: \d+, Failures: \d+, Errors: \d+, Skipped: (\d+)$",),
        nothing=r"No tests to run|No tests matching pattern|No tests were executed",
        broken=r"COMPILATION ERROR|Unknown lifecycle phase|MissingProjectException|in offline mode and the artifact"
        r"|Could not (?:transfer|find|resolve) artifact|Could not resolve dependencies|Non-resolvable|release version \d+ not "
        r"supported|invalid target release",
    ),
    _Runner(
        "gradle",
        known_by=r"^BUILD (?:SUCCESSFUL|FAILED) in |^> Task :|^FAILURE: Build failed",
        total=r"^(\d+) tests? completed",
        failed=(r"^\d+ tests? completed, (\d+) failed",),
        skipped=(r"^\d+ tests? completed,.*?(\d+) skipped",),
        nothing=r"^> Task :\S*test NO-SOURCE|No tests found for given includes|did not discover any tests",
        broken=r"Compilation failed|Task '.*' not found|No cached version .* available for offline mode"
        r"|Unsupported class file major version|No matching toolchains? found|Could not resolve all ",
        each_passed=r"^> Task :\S*[tT]est$",
        each_failed=r"There were failing tests",
    ),
    _Runner(
        "rspec",
        known_by=r"^\d+ examples?, \d+ failures?",
        total=r"^(\d+) examples?, ",
        failed=(r"^\d+ examples?, (\d+) failures?",),
        skipped=(r"^\d+ examples?, .*?(\d+) pending",),
        nothing=r"^0 examples, ",
        broken=r"errors? occurred outside of examples|^An error occurred while loading ",
    ),
    _Runner(
        "minitest",
        known_by=r"^\d+ (?:runs|tests), \d+ assertions, ",
        total=r"^(\d+) (?:runs|tests), \d+ assertions, ",
        failed=(r"^\d+ (?:runs|tests), \d+ assertions, (\d+) failures", r"^\d+ (?:runs|tests), .*?(\d+) errors"),
        skipped=(r"^\d+ (?:runs|tests), .*?(\d+) skips",),
        nothing=r"^0 (?:runs|tests), ",
    ),
    _Runner(
        "phpunit",
        known_by=r"^PHPUnit \d|^OK \(\d+ tests?, |^No tests executed!|^Tests: \d+, Assertions: ",
        total=r"^(?:OK \(|Tests: )(\d+)(?: tests?,|, Assertions: )",
        failed=(r"^Tests: \d+, Assertions: .*?Failures: (\d+)", r"^Tests: \d+, Assertions: .*?Errors: (\d+)"),
        skipped=(r"^Tests: \d+, Assertions: .*?Skipped: (\d+)",),
        nothing=r"^No tests executed!",
        broken=r'^Cannot open file "|^Unknown option "|PHP Fatal error|^Error in bootstrap script',
    ),
    _Runner(
        "dotnet",
        known_by=r"^(?:Passed|Failed|Skipped)! +- +Failed: |No test is available in |error (?:CS|NU|MSB)\d+|NETSDK\d+",
        passed=(r"^(?:Passed|Failed|Skipped)! .*?Passed: +(\d+)",),
        failed=(r"^(?:Passed|Failed|Skipped)! +- +Failed: +(\d+)",),
        skipped=(r"^(?:Passed|Failed|Skipped)! .*?Skipped: +(\d+)",),
        nothing=r"No test is available in ",
        broken=r"error (?:CS|NU|MSB)\d+|NETSDK\d+|compatible \.NET SDK was not found",
    ),
    _Runner(
        "exunit",
        known_by=r"^\d+ (?:doctests?, .*)?tests?, \d+ failures?|^There are no tests to run|^\*\* \((?:Mix|CompileError)\)",
        total=r"^(?:\d+ doctests?, )?(\d+) tests?, ",
        failed=(r"^(?:\d+ doctests?, )?\d+ tests?, (\d+) failures?",),
        skipped=(r"^(?:\d+ doctests?, )?\d+ tests?, .*?(\d+) (?:skipped|excluded)",),
        nothing=r"^There are no tests to run|^0 failures",
        broken=r"^\*\* \((?:Mix|CompileError|UndefinedFunctionError)\)|Could not find Hex|Unchecked dependencies",
    ),
    _Runner(
        "ctest",
        known_by=r"^\d+% tests passed, \d+ tests failed out of \d+|^No tests were found!!!",
        total=r"^\d+% tests passed, \d+ tests failed out of (\d+)",
        failed=(r"^\d+% tests passed, (\d+) tests failed out of \d+",),
        nothing=r"^No tests were found!!!",
        broken=r"Could not find executable |\(Not Run\)",
    ),
    _Runner(
        "tap",
        known_by=r"^TAP version \d+|^Result: (?:PASS|FAIL|NOTESTS)$",
        each_passed=r"^ok \d+\b(?!.*# SKIP)",
        each_failed=r"^not ok \d+\b(?!.*# TODO)",
        total=r"^Files=\d+, Tests=(\d+), ",
        failed=(r"^Failed \d+/\d+ test programs\. (\d+)/\d+ subtests failed",),
        nothing=r"^Result: NOTESTS$",
    ),
)


#: Lines on which runners name a failed test; the group `name` is its identity.
_FAILED_NAMES = (
    re.compile(r"^(?:FAILED|ERROR) (?P<name>(?!\()\S+?(?:::\S+)?)(?: - .*)?$"),  # pytest -ra, and its short summary
    re.compile(r"^(?:FAIL|ERROR): (?P<name>\S+ \([\w.]+\))$"),  # unittest
    re.compile(r"^\s*--- FAIL: (?P<name>\S+) \("),  # go test
    re.compile(r"^test (?P<name>\S+) \.\.\. FAILED$"),  # cargo test
    re.compile(r"^not ok \d+ - (?P<name>.+?)(?: #.*)?$"),  # TAP: node's test runner, prove
    re.compile(r"^(?P<name>\S+\.t)\s+\(Wstat: \d+"),  # prove
    re.compile("^\\s*\u25cf (?P<name>.+ \u203a .+)$"),  # jest
    re.compile(r"^ *FAIL  (?P<name>\S+ > .+)$"),  # vitest
    re.compile(r"^rspec \S+ # (?P<name>.+)$"),
    re.compile(r"^\d+\) (?P<name>[\w\\]+::\w+(?: with data set .+)?)$"),  # phpunit
)


def failed_tests(output: str) -> frozenset[str] | None:
    """Return the names of the tests that failed; None when no known runner named one."""
    lines = plain(output).split("\n")
    names = {found["name"] for line in lines for pattern in _FAILED_NAMES if (found := pattern.match(line))}
    return frozenset(names) or None


def ran_tests(output: str) -> int | None:
    """Return how many tests ran and were not skipped, all runners together; None when no known runner said so."""
    reports = read_reports(output)
    return sum(report.executed for report in reports) if reports else None


def plain(output: str) -> str:
    """Return a command's output without colours and carriage returns, its lines cut, so that patterns fit it."""
    lines = _ANSI.sub("", output).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line[:_LINE_CHARS] for line in lines)


def read_reports(output: str) -> tuple[RunnerReport, ...]:
    """Return what each test runner that is recognised in the output said, in the order of `RUNNERS`."""
    text = plain(output)
    reports = tuple(_read(runner, text) for runner in RUNNERS if _search(runner.known_by, text))
    if any(report.runner == "node" for report in reports):  # it writes TAP as well, of the same tests
        return tuple(report for report in reports if report.runner != "tap")
    return reports


def _read(runner: _Runner, text: str) -> RunnerReport:
    failed = _sum(runner.failed, text) + _count(runner.each_failed, text)
    skipped = _sum(runner.skipped, text)
    executed = _sum(runner.passed, text) + failed + _count(runner.each_passed, text)
    if runner.total:
        executed = max(executed, _sum((runner.total,), text) - skipped)
    broken = _line(runner.broken, text)
    if runner.name == "pytest" and broken and re.search(r"Interrupted: \d+ errors? during collection", broken):
        executed = failed = 0  # the errors that it counts are files it could not load, not tests
    if runner.name == "unittest" and broken and executed == len(re.findall(r"_FailedTest", text)):
        executed = failed = 0  # each module that cannot be imported is counted as one test
    if runner.name == "jest" and broken and executed == 0:
        failed = 0
    return RunnerReport(
        runner.name,
        executed=executed,
        failed=failed,
        skipped=skipped,
        broken=broken,
        empty=executed == 0 and (bool(_search(runner.nothing, text)) or skipped > 0),
    )


def _search(pattern: str, text: str) -> "re.Match[str] | None":
    return re.search(pattern, text, re.MULTILINE) if pattern else None


def _line(pattern: str, text: str) -> str:
    found = _search(pattern, text)
    if found is None:
        return ""
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return text[start : end if end >= 0 else len(text)].strip()


def _sum(patterns: Iterable[str], text: str) -> int:
    return sum(int(number) for pattern in patterns for number in re.findall(pattern, text, re.MULTILINE))


def _count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.MULTILINE)) if pattern else 0
