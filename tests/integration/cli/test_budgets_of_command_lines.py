"""Limits that cannot be kept are refused before anything is made; limits can be replaced and taken back."""

from pathlib import Path

import pytest

from codexteam.app.command_lines import load_with_lines
from codexteam.cli.run_flags import budget_flags
from codexteam.config.locations import BUNDLED_ROLES
from codexteam.config.price_list import shipped_prices
from codexteam.config.priced import models_of, price_problem
from codexteam.config.request import LoadRequest
from codexteam.core.ids import JSONObject
from codexteam.errors import UsageError
from tests.integration.cli.conftest import Cli

PROVIDER = """
model = "gpt-a"
model_provider = "mine"
[model_providers.mine]
name = "Mine"
base_url = "http://127.0.0.1:9/v1"
"""
PRICED = """
[codexteam.prices.gpt-a]
input_usd = 1
output_usd = 10
"""


@pytest.fixture
def configured(home: Path) -> Path:
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(PROVIDER)
    return home / ".codex"


@pytest.mark.parametrize(("budget", "unit"), [("5usd", "USD"), ("300credits", "credits")])
def test_a_money_limit_without_a_price_is_a_usage_error_and_makes_nothing(
    cli: Cli, configured: Path, repository: Path, budget: str, unit: str
) -> None:
    (configured / "codexteam.config.toml").write_text('[codexteam.budget]\ncredit = "0.01usd"\n')

    done = cli("-C", str(repository), "run", "Write a file with a poem in it", "--budget", budget)

    assert done.code == 2, done.err
    assert f"the limit in {unit} cannot be kept: no price is known for gpt-a" in done.err
    assert '[codexteam.prices."gpt-a"]' in done.err
    assert "--budget 2000k" in done.err
    assert not (repository / ".git/codexteam").exists()


def test_doctor_says_that_a_limit_cannot_be_kept(cli: Cli, configured: Path, repository: Path) -> None:
    (configured / "codexteam.config.toml").write_text("[codexteam.budget]\nrun_usd = 5\n")

    done = cli("-C", str(repository), "doctor")

    assert done.code == 2
    assert "no price is known for gpt-a" in done.out


def test_a_price_in_the_limits_unit_is_enough(configured: Path) -> None:
    (configured / "codexteam.config.toml").write_text(f"[codexteam.budget]\nrun_usd = 5\n{PRICED}")
    load = LoadRequest(configured, {"CODEX_HOME": str(configured)}, system_folder=configured / "none")

    in_credits: JSONObject = {"flags": dict(budget_flags(["3credits"]))}
    assert price_problem(load_with_lines(load, ())) is None
    assert price_problem(load_with_lines(load, (in_credits,))) is None, "a credit is a thousand tokens"

    # rates of their own, of which one is missing, are not replaced by what a credit is elsewhere
    (configured / "codexteam.config.toml").write_text(f"{PRICED}input_credits = 3\n")
    problem = price_problem(load_with_lines(load, (in_credits,)))
    assert problem is not None
    assert "the limit in credits" in problem[0]


def test_a_budget_in_dollars_needs_no_price_of_a_known_model(cli: Cli, configured: Path, repository: Path) -> None:
    (configured / "codexteam.config.toml").write_text('model = "gpt-5.5"\n[codexteam.budget]\nrun_usd = 5\n')

    done = cli("-C", str(repository), "doctor")

    assert "cannot be kept" not in done.out
    assert "gpt-5.5: input $5, cached $0.5, output $30" in done.out
    assert f"({shipped_prices().words})" in done.out


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('credit = "5eur"', "'5eur'"),
        ('credit = "-1k-tokens"', "'-1k-tokens'"),
        ("task_usd = -1", "the number -1"),
        ("role_usd = { nobody = 1 }", "a role that does not exist"),
    ],
)
def test_a_limit_that_makes_no_sense_is_one_message(
    cli: Cli, configured: Path, repository: Path, line: str, found: str
) -> None:
    (configured / "codexteam.config.toml").write_text(f"[codexteam.budget]\n{line}\n")

    done = cli("-C", str(repository), "run", "Write a file with a poem in it")

    assert done.code == 2
    assert "codexteam.config.toml:2" in done.err
    assert f"found {found}" in done.err
    assert "allowed: " in done.err


@pytest.mark.parametrize(
    ("then", "now", "limits"),
    [
        (["70k"], [], (None, None, 70_000)),
        (["70k"], ["5usd"], (5.0, None, None)),
        (["5usd", "70k"], ["none"], (None, None, None)),
        (["5usd"], ["3credits", "1m"], (None, 3.0, 1_000_000)),
        (["none"], ["80k"], (None, None, 80_000)),
    ],
)
def test_a_new_budget_replaces_the_earlier_one(
    configured: Path, then: list[str], now: list[str], limits: tuple[object, ...]
) -> None:
    line: JSONObject = {"flags": dict(budget_flags(then))}
    load = LoadRequest(
        configured,
        {"CODEX_HOME": str(configured)},
        flags=budget_flags(now),
        system_folder=configured / "none",
    )

    budget = load_with_lines(load, (line,)).team.budget

    assert (budget.run_usd, budget.run_credits, budget.run_tokens) == limits


