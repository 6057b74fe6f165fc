"""What is said when a provider does not serve the run at all, and what its user can do."""

from datetime import datetime

from codexteam.adapters.responses.failures import Denial, Denied
from codexteam.config.settings import ProviderSettings
from codexteam.errors import ModelAccessError, UsageLimitError


def denial_error(
    denied: Denied, provider: ProviderSettings, model: str, *, may_be_billed: bool = False, wall_seconds: float = 0.0
) -> ModelAccessError:
    """Make the error that stops the run, with what to do next."""
    section = f"[model_providers.{provider.id}]"
    key = f"the key in {provider.api_key_variable}" if provider.api_key_variable else f"the credentials of {section}"
    what, hint = {
        Denial.KEY: ("does not accept the credentials", f"check {key}, then `codexteam resume`"),
        Denial.PERMISSION: ("does not permit this", f"check what {key} may use, then `codexteam resume`"),
        Denial.MODEL: (
            f"does not know the model `{model}`",
            "set another `model` in config.toml or in the role's file, or use -m, then `codexteam resume`",
        ),
        Denial.QUOTA: (
            "has no quota left for us",
            "add credit or wait for the limit to reset, then `codexteam resume`",
        ),
        Denial.LIMIT: _limit_words(denied, wall_seconds),
        Denial.PLAN: (
            "does not include this in the account's plan",
            f"use {key} of an account that may, or another `model_provider`, then `codexteam resume`",
        ),
        Denial.ADDRESS: (
            f"has no Responses API at its address, {provider.base_url.rstrip('/')}/responses",
            f"check `base_url` of {section}; a server that only has chat completions needs a bridge in front of it, "
            "such as LiteLLM",
        ),
        Denial.TOOLS: (
            f"cannot call functions with the model `{model}`, and agents work through functions",
            "use a model that can, with -m or `model`; a server may have to be started for it (vLLM: "
            "--enable-auto-tool-choice --tool-call-parser NAME), then `codexteam resume`",
        ),
        Denial.REQUEST: (
            f"refuses the requests of agents to the model `{model}`",
            "it names no part that an agent can do without: use another model (-m) or `model_provider`, or put a bridge "
            "that speaks the Responses API in front of the server, such as LiteLLM with `drop_params: true`",
        ),
    }[denied.denial]
    # the message is the provider's own words
    message = f"{provider.name} ({provider.base_url}) {what}: {denied.message}"
    if denied.denial is Denial.LIMIT:
        return UsageLimitError(
            message, hint=hint, may_be_billed=may_be_billed, resets_at_seconds=denied.resets_at_seconds
        )
    return ModelAccessError(message, hint=hint, may_be_billed=may_be_billed)


def _limit_words(denied: Denied, wall_seconds: float) -> tuple[str, str]:
    plan = f" of the plan `{denied.plan}`" if denied.plan else ""
    if denied.resets_at_seconds is None:
        return (
            f"refuses further requests: the usage limit{plan} is reached, and it does not say when it resets",
            "`codexteam resume` continues from here once the limit has reset; with --wait it retries automatically",
        )
    until = moment_words(denied.resets_at_seconds, wall_seconds)
    return (
        f"refuses requests until {until}: the usage limit{plan} is reached",
        f"`codexteam resume` after {until}, or `codexteam resume --wait` now, which waits for it and continues; or use "
        "another `model_provider`",
    )


def moment_words(at_seconds: float, wall_seconds: float) -> str:
    """Return a moment in the user's time zone: the time alone when it is today, else with its day."""
    moment = datetime.fromtimestamp(at_seconds).astimezone()
    today = datetime.fromtimestamp(wall_seconds).astimezone().date()
    day = "" if moment.date() == today else f"{moment:%A} {moment.day} {moment:%B} "
    return f"{day}{moment:%H:%M} {moment:%Z}".rstrip()
