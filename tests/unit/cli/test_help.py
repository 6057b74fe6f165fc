"""Every command explains itself, on a terminal of 80 columns."""

from collections.abc import Iterator

import pytest
import typer

from codexteam.cli.main import app, parser_of, run


def commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, command in getattr(group, "commands", {}).items():
        yield (*path, name), command
        yield from commands(command, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_help_fits_into_80_columns(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: ")
    assert [line for line in out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_says_what_it_does(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert str(getattr(command, "help", "") or "").strip()
    options = [parameter for parameter in getattr(command, "params", []) if hasattr(parameter, "help")]
    assert [option.name for option in options if not option.help and not option.hidden] == []


@pytest.mark.parametrize("path", [(), *(path for path in ALL if hasattr(ALL[path], "commands"))], ids=" ".join)
def test_no_summary_is_cut(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: {' '.join(('codexteam', *path))} [OPTIONS] ")
    summaries = out.split("Commands:")[1]
    assert [line for line in summaries.splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize("path", [path for path in ALL if not hasattr(ALL[path], "commands")], ids=" ".join)
def test_usage_names_arguments_in_one_way(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    arguments = capsys.readouterr().out.splitlines()[0].partition("[OPTIONS]")[2]

    assert arguments == arguments.upper()
    assert "[[" not in arguments
    assert "......" not in arguments


@pytest.mark.parametrize("path", [path for path in ALL if not hasattr(ALL[path], "commands")], ids=" ".join)
def test_an_argument_is_said_in_a_user_s_words(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    arguments = capsys.readouterr().out.partition("Arguments:")[2].partition("Options:")[0]

    assert "<" not in arguments, "a type of the language that this is written in"


def test_a_command_says_which_run_is_meant_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    said = {"status": "the newest", "stop": "the active run", "clean": "as above", "salvage": "all"}
    for command, words in said.items():
        assert run([command, "--help"]) == 0
        assert f"Run id or unique prefix (default: {words})." in " ".join(capsys.readouterr().out.split())


def test_the_list_of_commands_is_what_their_own_parsers_say() -> None:
    whole, listed = (
        {name: (each.get_short_help_str(200), each.hidden) for name, each in parser.commands.items()}
        for parser in (parser_of(""), parser_of("", listed=True))
    )
    assert listed == whole
    assert list(listed) == list(whole)


def test_a_line_that_begins_with_a_command_builds_its_parser_alone() -> None:
    assert list(parser_of("status").commands) == ["status"]
    assert list(parser_of("config").commands) == ["config"]
