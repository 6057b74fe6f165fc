"""What must not get out of a run: the values that its settings and its environment name as secret."""

from collections.abc import Mapping

from codexteam.config.provider_settings import secrets_of
from codexteam.config.settings import ProviderSettings, SandboxSettings, Settings


def secret_values(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that must not reach a sandbox, a file, a log or a commit: every provider's key, every MCP token."""
    shown = settings.team.sandbox.environment
    names = {server.bearer_token_env_var for server in settings.mcp_servers.values()}
    names |= {name for server in settings.mcp_servers.values() for name in server.env_http_headers.values()}
    values = {*machine_secrets(settings.providers, settings.team.sandbox, environment)}
    values |= {environment[name] for name in names if name and name in environment and name not in shown}
    values |= {value for server in settings.mcp_servers.values() for value in secrets_of(server)}
    values |= {provider.bearer_token for provider in settings.providers.values() if provider.bearer_token}
    values |= {url for url in (settings.team.notifications.webhook_url(environment),) if url}
    targets = (settings.telemetry.traces, settings.telemetry.metrics)
    values |= {value for target in targets if target is not None for value in target.headers.values()}
    return tuple(sorted(value for value in values if len(value) >= 8))


def machine_secrets(
    providers: Mapping[str, ProviderSettings], sandbox: SandboxSettings, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the secrets of a machine's environment: keys of providers, what the proxy adds, and what is named like one."""
    names: set[str | None] = {provider.api_key_variable for provider in providers.values()}
    names |= {name for provider in providers.values() for name in provider.env_http_headers.values()}
    names |= {*sandbox.proxy_secrets.values(), *sandbox.setup_secrets}
    names |= {
        name for name in environment if any(word in name.upper() for word in ("API_KEY", "SECRET", "TOKEN", "PASSWORD"))
    }
    # what the user names for commands is theirs to show
    shown = sandbox.environment
    values = {environment[name] for name in names if name is not None and name in environment and name not in shown}
    return tuple(sorted(value for value in values if len(value) >= 8))
