"""The root of the command line: options before and after the command, and the one error boundary."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from codexteam.cli.errors import run_guarded
from codexteam.cli.options import ColorChoice, GlobalOptions, global_options, share_with_commands
from codexteam.errors import ConfigError, mark_reported

ROOT = Path(__file__).parents[3]


def _seen(*arguments: str) -> GlobalOptions:
    """Give the options that a command of a sub-group sees, through the real root's callback."""
    from codexteam.cli.main import root

    app = typer.Typer(rich_markup_mode=None)
    app.callback()(root)
    group = typer.Typer()
    seen: list[GlobalOptions] = []

    @group.command("do")
    def do(ctx: typer.Context, *, goal: str = "") -> None:
        seen.append(global_options(ctx))

    @group.command("own")
    def own(ctx: typer.Context, message: str = typer.Option("", "-m")) -> None:
        assert message == "mine"
        seen.append(global_options(ctx))

    app.add_typer(group, name="group")
    parser = typer.main.get_command(app)
    share_with_commands(parser)
    parser.main(args=list(arguments), prog_name="x", standalone_mode=False)
    return seen[0]


def test_an_option_after_the_command_means_the_same_as_before_it() -> None:
    options = (
        "-m",
        "gpt-x",
        "-C",
        "/tmp",
        "-p",
        "work",
        "-c",
        "a=1",
        "--strict-config",
        "--enable",
        "f",
        "--color=never",
    )
    before, after = _seen(*options, "group", "do"), _seen("group", "do", *options)
    between = _seen("group", *options, "do")
    assert before == after == between
    assert before == GlobalOptions(
        directory=Path("/tmp"),
        profile="work",
        overrides=("a=1",),
        model="gpt-x",
        strict_config=True,
        enable=("f",),
        color=ColorChoice.NEVER,
    )


def test_overrides_from_both_sides_are_joined_and_a_later_value_wins() -> None:
    options = _seen("-c", "a=1", "-m", "first", "group", "-c", "a=2", "do", "-c", "a=3", "-m", "last")
    assert options.overrides == ("a=1", "a=2", "a=3")
    assert options.model == "last"


def test_a_commands_own_option_is_not_taken_from_it() -> None:
    assert _seen("-m", "gpt-x", "group", "own", "-m", "mine").model == "gpt-x"


def test_a_known_error_is_a_message_a_hint_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigError("config.toml:1: \x1b[31mbad", hint="mend it")

    assert run_guarded(fail, {}) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: config.toml:1: \\x1b[31mbad\nhint: mend it\n"


def test_programs_get_a_failure_as_the_last_record(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        sys.stdout.write('{"type":"run"}\n')
        raise ConfigError("config.toml:1: \x1b[31mbad", hint="mend it")

    assert run_guarded(fail, {}, json_lines=True) == 2
    captured = capsys.readouterr()
    last = captured.out.splitlines()[-1]
    assert "\x1b" not in last
    assert json.loads(last) == {
        "type": "error",
        "message": "config.toml:1: \x1b[31mbad",
        "hint": "mend it",
        "exit_code": 2,
    }
    assert captured.err.startswith("error: config.toml:1")


@pytest.mark.parametrize("error", [ConfigError("bad", hint="mend it"), OSError(28, "full"), ZeroDivisionError()])
def test_a_failure_that_programs_know_of_is_told_to_people_alone(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    mark_reported(error)

    def fail() -> None:
        raise error

    def fail_after_it() -> None:
        try:
            fail()
        finally:
            raise OSError(28, "full")

    def fail_in_other_words() -> None:
        try:
            fail()
        except Exception as cause:
            raise ConfigError("in other words") from cause

    for action in (fail, fail_after_it, fail_in_other_words):
        run_guarded(action, {}, json_lines=True)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")


@pytest.mark.parametrize("words", [("status", "--json", "no-such-run"), ("status", "--json", "--no-such-flag")])
def test_a_command_that_does_not_come_to_its_work_ends_with_a_record_too(words: tuple[str, ...]) -> None:
    done = _codexteam(*words)
    [line] = done.stdout.splitlines()
    record = json.loads(line)
    assert (record["type"], record["exit_code"]) == ("error", done.returncode)
    assert done.returncode == 2


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run_guarded(interrupt, {}) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_unexpected_error_is_one_line_and_a_traceback_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail() -> None:
        secret = "local-value"  # noqa: F841 - what must not be shown
        raise ZeroDivisionError("a\x1b[2Jb")

    assert run_guarded(fail, {}) == 1
    message, hint = capsys.readouterr().err.splitlines()
    assert message == "error: unexpected ZeroDivisionError: a\\x1b[2Jb"
    kept = Path(hint.split()[-1])
    assert kept.parent == tmp_path
    assert kept.stat().st_mode & 0o077 == 0
    report = kept.read_text()
    assert "in fail" in report
    assert "secret =" not in report

    assert run_guarded(fail, {"CODEXTEAM_DEBUG": "1"}) == 1
    assert "in fail" in capsys.readouterr().err


def test_a_command_gives_its_exit_code() -> None:
    assert run_guarded(lambda: 3, {}) == 3
    assert run_guarded(lambda: None, {}) == 0


def _codexteam(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "codexteam", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--version"], ["-V"], ["-C", "/tmp", "--version"]])
def test_the_version_is_one_line(arguments: list[str]) -> None:
    done = _codexteam(*arguments)
    assert done.returncode == 0
    assert done.stdout.split() == ["codexteam", *done.stdout.split()[1:2]]


def test_the_version_imports_no_parser() -> None:
    assert "typer" not in _codexteam("--version").stderr


@pytest.mark.parametrize("arguments", [["--help"], ["config", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = _codexteam(*arguments)
    assert done.returncode == 0
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    heavy = {"rich", "openai", "docker", "git", "asyncio", "sqlite3", "httpx2", "tomllib", "ssl"}
    assert not loaded & heavy


def test_a_wrong_command_line_is_2_with_a_suggestion() -> None:
    done = _codexteam("confg")
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()[-2:]
    assert error == "error: there is no command 'confg'", "as every error begins"
    assert hint == "hint: did you mean codexteam config?"
