import pytest

from codexteam.core.codec import decode, encode
from codexteam.core.runner_reports import failed_tests
from codexteam.errors import StoreError
from codexteam.run.command_outcome import CommandOutcome, tail
from codexteam.run.gates.baseline import CommandFailure, judge, needs_rerun
from codexteam.run.gates.review import added_lines, security_reasons, unreadable_reasons


def outcome(exit_code: int | None, output: str = "", *, timed_out: bool = False) -> CommandOutcome:
    return CommandOutcome("pytest", exit_code, timed_out, output, 1.0)


PASS = outcome(0)
A = outcome(1, "FAILED tests/test_x.py::test_a - assert 1 == 2\n1 failed")
AB = outcome(1, "FAILED tests/test_x.py::test_a - x\nFAILED tests/test_x.py::test_b - y\n2 failed")
B = outcome(1, "FAILED tests/test_x.py::test_b - y\n1 failed")
OPAQUE = CommandOutcome("./check.sh", 2, timed_out=False, output="something broke", wall_seconds=1.0)
MISSING = outcome(127, "bash: line 1: pytest: command not found")
EMPTY = outcome(5, "no tests ran in 0.01s")
NONE_LEFT = CommandOutcome("node --test", 0, timed_out=False, output="# tests 0\n# pass 0\n", wall_seconds=1.0)

TAP_THREE = outcome(3, "not ok 1 - a\nnot ok 2 - b\nnot ok 3 - c\n")
TAP_TWO = outcome(2, "not ok 1 - a\nnot ok 2 - b\n")
SEGFAULT = outcome(139, "FAILED tests/test_x.py::test_a - assert 1 == 2\nSegmentation fault")


@pytest.mark.parametrize(
    ("now", "base", "reruns", "kind", "tests"),
    [
        pytest.param(A, PASS, [A, A], CommandFailure.NEW, ("tests/test_x.py::test_a",), id="new"),
        pytest.param(A, A, [], CommandFailure.OLD, (), id="old"),
        pytest.param(AB, A, [AB], CommandFailure.NEW, ("tests/test_x.py::test_b",), id="one more than before"),
        pytest.param(A, AB, [], CommandFailure.OLD, (), id="one fewer than before"),
        pytest.param(OPAQUE, OPAQUE, [], CommandFailure.OLD, (), id="unknown runner failed before"),
        pytest.param(OPAQUE, PASS, [], CommandFailure.NEW, (), id="unknown runner passed before"),
        pytest.param(OPAQUE, None, [], CommandFailure.NEW, (), id="did not run before"),
        pytest.param(
            A, PASS, [A, PASS], CommandFailure.FLAKY, ("tests/test_x.py::test_a",), id="passes when run again"
        ),
        pytest.param(AB, A, [A], CommandFailure.FLAKY, ("tests/test_x.py::test_b",), id="the new one passes again"),
        pytest.param(MISSING, MISSING, [], CommandFailure.UNCHECKED, (), id="cannot run, as before"),
        pytest.param(EMPTY, EMPTY, [], CommandFailure.UNCHECKED, (), id="runs no test, as before"),
        pytest.param(
            NONE_LEFT, NONE_LEFT, [], CommandFailure.UNCHECKED, (), id="returns 0 and runs no test, as before"
        ),
        pytest.param(MISSING, PASS, [], CommandFailure.NEW, (), id="cannot run any more"),
        pytest.param(MISSING, A, [], CommandFailure.NEW, (), id="failed before, and cannot run any more"),
        pytest.param(A, MISSING, [], CommandFailure.NEW, ("tests/test_x.py::test_a",), id="runs for the first time"),
        pytest.param(NONE_LEFT, PASS, [], CommandFailure.NEW, (), id="returns 0 and runs no test any more"),
        pytest.param(outcome(None, timed_out=True), PASS, [], CommandFailure.NEW, (), id="timeout"),
        pytest.param(outcome(None), PASS, [], CommandFailure.NEW, (), id="end unknown"),
        pytest.param(A, PASS, [B], CommandFailure.NEW, ("tests/test_x.py::test_a",), id="another fails when run again"),
        pytest.param(AB, A, [B], CommandFailure.NEW, ("tests/test_x.py::test_b",), id="the new one fails again"),
        pytest.param(OPAQUE, A, [], CommandFailure.NEW, (), id="named one before, and now breaks down"),
        pytest.param(SEGFAULT, A, [], CommandFailure.NEW, (), id="the same one, and then it breaks down"),
        pytest.param(TAP_TWO, TAP_THREE, [], CommandFailure.OLD, (), id="the exit code is the number of failures"),
        pytest.param(OPAQUE, A, [A], CommandFailure.FLAKY, (), id="breaks down once"),
        pytest.param(outcome(None, timed_out=True), A, [], CommandFailure.NEW, (), id="failed before, and now hangs"),
        pytest.param(outcome(None), OPAQUE, [], CommandFailure.NEW, (), id="failed before, and now its end is unknown"),
        pytest.param(A, outcome(None), [], CommandFailure.NEW, ("tests/test_x.py::test_a",), id="end before unknown"),
        pytest.param(OPAQUE, outcome(None, timed_out=True), [], CommandFailure.NEW, (), id="timeout before"),
        pytest.param(
            outcome(None, timed_out=True),
            outcome(None, timed_out=True),
            [],
            CommandFailure.OLD,
            (),
            id="timeout as before",
        ),
    ],
)
def test_only_what_is_new_and_stays_blocks(
    now: CommandOutcome,
    base: CommandOutcome | None,
    reruns: list[CommandOutcome],
    kind: CommandFailure,
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
    assert decode(CommandOutcome, encode(A), "outcome") == A
    before = {"command": "make test", "exit_code": 1, "timed_out": False, "output": "boom", "wall_seconds": 1.25}
    assert encode(CommandOutcome("make test", 1, timed_out=False, output="boom", wall_seconds=1.25)) == before
    with pytest.raises(StoreError, match=r"outcome.command: expected a text, found 1"):
        decode(CommandOutcome, {"command": 1}, "outcome")


def test_a_tail_says_what_it_left_out() -> None:
    assert tail("x" * 10, limit_chars=4) == "[6 characters left out]\nxxxx"


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


def test_a_binary_file_that_is_no_picture_calls_the_security_reviewer() -> None:
    listed = "2 files changed:\nA a.png, Binary file (9 bytes, PNG image)\nA tool, Binary file (9 bytes, ELF program)\n"
    assert unreadable_reasons(listed) == ("a binary file (ELF program)",)
    assert unreadable_reasons("+A tool, Binary file (9 bytes, ELF program)\n") == ()
