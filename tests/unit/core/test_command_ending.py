"""How a command ended is read from what real test runners print, not from the exit code alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexteam.core.command_ending import Cause, Ending, cannot_fail, is_test_runner, read_ending
from codexteam.core.runner_reports import failed_tests

RECORDED = Path(__file__).parents[2] / "data" / "runner_output" / "recorded.jsonl"
ROWS: list[dict[str, object]] = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_what_a_real_runner_printed_is_read_as_it_was_meant(row: dict[str, object]) -> None:
    read = read_ending(
        str(row["command"]), exit_code=int(str(row["exit_code"])), timed_out=False, output=str(row["output"])
    )

    assert read.ending.value == row["ending"], read
    assert read.reason or read.ending is Ending.PASSED


def test_many_runners_were_recorded() -> None:
    assert len(ROWS) > 80
    assert {row["ending"] for row in ROWS} == {"passed", "failed", "cannot_run", "nothing_ran"}


def recorded(name: str) -> dict[str, object]:
    [row] = [row for row in ROWS if row["name"] == name]
    return row


@pytest.mark.parametrize(
    ("name", "cause", "missing"),
    [
        ("pytest-missing", Cause.PROGRAM, "no-such-pytest"),
        ("npm-child", Cause.PROGRAM, "no-such-runner"),
        ("pytest-import", Cause.MODULE, "nosuchthing"),
        ("prove-module", Cause.MODULE, "No/Such/Module.pm"),
        ("phpunit-bootstrap-script", Cause.MODULE, "/work/ph/tests/../vendor/autoload.php"),
        ("make-none", Cause.SCRIPT, "test"),
        ("npm-script", Cause.SCRIPT, "test"),
        ("pytest-option", Cause.USAGE, "--cov=a"),
        ("pytest-path", Cause.PATH, "tests/test_new.py"),
        ("go-version", Cause.TOOLCHAIN, "go.mod requires go >= 1.99"),
    ],
)
def test_what_is_missing_is_named(name: str, cause: Cause, missing: str) -> None:
    row = recorded(name)

    read = read_ending(
        str(row["command"]), exit_code=int(str(row["exit_code"])), timed_out=False, output=str(row["output"])
    )

    assert (read.cause, read.missing) == (cause, missing)


def test_a_runner_that_fails_before_its_first_test_cannot_run() -> None:
    words = "PHPUnit 9.6.7 by Sebastian Bergmann and contributors.\n\nsomething that nobody has seen before\n"

    read = read_ending("composer all", exit_code=1, timed_out=False, output=words)

    assert (read.ending, read.reason) == (Ending.CANNOT_RUN, "something that nobody has seen before")


def test_a_build_tools_check_that_fails_has_failed() -> None:
    words = "[INFO] Scanning for projects...\n[ERROR] a line is too long\n[INFO] BUILD FAILURE\n"

    read = read_ending("mvn checkstyle:check", exit_code=1, timed_out=False, output=words)

    assert read.ending is Ending.FAILED


def test_tests_that_ran_outweigh_words_of_a_missing_network() -> None:
    row = recorded("pytest-network")

    read = read_ending("pytest -q", exit_code=1, timed_out=False, output=str(row["output"]))

    assert (read.ending, read.executed, read.failed) == (Ending.FAILED, 3, 1)


@pytest.mark.parametrize(
    ("exit_code", "timed_out", "ending"),
    [
        (0, True, Ending.TIMED_OUT),
        (None, False, Ending.KILLED),
        (137, False, Ending.KILLED),
        (139, False, Ending.KILLED),
    ],
)
def test_what_was_ended_from_outside_is_no_verdict(exit_code: int | None, timed_out: bool, ending: Ending) -> None:
    read = read_ending("pytest", exit_code=exit_code, timed_out=timed_out, output="2 passed in 0.1s\n")

    assert read.ending is ending
    assert not read.checked


@pytest.mark.parametrize(
    "command",
    [
        "pytest -q",
        "python -m pytest",
        "uv run pytest",
        "cd a && npm test",
        "FOO=1 go test ./...",
        "npx jest",
        "a; mvn test",
    ],
)
def test_a_runner_is_known_by_its_name(command: str) -> None:
    assert is_test_runner(command)


@pytest.mark.parametrize(
    "command", ["ruff check .", "grep -q pytest setup.py", "make test", "go vet ./...", "echo 'pytest"]
)
def test_other_commands_are_no_runners(command: str) -> None:
    assert not is_test_runner(command)


@pytest.mark.parametrize(
    "command", ["true", ":", "exit 0", "echo done", "pytest || true", "pytest; true", "a && echo x || :"]
)
def test_a_command_that_passes_whatever_happens_is_named(command: str) -> None:
    assert cannot_fail(command)


@pytest.mark.parametrize("command", ["pytest", "test -f a", "echo a | grep b", "true && pytest", "pytest || exit 1"])
def test_a_command_that_can_fail_is_not(command: str) -> None:
    assert cannot_fail(command) == ""


@given(st.text(max_size=300), st.integers(0, 255))
def test_any_output_has_an_ending(output: str, exit_code: int) -> None:
    read = read_ending("make check", exit_code=exit_code, timed_out=False, output=output)

    assert exit_code == 0 or read.ending is not Ending.PASSED


@pytest.mark.timeout(10)
def test_a_hostile_line_costs_no_more_than_a_short_one() -> None:
    output = ("= " + "1 passed, " * 20_000 + "in x\n") * 5

    assert read_ending("pytest", exit_code=1, timed_out=False, output=output).ending is not Ending.PASSED


def test_a_script_whose_browser_is_missing_cannot_run_although_tests_ran() -> None:
    output = (
        "  16 passing (167ms)\n\n> debug@4.4.3 test:browser\n> karma start --single-run\n\n"
        "30 11 2026 17:33:56.832:INFO [launcher]: Starting browser ChromeHeadless\n"
        "30 11 2026 17:33:56.833:ERROR [launcher]: No binary for ChromeHeadless browser on your platform.\n"
        '  Please, set "CHROME_BIN" env variable.\n'
    )

    read = read_ending("npm test", exit_code=1, timed_out=False, output=output)

    assert (read.ending, read.cause, read.missing) == (Ending.CANNOT_RUN, Cause.SERVICE, "ChromeHeadless")


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (" FAIL  test/a.spec.ts > adds > two numbers\n", "test/a.spec.ts > adds > two numbers"),
        ("rspec ./spec/a_spec.rb:3 # Sum adds\n", "Sum adds"),
        ("1) App\\Tests\\SumTest::testAdds\n", "App\\Tests\\SumTest::testAdds"),
    ],
)
def test_runners_name_the_tests_that_failed(output: str, name: str) -> None:
    assert failed_tests(output) == frozenset({name})
