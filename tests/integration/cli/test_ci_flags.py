"""`--ci` on the command line: what it needs, and what is left where a command cannot begin."""

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "goal", "--ci"), "--ci needs --budget"),
        (("plan", "goal", "--ci", "--budget", "none"), "while nobody watches: it is none"),
        (("review", "--ci", "--json", "--budget", "5usd"), "--json and --ci both say"),
        (("run", "goal", "--artifacts", "x"), "--artifacts says where --ci leaves files"),
        (("run", "goal", "--ci", "--budget", "5usd"), "no folder is named for the artifacts"),
        (("plan", "goal", "-i", "--ci", "--budget", "5usd"), "-i asks a person and --ci asks nobody"),
    ],
)
def test_what_contradicts_a_pipeline_is_refused_first(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    ended = cli(*arguments)
    assert (ended.code, said in ended.err) == (2, True), ended.err


@pytest.mark.parametrize("command", ["run", "plan", "review"])
def test_why_a_command_could_not_begin_is_left_too(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(home / "output"))
    (home / "left").mkdir()
    (home / "left" / "branch.bundle").write_text("of an earlier job")

    goal = [] if command == "review" else ["goal"]
    ended = cli(command, *goal, "--ci", "--budget", "5usd", "--artifacts", "left")

    assert ended.code == 6
    left = json.loads((home / "left" / "result.json").read_text())
    assert (left["command"], left["result"], left["exit_code"]) == (command, "error", 6)
    assert "exit-code=6\n" in (home / "output").read_text()
    assert "::error title=codexteam%3A error::" in ended.err
    assert not (home / "left" / "branch.bundle").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "--issue", "https://github.com:abc/acme/tally/issues/1"), 7, "names no repository on GitHub"),
        (("plan", "--issue", "x"), 2, "allowed are a number and an issue's address"),
        (("run", "goal", "--draft"), 2, "--draft says how a pull request is opened"),
        (("run", "goal", "--pr"), 6, "repository"),
        (
            (
                "resume",
                "--pr",
            ),
            6,
            "repository",
        ),
    ],
)
def test_what_is_seen_before_a_run_is_left_too(
    cli: Cli, home: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = cli(*arguments, "--ci", "--budget", "5usd", "--artifacts", "left")
    assert (ended.code, "Traceback" in ended.err) == (code, False), ended.err
    left = json.loads((home / "left" / "result.json").read_text())
    assert (left["command"], left["result"], left["exit_code"]) == (arguments[0], "error", code)
    assert said in left["reason"]


def test_an_error_is_no_command_to_the_runner(cli: Cli) -> None:
    ended = cli("run", "goal", "--ci", "--budget", "##[add-mask]x")
    assert (ended.code, "##[" in ended.err, "## [add-mask]x" in ended.err) == (2, False, True)
