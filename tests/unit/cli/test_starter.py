"""What `codexteam init` writes."""

import tomllib

import pytest

from codexteam.config.locations import BUNDLED_ROLES, bundled_role_file
from codexteam.config.starter import FAST_MODEL, Tier, starter_pack
from codexteam.errors import UsageError


def parsed(**arguments: object) -> dict[str, dict[str, object]]:
    files = starter_pack(**arguments)  # type: ignore[arg-type]  # the tests below give what it takes
    return {file.name: tomllib.loads(file.text) for file in files}


def models(**arguments: object) -> object:
    return parsed(**arguments)["codexteam.config.toml"]["codexteam"]["models"]  # type: ignore[index]


def test_the_pro_tier_has_a_fast_model() -> None:
    assert models(tier=Tier.PRO) == {"deep": "gpt-5.4", "fast": FAST_MODEL}


@pytest.mark.parametrize("tier", [Tier.PLUS, Tier.API])
def test_the_other_tiers_have_one_model_everywhere(tier: Tier) -> None:
    assert models(tier=tier) == {"deep": "gpt-5.4", "fast": "gpt-5.4"}


def test_models_can_be_chosen_by_name_in_any_tier() -> None:
    assert models(tier=Tier.PLUS, model='odd "name"\\x', fast_model="quick") == {
        "deep": 'odd "name"\\x',
        "fast": "quick",
    }


def test_models_stand_in_one_place_alone() -> None:
    pack = parsed(tier=Tier.PRO)

    assert [name for name in BUNDLED_ROLES if "model" in pack[f"agents/{name}.toml"]] == []


@pytest.mark.parametrize("model", ["", "  ", " padded", "two\nlines", "\x1b[31m"])
def test_what_cannot_be_a_model_name_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match="not a model name"):
        starter_pack(Tier.PLUS, model=model)


def test_a_role_file_differs_from_the_shipped_one_in_its_model_alone() -> None:
    files = {file.name: file.text for file in starter_pack(Tier.PRO)}

    shipped = bundled_role_file("explorer").read_text(encoding="utf-8").splitlines()
    assert files["agents/explorer.toml"].splitlines() == [line for line in shipped if line != 'model = "gpt-5.4"']


def test_the_api_tier_names_a_provider_and_the_variable_of_its_key() -> None:
    team = parsed(tier=Tier.API)["codexteam.config.toml"]

    assert team["model_provider"] == "openai-api"
    assert team["model_providers"]["openai-api"]["env_key"] == "OPENAI_API_KEY"  # type: ignore[index]


def test_a_project_gets_no_key_that_projects_may_not_set() -> None:
    pack = parsed(tier=Tier.API, project=True)

    for file in pack.values():
        assert not {"model_provider", "model_providers", "openai_base_url", "profile", "notify", "otel"} & set(file)


@pytest.mark.parametrize("tier", list(Tier))
def test_the_team_may_write_and_has_a_budget(tier: Tier) -> None:
    team = parsed(tier=tier)["codexteam.config.toml"]

    assert team["sandbox_mode"] == "workspace-write"
    assert team["codexteam"]["budget"]["run_tokens"] > 0  # type: ignore[index]
