"""Every flag of `run`, `plan` and `resume` reaches what the run is made of, wherever it stands on the command line."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
import typer

from codexteam.adapters.store.sqlite_store import SqliteStore
from codexteam.app.command_lines import lines_of
from codexteam.cli.main import app
from codexteam.core.ids import JSONObject
from tests.integration.cli.conftest import Cli
from tests.support_git import git

#: Flags that all commands take, and what is kept of them.
SHARED: dict[str, tuple[str, str, object]] = {
    "--profile": ("work", "profile", "work"),
    "--config": ("model_reasoning_effort=low", "overrides", ["model_reasoning_effort=low"]),
    "--model": ("gpt-b", "model", "gpt-b"),
    "--enable": ("apps", "enable", ["apps"]),
    "--disable": ("goals", "disable", ["goals"]),
    "--strict-config": ("", "strict", True),
    "--oss": ("", "oss", True),
    "--local-provider": ("lmstudio", "flags.oss_provider", "lmstudio"),
}
#: Flags of single commands.
OWN: dict[str, tuple[str, str, object]] = {
    "--budget": ("5m", "flags.codexteam.budget.run_tokens", 5_000_000),
    "--on-task-budget": ("fail", "flags.codexteam.budget.on_task_budget", "fail"),
    "--max-threads": ("3", "flags.codexteam.limits.max_threads", 3),
    "--max-rounds": ("2", "flags.codexteam.limits.max_rounds", 2),
    "--allow-guarded": ("*.yml", "flags.codexteam.allow_guarded", ["*.yml"]),
    "--step": ("analyst=off", "flags.codexteam.steps.analyst", "off"),
    "--no-docs": ("", "flags.codexteam.steps.documentation", "off"),
    "--approve": ("plan,merge", "flags.codexteam.approve", ["plan", "merge"]),
    "--record": ("/nowhere/record", "flags.codexteam.record_file", "/nowhere/record"),
    "--replay": ("/nowhere/replay", "flags.codexteam.replay_file", "/nowhere/replay"),
}
#: Those that say how a command shows what it does, where it works, or what it is about.
BESIDE = {
    "--output-last-message",
    "--issue",
    "--batches",
    "--constraints",
    "--json",
    "--ci",
    "--artifacts",
    "--repo",
    "--fan-out",
    "--quiet",
    "--wait",
    "--state-dir",
    "--cd",
    "--color",
    "--plan",
    "--last",
    "--pr",
    "--draft",
    "--interactive",
    "--help",
}


def flags_of(command: str) -> set[str]:
    found = getattr(typer.main.get_command(app), "commands", {})[command].params
    return {parameter.opts[0] for parameter in found if parameter.opts[0].startswith("--")}


def words_of(flags: dict[str, tuple[str, str, object]]) -> list[str]:
    return [word for flag, (value, _, _) in flags.items() for word in (flag, value) if word]


def expected(flags: dict[str, tuple[str, str, object]]) -> dict[str, object]:
    return {where: value for _, where, value in flags.values()}


def kept(line: JSONObject) -> dict[str, object]:
    """Give what is kept of a command line, but for what nobody said."""
    flags = {f"flags.{name}": value for name, value in cast("JSONObject", line["flags"]).items()}
    beside = {"flags", "cwd", "state_dir", "plan_only"}
    return {
        name: value
        for name, value in {**line, **flags}.items()
        if name not in beside and value not in (None, False, [])
    }


@pytest.fixture
def repository(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository on a machine where no engine answers, so that a run ends as soon as it has begun."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    git(root, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "one")
    codex = home / ".codex"
    codex.mkdir()
    (codex / "work.config.toml").write_text("[codexteam.limits]\nmax_attempts = 2\n")
    (codex / "codexteam.config.toml").write_text('[codexteam.sandbox]\nkind = "docker"\n')
    monkeypatch.setenv("CODEX_HOME", str(codex))
    monkeypatch.setenv("OPENAI_API_KEY", "no-key-at-all")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    monkeypatch.chdir(root)
    return root


def lines(repository: Path) -> list[dict[str, object]]:
    """Give what is kept of the newest run's command lines."""

    async def read() -> list[dict[str, object]]:
        store = SqliteStore(repository / ".git/codexteam/state.sqlite", read_only=True)
        try:
            return [kept(line) for line in await lines_of(store, (await store.runs())[0])]
        finally:
            await store.close()

    return asyncio.run(read())


