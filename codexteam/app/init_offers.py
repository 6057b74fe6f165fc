"""What `codexteam init` offers: the models that providers list, and a script of the set-up that it finds here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.adapters.machine import checks
from codexteam.adapters.responses.model_list import Listed
from codexteam.app.model_checks import ask_for_list, asks_of, nearest
from codexteam.config.load import load_settings
from codexteam.config.priced import without_price
from codexteam.config.request import LoadRequest
from codexteam.config.settings import Settings
from codexteam.config.starter import StarterFile
from codexteam.core.budget_amounts import Unit
from codexteam.environment.detection import DetectionInput, detect
from codexteam.environment.plan import SCRIPT_PATH, setup_script
from codexteam.environment.repository_view import RepositoryView
from codexteam.errors import CodexteamError


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """The models that a provider lists."""

    provider: str
    """Its name."""
    models: tuple[str, ...]
    missing: Mapping[str, str]
    """Models that are configured and not listed, each with a word on those that are like it."""


def model_offers(request: LoadRequest) -> list[ModelOffer]:
    """Return what can be chosen from; nothing where nobody can be asked, which `doctor` explains."""
    try:
        settings = load_settings(request)
        return asyncio.run(_offers(settings, request))
    except CodexteamError:
        return []


def unpriced(request: LoadRequest) -> tuple[str, ...]:
    """Return the team's models of which no price in USD is known; none where the configuration cannot be read."""
    try:
        return tuple(without_price(load_settings(request), Unit.USD))
    except CodexteamError:
        return ()


async def _offers(settings: Settings, request: LoadRequest) -> list[ModelOffer]:
    offers = []
    for provider_id, asks in asks_of(settings).items():
        provider = settings.providers.get(provider_id)
        if provider is None or provider.replay_file is not None:
            continue
        found = await ask_for_list(settings, provider, request.environment)
        if not isinstance(found, Listed):
            continue
        missing = sorted({ask.model for ask in asks if found.whole and not found.names(ask.model)})
        near = {model: nearest(model, found) for model in missing}
        offers.append(ModelOffer(provider.name, tuple(sorted(found.efforts)), near))
    return offers


def found_setup(request: LoadRequest) -> StarterFile | None:
    """Return the script for the commit that is checked out; None without a commit, or where nothing is set up."""
    paths = checks.paths_at_head(request.cwd, request.environment)
    there = frozenset(paths or ())

    def read(path: str) -> bytes | None:
        return checks.file_at_head(request.cwd, path, request.environment) if path in there else None

    # what only counts for a trusted project is the project's own already
    plan = detect(RepositoryView(read, paths or ()), DetectionInput())[-1]
    text = setup_script(plan)
    return StarterFile(SCRIPT_PATH.partition("/")[2], text, replaceable=False) if text else None
