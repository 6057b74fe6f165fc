import pytest

from codexteam.core.findings import Severity
from codexteam.gates.baseline import FailureKind, judge, needs_rerun
from codexteam.gates.commands import CommandOutcome, tail
from codexteam.gates.failed_tests import failed_tests
from codexteam.gates.triggers import added_lines, security_reasons
from codexteam.gates.weakened import TextPair, find_weakened, is_gate_file, is_test_file
from codexteam.ports.repo import TreeChange


def outcome(exit_code: int | None, output: str = "", *, timed_out: bool = False) -> CommandOutcome:
    return CommandOutcome("pytest", exit_code, timed_out, output, 1.0)


PASS = outcome(0)
A = outcome(1, "FAILED tests/test_x.py::test_a - assert 1 == 2\n1 failed")
AB = outcome(1, "FAILED tests/test_x.py::test_a - x\nFAILED tests/test_x.py::test_b - y\n2 failed")
B = outcome(1, "FAILED tests/test_x.py::test_b - y\n1 failed")
OPAQUE = outcome(2, "something broke")
TAP_THREE = outcome(3, "not ok 1 - a\nnot ok 2 - b\nnot ok 3 - c\n")
TAP_TWO = outcome(2, "not ok 1 - a\nnot ok 2 - b\n")
SEGFAULT = outcome(139, "FAILED tests/test_x.py::test_a - assert 1 == 2\nSegmentation fault")


@pytest.mark.parametrize(
    ("now", "base", "reruns", "kind", "tests"),
    [
        pytest.param(A, PASS, [A, A], FailureKind.NEW, ("tests/test_x.py::test_a",), id="new"),
        pytest.param(A, A, [], FailureKind.OLD, (), id="old"),
        pytest.param(AB, A, [AB], FailureKind.NEW, ("tests/test_x.py::test_b",), id="one more than before"),
        pytest.param(A, AB, [], FailureKind.OLD, (), id="one fewer than before"),
        pytest.param(OPAQUE, OPAQUE, [], FailureKind.OLD, (), id="unknown runner failed before"),
        pytest.param(OPAQUE, PASS, [], FailureKind.NEW, (), id="unknown runner passed before"),
        pytest.param(OPAQUE, None, [], FailureKind.NEW, (), id="did not run before"),
        pytest.param(A, PASS, [A, PASS], FailureKind.FLAKY, ("tests/test_x.py::test_a",), id="passes when run again"),
        pytest.param(AB, A, [A], FailureKind.FLAKY, ("tests/test_x.py::test_b",), id="the new one passes again"),
        pytest.param(outcome(None, timed_out=True), PASS, [], FailureKind.NEW, (), id="timeout"),
        pytest.param(outcome(None), PASS, [], FailureKind.NEW, (), id="end unknown"),
        pytest.param(A, PASS, [B], FailureKind.NEW, ("tests/test_x.py::test_a",), id="another fails when run again"),
        pytest.param(AB, A, [B], FailureKind.NEW, ("tests/test_x.py::test_b",), id="the new one fails again"),
        pytest.param(OPAQUE, A, [], FailureKind.NEW, (), id="named one before, and now breaks down"),
        pytest.param(SEGFAULT, A, [], FailureKind.NEW, (), id="the same one, and then it breaks down"),
        pytest.param(TAP_TWO, TAP_THREE, [], FailureKind.OLD, (), id="the exit code is the number of failures"),
        pytest.param(OPAQUE, A, [A], FailureKind.FLAKY, (), id="breaks down once"),
        pytest.param(outcome(None, timed_out=True), A, [], FailureKind.NEW, (), id="failed before, and now hangs"),
        pytest.param(outcome(None), OPAQUE, [], FailureKind.NEW, (), id="failed before, and now its end is unknown"),
        pytest.param(A, outcome(None), [], FailureKind.NEW, ("tests/test_x.py::test_a",), id="end before unknown"),
        pytest.param(OPAQUE, outcome(None, timed_out=True), [], FailureKind.NEW, (), id="timeout before"),
        pytest.param(
            outcome(None, timed_out=True),
            outcome(None, timed_out=True),
            [],
            FailureKind.OLD,
            (),
            id="timeout as before",
        ),
    ],
)
def test_only_what_is_new_and_stays_blocks(
    now: CommandOutcome,
    base: CommandOutcome | None,
    reruns: list[CommandOutcome],
    kind: FailureKind,
    tests: tuple[str, ...],
) -> None:
    failure = judge(now, base, reruns)

    assert failure is not None
    assert (failure.kind, failure.tests) == (kind, tests)


