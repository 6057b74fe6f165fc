"""What of a run's settings goes to the workers of a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from codexteam.config.settings import ProviderSettings, SandboxSettings, Settings
from codexteam.errors import ConfigError

#: The module that a worker's process runs an agent with.
ENTRY: Final = "codexteam.app.worker"

#: Headers of a provider whose value is one that nobody else may know.
_SECRET_HEADERS = ("auth", "key", "token", "secret", "cookie", "password")


@dataclass(frozen=True, slots=True)
class WorkerSurroundings:
    """What of a run's settings goes to its workers. No secret is in it."""

    kind: str
    """Of the run's sandboxes: environments fit no others."""
    sandbox: SandboxSettings
    providers: Mapping[str, ProviderSettings]
    send_metadata: bool
    proxy_loopback: bool
    trusted: bool
    """Whether the repository's own devcontainer may be used."""


def surroundings_of(settings: Settings, kind: str) -> WorkerSurroundings:
    """Return what goes to workers.

    Raises:
        ConfigError: a key stands in a file of the run's machine, which must not be sent.
    """
    used = {role.model.provider_id for role in settings.roles.values()}
    providers = {}
    for id_ in sorted(used & settings.providers.keys()):
        provider = settings.providers[id_]
        if provider.replay_file is not None:
            raise ConfigError(
                "a recording is played back on this machine alone",
                hint='set kind = "local" in [codexteam.executor]',
            )
        if provider.bearer_token and not provider.api_key_variable:
            raise ConfigError(
                f"the key of model provider {id_} stands in a file, and workers get keys from their own environment alone",
                hint=f"name a variable with [model_providers.{id_}] env_key, and set it where the nodes are started",
            )
        shown = [name for name in provider.http_headers if any(word in name.lower() for word in _SECRET_HEADERS)]
        if shown:
            raise ConfigError(
                f"header {shown[0]} of model provider {id_} stands in a file, and is not sent to workers",
                hint=f"name a variable with [model_providers.{id_}] env_http_headers, and set it where nodes are started",
            )
        providers[id_] = replace(provider, bearer_token=None, chatgpt_login=None)
    team = settings.team
    return WorkerSurroundings(
        kind, team.sandbox, providers, team.send_metadata, team.proxy_loopback, settings.trusted is True
    )
