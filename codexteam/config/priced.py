"""A run's limits in words, and whether limits in money can be enforced: every model of the team needs a price."""

import json
from collections.abc import Iterable

from codexteam.config.model_tiers import model_of
from codexteam.config.price_list import PLAN_CREDIT, not_listed_because, price_list, rate_words, shipped_prices
from codexteam.config.settings import Settings
from codexteam.config.team import team_roles
from codexteam.core.budget import BudgetLimits
from codexteam.core.budget_amounts import Unit
from codexteam.core.plan_windows import window_budget_words
from codexteam.errors import ConfigError

_PRICE_KEYS = {Unit.USD: ("input_usd", "output_usd"), Unit.CREDITS: ("input_credits", "output_credits")}


def budget_words(budget: BudgetLimits) -> str:
    """Return the run's limits in words; empty without any."""
    words = [f"${budget.run_usd:.2f}"] if budget.run_usd is not None else []
    words += [f"{budget.run_credits:g} credits"] if budget.run_credits is not None else []
    words += [f"{budget.run_tokens:,} tokens"] if budget.run_tokens is not None else []
    return ", ".join([*words, *window_budget_words(budget.windows)])


def models_of(settings: Settings) -> list[str]:
    """Return the models that the team's roles use, and those that tasks get when they turn out to be hard."""
    given, several = settings.team.escalation, settings.team.best_of
    named = [given.model, *given.fallback]
    if several.attempts > 1:
        named += [*several.models, several.judge_model]
    more = {model_of(name, settings.team.models) for name in named if name}
    return sorted({role.model.model for role in team_roles(settings)} | more)


def without_price(settings: Settings, unit: Unit) -> list[str]:
    """Return the team's models of which no price is known in a unit."""
    return [model for model in models_of(settings) if not _has_price(settings, model, unit)]


def unpriced_models(settings: Settings) -> dict[Unit, list[str]]:
    """Return the models without a price, by the unit of the limit that needs one."""
    found: dict[Unit, list[str]] = {}
    for unit in _PRICE_KEYS:
        missing = without_price(settings, unit)
        if missing and _is_limited(settings.team.budget, unit):
            found[unit] = missing
    return found


def price_problem(settings: Settings) -> tuple[str, str] | None:
    """Return which limit cannot be kept and what to do; None if all can."""
    found = unpriced_models(settings)
    if not found:
        return None
    unit, models = next(iter(found.items()))
    message = f"the limit in {unit} cannot be kept: {no_price_words(settings, models, unit)}"
    return message, price_hint(settings, models, unit)


def no_price_words(settings: Settings, models: Iterable[str], unit: Unit) -> str:
    """Name the models without a price, their roles, and where a price was looked for."""
    names = [*models]
    roles = [role for role in team_roles(settings) if role.model.model in names]
    of_roles = {name: ", ".join(role.name for role in roles if role.model.model == name) for name in names}
    asked = (f"{name} ({of_roles[name] or '[codexteam.escalation]'})" for name in names)
    reasons = dict.fromkeys(filter(None, (not_listed_because(role.model) for role in roles)))
    why = f": {'; '.join(reasons)}" if reasons else f" in your configuration or in {shipped_prices().words}"
    return f"no price is known for {', '.join(asked)}" + (why if _needs_usd(settings, names, unit) else "")


def price_hint(settings: Settings, models: list[str], unit: Unit) -> str:
    """Explain how to set a price, and the alternatives."""
    first, second = _PRICE_KEYS[Unit.USD if _needs_usd(settings, models, unit) else unit]
    return (
        f"set {first} and {second}, for a million tokens, in [codexteam.prices.{json.dumps(models[0])}]"
        f"{' and so on' if len(models) > 1 else ''} of your configuration; or give the limit in tokens "
        "(--budget 2000k), or none (--budget none)"
    )


def _needs_usd(settings: Settings, models: Iterable[str], unit: Unit) -> bool:
    """Return whether the missing price is one in USD: also for credits, if a credit is defined in USD."""
    prices = price_list(settings)
    return unit is Unit.USD or any(prices.get(model).credits_follow_usd for model in models)


def unkept_notice(settings: Settings) -> str:
    """Warn of units in which a limit could not be kept, even if there is none yet; empty if all could."""
    found = [(unit, *said) for unit, said in unpriced_units(settings).items()]
    if not found:
        return ""
    units = " or ".join(unit.value for unit, _, _ in found)
    _, words, hint = found[0]
    return f"{words}: a limit in {units} would end a run before it begins (exit 2); {hint}"


def unpriced_units(settings: Settings) -> dict[Unit, tuple[str, str]]:
    """Return the units in which no limit can be kept, each with the reason and what to do."""
    found = {}
    for unit in _PRICE_KEYS:
        missing = [model for model in models_of(settings) if not _has_price(settings, model, unit)]
        if missing:
            found[unit] = (no_price_words(settings, missing, unit), price_hint(settings, missing, unit))
    return found


def priceless(settings: Settings, models: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return of some models those that a limit of the run cannot count, each with the reason and what to do."""
    found: dict[str, tuple[str, str]] = {}
    for model in dict.fromkeys(models):
        named = model_of(model, settings.team.models)
        for unit in _PRICE_KEYS:
            if _is_limited(settings.team.budget, unit) and not _has_price(settings, named, unit):
                words = f"no price is known for {named}, and the run has a limit in {unit}"
                found[model] = (words, price_hint(settings, [named], unit))
    return found


def check_prices(settings: Settings) -> None:
    """Refuse a limit that cannot be kept, before the run begins.

    Raises:
        ConfigError: names the models without a price.
    """
    problem = price_problem(settings)
    if problem is not None:
        raise ConfigError(problem[0], hint=problem[1])


def price_lines(settings: Settings) -> list[str]:
    """Return a line for each model of the team: its price and source, or that it is unknown."""
    prices = price_list(settings)
    lines = []
    for model in models_of(settings):
        rate, origin = prices.get(model), prices.origin(model)
        if not origin:
            lines.append(no_price_words(settings, [model], Unit.USD))
            continue
        of_plan = (
            "; a credit of your plan is $0.04 of it, as in OpenAI's rate card" if rate.credit == PLAN_CREDIT else ""
        )
        lines.append(f"{model}: {rate_words(rate)} ({origin}){of_plan}")
    return lines


def _is_limited(budget: BudgetLimits, unit: Unit) -> bool:
    """Return whether the run, tasks or any role has a limit in a unit."""
    name = unit.value.lower()
    of_all = (getattr(budget, f"run_{name}"), getattr(budget, f"task_{name}"))
    return any(limit is not None for limit in of_all) or bool(getattr(budget, f"role_{name}"))


def _has_price(settings: Settings, model: str, unit: Unit) -> bool:
    rate = price_list(settings).get(model)
    if unit is Unit.CREDITS and not rate.has_credit_rates and rate.credit is not None:
        return rate.credit.usd is None or _has_price(settings, model, Unit.USD)
    return all(getattr(rate, key) is not None for key in _PRICE_KEYS[unit])
