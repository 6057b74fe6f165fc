"""Whether the models of a team's roles are there, as far as their providers say; asked before anything is spent."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from codexteam.adapters.responses.model_list import Listed, ModelList
from codexteam.config.model_tiers import model_of
from codexteam.config.settings import ProviderSettings, RoleSettings, Settings
from codexteam.config.team import roles_on_codex, team_roles
from codexteam.core.text import clean_line
from codexteam.errors import ModelAccessError

#: Names of a provider's list that are shown where one is missing.
_NEAREST = 3
_ROLES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Ask:
    """What roles ask of a provider together."""

    model: str
    effort: str | None
    roles: tuple[RoleSettings, ...]

    @property
    def names(self) -> list[str]:
        """The roles' names."""
        return [role.name for role in self.roles]

    @property
    def who(self) -> str:
        """The roles in words, the first few by name."""
        names = self.names
        more = len(names) - _ROLES_NAMED
        return ", ".join(names[:_ROLES_NAMED]) + (f" and {more} more" if more > 0 else "")

    @property
    def verb(self) -> str:
        """What they do, after their names."""
        return "asks" if len(self.roles) == 1 else "ask"


def asks_of(settings: Settings) -> dict[str, list[Ask]]:
    """Return what the roles that a run may start ask for, by provider."""
    elsewhere = set(roles_on_codex(settings))  # what they ask is Codex's to know
    grouped: dict[tuple[str, str, str | None], list[RoleSettings]] = defaultdict(list)
    for role in team_roles(settings):
        if role.name in elsewhere:
            continue
        grouped[role.model.provider_id, role.model.model, role.model.effort].append(role)
    asks: dict[str, list[Ask]] = defaultdict(list)
    for (provider_id, model, effort), roles in grouped.items():
        asks[provider_id].append(Ask(model, effort, tuple(roles)))
    return asks


async def ask_for_list(settings: Settings, provider: ProviderSettings, environment: Mapping[str, str]) -> ModelList:
    """Ask a provider for its models.

    Raises:
        ModelAccessError: there are no credentials to ask with.
    """
    from codexteam.adapters.responses.model_list import list_models

    return await list_models(provider, environment, proxy_loopback=settings.team.proxy_loopback)


async def _ask_for_lists(settings: Settings, environment: Mapping[str, str]) -> dict[str, ModelList]:
    # one that plays back a recording has none
    providers = [settings.providers[name] for name in asks_of(settings) if name in settings.providers]
    real = [provider for provider in providers if provider.replay_file is None]
    lists = await asyncio.gather(*(ask_for_list(settings, provider, environment) for provider in real))
    return {provider.id: found for provider, found in zip(real, lists, strict=True)}


def problems_of(provider: ProviderSettings, asks: Sequence[Ask], found: ModelList) -> list[str]:
    """Say what of that a provider's list does not have, with what comes nearest."""
    if not isinstance(found, Listed) or not found.whole:
        return []
    problems = []
    unlisted: dict[str, list[RoleSettings]] = defaultdict(list)
    for ask in asks:
        if not found.names(ask.model):
            unlisted[ask.model] += ask.roles
        elif (takes := found.efforts.get(ask.model)) and ask.effort is not None and ask.effort not in takes:
            problems.append(
                f"{provider.name}: `{ask.model}` has no effort `{ask.effort}`, which {ask.who} {ask.verb} for; "
                f"it has {', '.join(map(clean_line, takes))}"
            )
    for model, roles in unlisted.items():
        ask = Ask(model, None, tuple(roles))
        place = roles[0].origins.get("model", "")
        problems.append(
            f"{provider.name} ({provider.base_url}) lists no model `{model}`, which {ask.who} {ask.verb} for ({place}); "
            f"{nearest(model, found)}"
        )
    return problems


def nearest(model: str, found: Listed) -> str:
    """Name what comes nearest to a model in a list."""
    names = sorted(found.efforts)
    close = get_close_matches(model, names, n=_NEAREST, cutoff=0.5)
    shown = ", ".join(map(clean_line, close or names[: 2 * _NEAREST]))
    if close:
        return f"nearest are {shown}"
    return f"it lists {shown}" + (f" and {len(names) - 2 * _NEAREST} more" if len(names) > 2 * _NEAREST else "")


def _without_fallback(settings: Settings, asks: Sequence[Ask], found: ModelList) -> list[Ask]:
    """Return what roles ask that a provider has, or that no fallback takes the place of."""
    fallbacks = [model_of(name, settings.team.models) for name in settings.team.escalation.fallback]
    if not isinstance(found, Listed) or not any(found.names(name) for name in fallbacks):
        return [*asks]
    return [ask for ask in asks if found.names(ask.model)]


#: What to do about a model that is missing.
MODELS_HINT = (
    "name another under [codexteam.models] in codexteam.config.toml (`deep`, `fast`), or use -m NAME; or name one that is "
    "there in `fallback` of [codexteam.escalation]; "
    "-c codexteam.models.check=false does not look at the list"
)


async def check_models(settings: Settings, environment: Mapping[str, str]) -> None:
    """Compare the team's models with the providers' lists; where there is no list, nothing is said.

    A model may be missing where its provider lists one of the fallbacks: its agents go on with that, and say so.

    Raises:
        ModelAccessError: a model is missing, or there are no credentials.
    """
    if not settings.team.models.check:
        return
    lists = await _ask_for_lists(settings, environment)
    asks = asks_of(settings)
    problems = [
        problem
        for name, found in lists.items()
        for problem in problems_of(settings.providers[name], _without_fallback(settings, asks[name], found), found)
    ]
    if problems:
        raise ModelAccessError("\n".join(problems), hint=MODELS_HINT)
