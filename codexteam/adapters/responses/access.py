"""Credentials and denials: what a provider is shown, and what the user is told when it will not serve us."""

from collections.abc import Mapping
from dataclasses import dataclass

from codexteam.adapters.responses.failures import Denial, Denied
from codexteam.config.settings import ProviderSettings
from codexteam.errors import ModelAccessError


@dataclass(frozen=True, slots=True)
class Credentials:
    """What goes into the headers of each request to one provider."""

    token: str
    """Empty where the provider takes none."""
    headers: Mapping[str, str]

    def redact(self, text: str) -> str:
        """Give `text` without anything secret that a server may have echoed."""
        for secret in (self.token, *self.headers.values()):
            # shorter ones are no secrets, and would tear ordinary words apart
            if len(secret) >= 8:
                text = text.replace(secret, "[redacted]")
        return text


def credentials_of(provider: ProviderSettings, environment: Mapping[str, str]) -> Credentials:
    """Find a provider's token and headers.

    Raises:
        ModelAccessError: the variable that shall hold the token is not set.
    """
    headers = dict(provider.http_headers)
    for name, source in provider.env_http_headers.items():
        value = environment.get(source, "").strip()
        if value:
            headers[name] = value
    token = (provider.bearer_token or "").strip()
    variable = provider.api_key_variable
    if not token and variable is not None:
        token = environment.get(variable, "").strip()
        if not token:
            raise ModelAccessError(
                f"Missing environment variable: `{variable}`, which holds the key of the model provider {provider.id}",
                hint=provider.api_key_help
                or f"export {variable}=..., or set env_key of [model_providers.{provider.id}]",
            )
    has_own = any(name.lower() in {"authorization", "api-key", "x-api-key"} for name in headers)
    if not token and provider.requires_openai_auth and not has_own:
        raise ModelAccessError(
            f"no credentials for the model provider {provider.id}",
            hint=provider.api_key_help or "export OPENAI_API_KEY=..., or log in with `codex login`",
        )
    if any(mark in value for value in (token, *headers.values()) for mark in "\r\n\0"):
        raise ModelAccessError(
            f"a credential of the model provider {provider.id} has a line break or a NUL in it",
            hint="check the variables that its settings name",
        )
    return Credentials(token, headers)


def denial_error(
    denied: Denied, provider: ProviderSettings, model: str, *, may_be_billed: bool = False
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
        Denial.METADATA: (
            "takes no metadata with a request",
            "set `send_metadata = false` in [codexteam], or use -c codexteam.send_metadata=false, then `codexteam resume`",
        ),
        Denial.ADDRESS: ("has no Responses API at its address", f"check `base_url` of {section}"),
    }[denied.denial]
    # the message is the provider's own words
    message = f"{provider.name} ({provider.base_url}) {what}: {denied.message}"
    return ModelAccessError(message, hint=hint, may_be_billed=may_be_billed)