@pytest.mark.parametrize("command", ["run", "plan", "resume"])
def test_every_flag_is_tried_here(command: str) -> None:
    assert flags_of(command) - BESIDE - SHARED.keys() <= OWN.keys()


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_run_is_begun_with_all_that_was_said(command: str, before: bool, repository: Path, cli: Cli) -> None:
    own = {flag: OWN[flag] for flag in flags_of(command) & OWN.keys() if flag != "--replay"}
    shared = words_of(SHARED)

    done = cli(*(shared if before else []), command, "a goal", *words_of(own), *([] if before else shared))

    assert done.code == 6, done.err
    assert lines(repository) == [expected({**own, **SHARED})]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_recording_is_what_answers(command: str, repository: Path, cli: Cli) -> None:
    cli(command, "a goal", *words_of({"--replay": OWN["--replay"]}))

    [line] = lines(repository)
    assert line == {"flags.model_provider": "replay", "flags.codexteam.replay_file": "/nowhere/replay"}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_run_goes_on_with_all_that_is_said_then(before: bool, repository: Path, cli: Cli) -> None:
    own = {flag: OWN[flag] for flag in flags_of("resume") & OWN.keys() if flag != "--replay"}
    shared = words_of(SHARED)
    assert cli("run", "a goal").code == 6

    done = cli(*(shared if before else []), "resume", *words_of(own), *([] if before else shared))

    assert done.code == 6, done.err
    assert lines(repository) == [{}, expected({**own, **SHARED})]


def test_a_run_goes_on_with_every_flag_that_it_may_be_begun_with(repository: Path, cli: Cli) -> None:
    # constraints and an issue are part of the goal, which stays; a run over several repositories is one in each
    assert flags_of("run") - {"--constraints", "--issue", "--repo", "--fan-out"} <= flags_of("resume")
    assert cli("run", "a goal").code == 6

    assert cli("resume", "--plan", "plan.md", *words_of({"--replay": OWN["--replay"]})).code != 2
    other = cli("resume", "--plan", "other.md")

    replayed = {"flags.model_provider": "replay", "flags.codexteam.replay_file": "/nowhere/replay"}
    assert lines(repository) == [{}, replayed]
    assert other.code == 2
    assert "a run continues with its own plan" in other.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run add csv import", 'codexteam run "add csv import"'),
        ("-m x run add csv import --budget 5usd", 'codexteam -m x run "add csv import" --budget 5usd'),
        ("plan add --json csv", 'codexteam plan "add csv" --json'),
        ("csv import please", 'codexteam run "csv import please"'),
        ("run pay $5", "codexteam run 'pay $5'"),
    ],
)
def test_a_goal_without_quotes_is_shown_as_it_is_meant(typed: str, meant: str, cli: Cli, repository: Path) -> None:
    done = cli(*typed.split())
    assert done.code == 2
    assert done.err.splitlines()[1].endswith(meant)
    assert not (repository / ".git/codexteam").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--step", "docs=off"), "there is no step 'docs'; there are scouts, analyst, documentation, release"),
        (("--step", "release=maybe"), "found 'maybe'; allowed are auto, always, off"),
        (("--step", "release"), "found ''; allowed are auto, always, off"),
        (("--no-docs", "--step", "documentation=always"), "--no-docs and --step documentation=always contradict"),
        (("-c", 'codexteam.steps.docs="off"'), "codexteam.steps.docs"),
        (("-c", 'codexteam.steps.release="maybe"'), 'found the string "maybe"; allowed: one of'),
        (("-o", "/nowhere/at/all.md"), "--output-last-message /nowhere/at/all.md: it cannot be written"),
        (("--constraints", " "), "--constraints: it is empty"),
        (("--constraints", "/nowhere/rules.md"), "--constraints /nowhere/rules.md: there is no such file"),
        (("--constraints", "rules.md"), "--constraints rules.md: there is no such file"),
        (("--constraints", ".."), "--constraints ..: it is not a file"),
    ],
)
def test_an_unknown_step_or_value_is_one_message_and_exit_2(
    words: tuple[str, ...], said: str, cli: Cli, repository: Path
) -> None:
    done = cli("run", "a goal", *words)

    assert done.code == 2
    assert said in done.err
    assert not (repository / ".git/codexteam").exists()


def test_a_command_that_is_near_another_is_taken_for_it_and_not_for_a_goal(cli: Cli) -> None:
    assert cli("stauts", "x").err == "error: there is no command 'stauts'\nhint: did you mean codexteam status?\n"
    assert "codexteam --help lists them" in cli("foo").err


def test_what_stands_after_the_command_counts_over_what_stands_before_it(repository: Path, cli: Cli) -> None:
    words = ("--color", "always", "-m", "gpt-a", "run", "a goal", "--color", "auto", "-m", "gpt-b")

    done = cli(*words)

    assert lines(repository) == [{"model": "gpt-b"}]
    assert "\x1b[" not in done.out + done.err