def test_what_passes_is_no_failure_and_what_is_old_is_not_run_again() -> None:
    assert judge(PASS, A) is None
    assert needs_rerun(A, PASS)
    assert not needs_rerun(A, A)


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ("FAILED tests/a.py::test_x[1-2] - E", {"tests/a.py::test_x[1-2]"}),
        ("ERROR tests/a.py - ImportError", {"tests/a.py"}),
        ("FAIL: test_a (tests.test_x.Case)", {"test_a (tests.test_x.Case)"}),
        ("--- FAIL: TestLoad (0.00s)", {"TestLoad"}),
        ("test parse::works ... FAILED", {"parse::works"}),
        ("not ok 3 - adds numbers", {"adds numbers"}),
        ("\x1b[31mFAILED\x1b[0m tests/a.py::t - x", {"tests/a.py::t"}),
        ("make: *** [all] Error 2", None),
    ],
)
def test_failed_tests_are_read_from_what_runners_print(output: str, names: set[str] | None) -> None:
    assert failed_tests(output) == names


def test_a_command_outcome_survives_the_store() -> None:
    assert CommandOutcome.from_json(A.as_json()) == A
    with pytest.raises(ValueError, match="no command outcome"):
        CommandOutcome.from_json({"command": 1})


def test_a_tail_says_what_it_left_out() -> None:
    assert tail("x" * 10, limit_chars=4) == "[6 characters left out]\nxxxx"


GOOD_TEST = "def test_a():\n    assert f(1) == 2\n    assert f(2) == 3\n\ndef test_b():\n    assert f(3) == 4\n"


@pytest.mark.parametrize(
    ("after", "title"),
    [
        pytest.param(None, "test file tests/test_f.py was removed", id="file removed"),
        pytest.param(GOOD_TEST.split("\ndef test_b", maxsplit=1)[0], "tests were removed from", id="case removed"),
        pytest.param(
            GOOD_TEST.replace("def test_a", "@pytest.mark.skip\ndef test_a"), "skipped or expected", id="skip"
        ),
        pytest.param(GOOD_TEST.replace("assert f(3) == 4", "assert True"), "asserts nothing", id="assert True"),
        pytest.param(GOOD_TEST.replace("    assert f(2) == 3\n", ""), "asserts less than before", id="fewer asserts"),
    ],
)
def test_a_weakened_test_is_a_finding(after: str | None, title: str) -> None:
    change = TreeChange(b"tests/test_f.py", "D" if after is None else "M", "100644", "100644", "1", "2")

    findings = find_weakened([change], lambda _: TextPair(GOOD_TEST, after))

    assert [finding.severity for finding in findings] == [Severity.MUST_FIX]
    assert title in findings[0].title


def test_tests_that_grow_and_gate_files_that_were_asked_for_are_no_finding() -> None:
    more = TreeChange(b"tests/test_f.py", "M", "100644", "100644", "1", "2")
    make = TreeChange(b"Makefile", "M", "100644", "100644", "1", "2")
    grown = TextPair(GOOD_TEST, GOOD_TEST + "\ndef test_c():\n    assert f(4) == 5\n")

    assert find_weakened([more, make], lambda _: grown, asked_for=["Makefile"]) == []
    assert [f.file for f in find_weakened([more, make], lambda _: grown)] == ["Makefile"]


@pytest.mark.parametrize("path", ["tests/x.py", "src/test_a.py", "a_test.go", "web/a.spec.ts", "conftest.py"])
def test_test_files_are_known_by_their_names(path: str) -> None:
    assert is_test_file(path)
    assert not is_test_file("src/contest.py")


def test_gate_files_are_known_by_their_names() -> None:
    assert is_gate_file(".github/workflows/ci.yml")
    assert not is_gate_file("src/Makefile.py")


@pytest.mark.parametrize(
    ("paths", "added", "reason"),
    [
        (["src/auth/login.py"], "", "auth"),
        (["src/x.py"], "subprocess.run(cmd, shell=True)", "commands"),
        (["src/x.py"], "API_KEY = read()", "secrets"),
        (["src/x.py"], "data = requests.get(url)", "fetches"),
        (["infra/k8s.tf"], "", "infra/*"),
        (["src/x.py"], "call frobnicate here", "frobnicate"),
    ],
)
def test_what_a_diff_touches_calls_the_security_reviewer(paths: list[str], added: str, reason: str) -> None:
    assert reason in security_reasons(paths, added, more=("infra/*", "frobnicate"))


def test_plain_changes_call_nobody() -> None:
    assert security_reasons(["src/shapes.py"], "def area(r):\n    return 3 * r * r  # by its author") == ()
    assert added_lines("--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n ctx") == "new"
