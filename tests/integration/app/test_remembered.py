"""What a run was begun with holds when it continues, and what is said then counts over it."""

from dataclasses import replace
from pathlib import Path

import pytest

from codexteam.app.command_lines import keep_line, lines_of, load_with_lines, said, with_lines
from codexteam.app.project import find_project
from codexteam.app.run import RunOptions, remembered
from codexteam.config.load import load_layers, load_settings
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.core.ids import JSONObject, RunId
from codexteam.errors import ConfigError
from codexteam.ports.store import RunRecord, Store
from codexteam.views.run_view import RunView
from tests.fakes.memory_store import MemoryStore
from tests.support_git import git

#: As `run --budget 5usd --max-threads 3 -m gpt-a -c model_reasoning_effort=low --enable apps --disable goals`.
THEN: JSONObject = {
    "flags": {"codexteam.budget.run_usd": 5.0, "codexteam.limits.max_threads": 3},
    "model": "gpt-a",
    "overrides": ["model_reasoning_effort=low"],
}


@pytest.fixture
def now(tmp_path: Path) -> LoadRequest:
    """A command line that says nothing."""
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    environment = {"CODEX_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    return LoadRequest(cwd=tmp_path / "project", environment=environment, system_folder=tmp_path / "system")


def resumed(now: LoadRequest, *then: JSONObject, **words: object) -> Settings:
    return load_with_lines(replace(now, **words), then)  # type: ignore[arg-type]  # fields by their names


def test_no_flag_needs_repeating(now: LoadRequest) -> None:
    settings = resumed(now, THEN)

    assert settings.team.budget.run_usd == 5.0
    assert settings.team.limits.max_threads == 3
    assert (settings.model.model, settings.model.effort) == ("gpt-a", "low")


def test_a_key_that_is_set_now_counts_over_a_flag_of_then(now: LoadRequest) -> None:
    settings = resumed(now, THEN, overrides=("codexteam.budget.run_usd=2", "model=gpt-b"))

    assert settings.team.budget.run_usd == 2
    assert settings.model.model == "gpt-b"
    assert settings.team.limits.max_threads == 3, "what is not said anew stays"


def test_a_table_that_is_set_now_counts_over_its_keys_of_then(now: LoadRequest) -> None:
    settings = resumed(now, THEN, overrides=("codexteam.budget={run_usd = 2, run_tokens = 7}",))

    assert (settings.team.budget.run_usd, settings.team.budget.run_tokens) == (2, 7)


def test_a_flag_of_now_counts_over_a_key_and_a_flag_of_then(now: LoadRequest) -> None:
    then: JSONObject = {**THEN, "overrides": ["codexteam.budget.run_tokens=9"]}

    settings = resumed(now, then, flags={"codexteam.budget.run_tokens": 8, "codexteam.limits.max_threads": 12})

    assert (settings.team.budget.run_tokens, settings.team.limits.max_threads) == (8, 12)


def test_a_feature_is_what_was_said_of_it_last(now: LoadRequest) -> None:
    then: JSONObject = {"enable": ["apps"], "disable": ["goals"]}

    load = with_lines(replace(now, enable=("goals",), overrides=("features.apps=false",)), [then])

    assert load_layers(load).merged.table("features") == {"apps": False, "goals": True}


def test_a_local_model_of_then_gives_way_to_a_model_and_a_provider_of_now(now: LoadRequest) -> None:
    then: JSONObject = {"oss": True}

    assert resumed(now, then).model.provider_id == "ollama"
    named = resumed(now, then, flags={"oss_provider": "lmstudio"}).model
    assert (named.provider_id, named.model) == ("lmstudio", "openai/gpt-oss-20b")
    other = resumed(now, then, overrides=("model=llama",)).model
    assert (other.provider_id, other.model) == ("ollama", "llama")
    assert resumed(now, then, overrides=("model_provider=openai",)).model.provider_id == "openai"


def test_a_command_line_comes_back_from_the_store_as_it_was(now: LoadRequest, tmp_path: Path) -> None:
    git(now.cwd, "init", "-q")
    begun = replace(
        now, overrides=("model_reasoning_effort=low",), model="gpt-a", flags={"codexteam.approve": ["plan"]}
    )
    project = find_project(now.cwd, now.environment, None)

    settings = resumed(now, remembered(RunOptions(begun, RunView()), project))

    assert settings.model == load_settings(begun).model
    assert settings.team == load_settings(begun).team


def test_a_relative_path_of_then_starts_from_where_it_was_said(now: LoadRequest) -> None:
    inner = now.cwd / "inner"
    inner.mkdir()
    (inner / "compact.md").write_text("Keep the names.")
    then = said(replace(now, cwd=inner, overrides=("experimental_compact_prompt_file=compact.md",)))

    assert resumed(now, then).compact_prompt == "Keep the names."
    elsewhere = {**then, "cwd": str(now.cwd / "gone")}
    assert resumed(replace(now, cwd=inner), elsewhere).compact_prompt == "Keep the names.", "as a project that moved"


def test_a_value_of_then_that_is_none_any_more_says_how_to_say_it_anew(now: LoadRequest) -> None:
    then: JSONObject = {"flags": {"codexteam.approve": ["apply"]}}
    with pytest.raises(ConfigError, match="approve") as caught:
        resumed(now, then)
    assert "resume -c KEY=VALUE" in caught.value.hint

    assert resumed(now, then, overrides=("codexteam.approve=['merge']",)).team.approve == ("merge",)
    with pytest.raises(ConfigError) as caught:
        resumed(now, THEN, overrides=("codexteam.approve=['apply']",))
    assert "earlier" not in caught.value.hint, "it is said now"


def test_a_feature_of_then_that_is_gone_is_told_and_left_out(now: LoadRequest) -> None:
    settings = resumed(now, {"enable": ["gone_since", "apps"], "disable": ["gone_too"]})

    assert [notice.split(",")[0] for notice in settings.notices] == ["--enable gone_since", "--disable gone_too"]
    with pytest.raises(ConfigError, match="no such feature"):
        resumed(now, enable=("gone_since",))


RUN = RunId("20261121-0231-7f3a")


async def goes_on(store: Store, now: LoadRequest, **said: object) -> Settings:
    """Continue with a run as `resume` does."""
    load = replace(now, **said)  # type: ignore[arg-type]  # fields by their names
    record = RunRecord(RUN, "goal", "base", "running", 1.0, THEN)
    settings = load_with_lines(load, await lines_of(store, record))
    await keep_line(store, RUN, load)
    return settings


async def test_what_one_resume_says_holds_until_something_newer_is_said(now: LoadRequest) -> None:
    store = MemoryStore()
    await goes_on(store, now, flags={"codexteam.budget.run_usd": 7.0}, model="gpt-b")

    second = await goes_on(store, now)
    assert (second.team.budget.run_usd, second.model.model, second.team.limits.max_threads) == (7.0, "gpt-b", 3)

    await goes_on(store, now, overrides=("codexteam.budget.run_usd=2",))
    fourth = await goes_on(store, now, flags={"codexteam.limits.max_threads": 9})
    assert (fourth.team.budget.run_usd, fourth.model.model, fourth.team.limits.max_threads) == (2, "gpt-b", 9)
    assert await goes_on(store, now) == fourth


async def test_a_profile_and_a_local_model_that_a_resume_names_hold_too(now: LoadRequest, tmp_path: Path) -> None:
    (tmp_path / "home" / "work.config.toml").write_text("[codexteam.limits]\nmax_rounds = 2\n")
    store = MemoryStore()
    await goes_on(store, now, profile="work", oss=True)
    await goes_on(store, now, flags={"oss_provider": "lmstudio"})

    settings = await goes_on(store, now)

    assert settings.team.limits.max_rounds == 2
    assert (settings.model.provider_id, settings.model.model) == ("lmstudio", "openai/gpt-oss-20b")


async def test_a_resume_that_says_nothing_new_leaves_nothing(now: LoadRequest) -> None:
    store, record = MemoryStore(), RunRecord(RUN, "goal", "base", "running", 1.0, THEN)
    for _ in range(3):
        await goes_on(store, now)
        await goes_on(store, now, flags={"codexteam.budget.run_usd": 7.0})

    assert len(await lines_of(store, record)) == 2