def test_none_takes_back_a_limit_of_a_file(configured: Path) -> None:
    (configured / "codexteam.config.toml").write_text("[codexteam.budget]\nrun_tokens = 5\n")
    load = LoadRequest(configured, {"CODEX_HOME": str(configured)}, system_folder=configured / "none")

    assert load_with_lines(load, ()).team.budget.run_tokens == 5
    assert load_with_lines(load, ({"flags": dict(budget_flags(["none"]))},)).team.budget.run_tokens is None


@pytest.mark.parametrize("amounts", [["3000"], ["lots"], ["none", "5usd"], [""]])
def test_an_amount_without_a_unit_is_an_error_that_says_the_units(amounts: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        budget_flags(amounts)
    assert "none" in str(raised.value)
    if amounts == ["3000"]:
        assert raised.value.hint == "say the unit: 3000usd, 3000k or 3000credits"


@pytest.mark.parametrize("amount", ["1e999usd", "-1usd", "5eur", "25%", "1.2.3usd"])
def test_a_hint_never_makes_an_amount_of_what_was_not_one(amount: str) -> None:
    with pytest.raises(UsageError, match="5usd") as raised:
        budget_flags([amount])
    assert raised.value.hint == "write a plain number and then its unit, as in --budget 5usd"


@pytest.mark.parametrize("amounts", [["5usd", "7usd"], ["5usd", "$5"], ["2000k", "2m"], ["5%5h", "6%5h"]])
def test_two_limits_in_one_unit_are_an_error_that_names_both(amounts: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        budget_flags(amounts)
    assert f"--budget {amounts[0]} and --budget {amounts[1]} set the same limit" in str(raised.value)


def test_a_model_that_no_role_asks_needs_no_price(configured: Path) -> None:
    roles = "".join(f"[agents.{name}]\ndescription='d'\nconfig_file='role.toml'\n" for name in BUNDLED_ROLES)
    (configured / "role.toml").write_text('model = "gpt-5.5"\n')
    (configured / "config.toml").write_text(f"{PROVIDER}{roles}[codexteam.budget]\nrun_usd = 5\n")
    load = LoadRequest(configured, {"CODEX_HOME": str(configured)}, system_folder=configured / "none")

    settings = load_with_lines(load, ())

    assert settings.model.model == "gpt-a"
    assert price_problem(settings) is None
    assert models_of(settings) == ["gpt-5.5"]


def test_a_role_of_ones_own_that_may_get_a_task_needs_a_price(configured: Path) -> None:
    (configured / "config.toml").write_text(
        'model = "gpt-5.5"\n[codexteam.budget]\nrun_usd = 5\n[agents.painter]\ndescription="d"\nconfig_file="p.toml"\n'
    )
    (configured / "p.toml").write_text('model = "gpt-a"\ndeveloper_instructions = "Paint."\n')
    load = LoadRequest(configured, {"CODEX_HOME": str(configured)}, system_folder=configured / "none")

    problem = price_problem(load_with_lines(load, ()))

    assert problem is not None
    assert "no price is known for gpt-a (painter)" in problem[0]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("20%wekly", "allowed: 5h, weekly, monthly"),
        ("20%", "20%weekly or 50%5h"),
        ("120%weekly", "allowed: 0 to 100 % of a window"),
    ],
)
def test_a_window_that_no_plan_has_is_a_usage_error(cli: Cli, repository: Path, typed: str, said: str) -> None:
    done = cli("-C", str(repository), "run", "Write a poem about the sea", "--budget", typed)
    assert done.code == 2, done.err
    assert said in done.err


def test_shares_of_windows_are_settings_that_replace_each_other() -> None:
    assert budget_flags(["20%weekly", "50%5h"]) == {
        "codexteam.budget.run_weekly_percent": 20.0,
        "codexteam.budget.run_5h_percent": 50.0,
    }
    assert budget_flags(["none"])["codexteam.budget.run_monthly_percent"] == "none"


def test_a_share_of_a_window_needs_agents_that_use_a_plan(cli: Cli, configured: Path, repository: Path) -> None:
    done = cli("-C", str(repository), "run", "Write a file with a poem in it", "--budget", "20%weekly")
    assert done.code == 2, done.err
    assert "20 % of the weekly window, and no agent uses your plan" in done.err
    assert "--engine codex" in done.err
    assert not (repository / ".git/codexteam").exists()
