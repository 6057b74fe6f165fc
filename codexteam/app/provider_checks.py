"""Whether the services that a run would ask can be asked: key, server and models."""

import asyncio
from collections.abc import Mapping, Sequence

from codexteam.adapters.responses.clients import CHATGPT_HINT
from codexteam.adapters.responses.model_list import KeyRejected, Listed, ModelList, NoList, Unreachable
from codexteam.app.codex_engine import engine_check
from codexteam.app.doctor_check import DoctorCheck, Status
from codexteam.app.model_checks import MODELS_HINT, Ask, ask_for_list, asks_of, problems_of
from codexteam.config.settings import ProviderSettings, Settings
from codexteam.errors import ModelAccessError


def provider_checks(settings: Settings, environment: Mapping[str, str]) -> tuple[DoctorCheck, ...]:
    """Look at every provider that the team's roles use; nothing is spent, and no credential is shown."""
    return tuple(asyncio.run(_look(settings, environment)))


async def _look(settings: Settings, environment: Mapping[str, str]) -> list[DoctorCheck]:
    asks = asks_of(settings)
    providers = [settings.providers[name] for name in sorted(asks) if name in settings.providers]
    found = await asyncio.gather(
        *(_provider(settings, provider, asks[provider.id], environment) for provider in providers)
    )
    engine = await engine_check(settings, environment)
    return [*([engine] if engine is not None else []), *(check for checks in found for check in checks)]


async def _provider(
    settings: Settings, provider: ProviderSettings, asks: Sequence[Ask], environment: Mapping[str, str]
) -> list[DoctorCheck]:
    if provider.replay_file is not None:
        return [_recording(provider)]
    key = _credential(provider, environment)
    if key.status is Status.FAIL:
        return [key]
    try:
        found = await ask_for_list(settings, provider, environment)
    except ModelAccessError as error:
        return [DoctorCheck(key.name, Status.FAIL, str(error), error.hint)]
    return [key, _server(provider, found), _models(provider, asks, found, check=settings.team.models.check)]


def _recording(provider: ProviderSettings) -> DoctorCheck:
    path = provider.replay_file
    if path is not None and path.is_file():
        return DoctorCheck("recording", Status.OK, str(path))
    return DoctorCheck("recording", Status.FAIL, f"{path}: there is no such file", "name one with --replay FILE")


def _credential(provider: ProviderSettings, environment: Mapping[str, str]) -> DoctorCheck:
    name = f"credentials for {provider.id}"
    variable = provider.api_key_variable
    if variable is not None and not provider.bearer_token:
        if environment.get(variable, "").strip():
            return DoctorCheck(name, Status.OK, f"{variable} is set")
        return DoctorCheck(
            name, Status.FAIL, f"{variable} is not set", provider.api_key_help or f"export {variable}=..."
        )
    if provider.bearer_token:
        return DoctorCheck(name, Status.OK, f"{variable} is set" if variable else "a token is configured")
    if provider.chatgpt_login is not None:
        found = (
            f"you are signed in to Codex with ChatGPT ({provider.chatgpt_login}), which the engine codex alone can use"
        )
        return DoctorCheck(name, Status.FAIL, found, CHATGPT_HINT)
    if provider.requires_openai_auth:
        advice = (
            "export CODEX_API_KEY=... or OPENAI_API_KEY=..., or sign in with codex login, or codexteam init --tier api"
        )
        return DoctorCheck(name, Status.FAIL, "not logged in", advice)
    return DoctorCheck(name, Status.OK, "this provider asks for none")


def _server(provider: ProviderSettings, found: ModelList) -> DoctorCheck:
    name = f"server of {provider.id}"
    match found:
        case Listed(efforts=models):
            return DoctorCheck(name, Status.OK, f"{provider.base_url} answers and lists {len(models)} models")
        case NoList(why=why):
            return DoctorCheck(name, Status.OK, f"{provider.base_url} answers; it has no list of models ({why})")
        case KeyRejected(why=why):
            advice = "check the key, and that it is one for this server"
            return DoctorCheck(name, Status.FAIL, f"{provider.base_url} does not accept the credentials: {why}", advice)
        case Unreachable(why=why):
            advice = f"start the server, or check the network and base_url of [model_providers.{provider.id}]"
            if provider.id == "openai":
                advice = "check the network, its proxy variables, and openai_base_url"
            return DoctorCheck(name, Status.FAIL, f"{provider.base_url} cannot be used: {why}", advice)


def _models(provider: ProviderSettings, asks: Sequence[Ask], found: ModelList, *, check: bool) -> DoctorCheck:
    """Show each role's model and effort, and what of them is missing."""
    name = f"models of {provider.id}"
    shown = "\n".join(f"{ask.model}, effort {ask.effort or 'its own'}: {', '.join(ask.names)}" for ask in asks)
    problems = problems_of(provider, asks, found)
    if problems:
        status = Status.FAIL if check else Status.WARN
        return DoctorCheck(name, status, "\n".join((shown, *problems)), MODELS_HINT)
    if isinstance(found, Listed) and found.whole:
        return DoctorCheck(name, Status.OK, shown)
    return DoctorCheck(name, Status.OK, f"{shown}\nwhether the server has them is not known before a run asks")
