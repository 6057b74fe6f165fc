"""The model providers of a configuration, and the key that each of them is called with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.config.layers import Merged
from codexteam.config.settings import ProviderSettings
from codexteam.config.toml_file import read_bytes
from codexteam.core.json_types import JSONObject, JSONValue
from codexteam.errors import ConfigError

#: Ids that no `[model_providers.<id>]` may take.
RESERVED_PROVIDERS = ("openai", "ollama", "lmstudio")
#: Ids that need no table; `replay` plays back a recording.
BUILT_IN_PROVIDERS = (*RESERVED_PROVIDERS, "amazon-bedrock", "amazon-bedrock-runtime", "replay")

_OPENAI_URL = "https://api.openai.com/v1"
_LOCAL_URLS = {"ollama": ("Ollama", "http://localhost:11434/v1"), "lmstudio": ("LM Studio", "http://localhost:1234/v1")}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key for the built-in provider, and what the user should know of where it came from."""

    token: str | None
    notice: str = ""

    def __repr__(self) -> str:
        """Say whether there is a key, never which."""
        return f"Credentials(token={'...' if self.token else None})"


def find_credentials(environment: Mapping[str, str], home: Path) -> Credentials:
    """Give the OpenAI key: `CODEX_API_KEY`, else auth.json of Codex's home, else `OPENAI_API_KEY`.

    Raises:
        ConfigError: auth.json cannot be read.
    """
    if environment.get("CODEX_API_KEY"):
        return Credentials(environment["CODEX_API_KEY"])
    path = home / "auth.json"
    content = read_bytes(path)
    auth = _auth_json(path, content) if content is not None else {}
    stored = auth.get("OPENAI_API_KEY")
    if isinstance(stored, str) and stored and auth.get("auth_mode", "apikey") == "apikey":
        return Credentials(stored)
    if environment.get("OPENAI_API_KEY"):
        return Credentials(
            environment["OPENAI_API_KEY"],
            "the key in OPENAI_API_KEY is used, as nothing else is set up; Codex would not use it",
        )
    if auth.get("tokens"):
        return Credentials(
            None,
            f"{path} holds a ChatGPT login, which codexteam cannot use: set CODEX_API_KEY, or run codex login --with-api-key",
        )
    return Credentials(None)


def _auth_json(path: Path, content: bytes) -> JSONObject:
    try:
        data: JSONValue = json.loads(content)
    except (ValueError, RecursionError) as error:
        # the parser's message may quote the file, and the file is a secret
        raise ConfigError(f"{path}: not JSON", hint="log in again with codex login --with-api-key") from error
    return data if isinstance(data, dict) else {}


def build_providers(
    merged: Merged, environment: Mapping[str, str], credentials: Credentials, replay_file: Path | None
) -> dict[str, ProviderSettings]:
    """Give every provider by its id, with its key where there is one."""
    openai = ProviderSettings(
        id="openai",
        name="OpenAI",
        base_url=merged.text("openai_base_url") or _OPENAI_URL,
        api_key_help="Set CODEX_API_KEY or OPENAI_API_KEY, or store a key with codex login --with-api-key.",
        bearer_token=credentials.token,
        requires_openai_auth=True,
    )
    providers = {"openai": openai}
    for name, (title, url) in _LOCAL_URLS.items():
        providers[name] = ProviderSettings(id=name, name=title, base_url=url)
    if replay_file is not None:
        providers["replay"] = ProviderSettings(id="replay", name="Replay", base_url="", replay_file=replay_file)
    for name in merged.table("model_providers"):
        own = _provider(name, merged.table("model_providers", name), environment)
        if own.requires_openai_auth and own.bearer_token is None:
            own = replace(own, bearer_token=credentials.token)
        providers[name] = own
    return providers


def _provider(name: str, table: JSONObject, environment: Mapping[str, str]) -> ProviderSettings:
    variable = _text(table, "env_key")
    token = _text(table, "experimental_bearer_token")
    if variable is not None:
        token = environment.get(variable) or token
    return ProviderSettings(
        id=name,
        name=_text(table, "name") or name,
        base_url=_text(table, "base_url") or _OPENAI_URL,
        api_key_variable=variable,
        api_key_help=_text(table, "env_key_instructions"),
        bearer_token=token,
        query_params=_texts(table, "query_params"),
        http_headers=_texts(table, "http_headers"),
        env_http_headers=_texts(table, "env_http_headers"),
        request_max_retries=_integer(table, "request_max_retries", 4),
        stream_max_retries=_integer(table, "stream_max_retries", 5),
        stream_idle_timeout_seconds=_integer(table, "stream_idle_timeout_ms", 300_000) / 1000,
        requires_openai_auth=table.get("requires_openai_auth") is True,
    )


def _text(table: JSONObject, key: str) -> str | None:
    value = table.get(key)
    return value if isinstance(value, str) else None


def _texts(table: JSONObject, key: str) -> dict[str, str]:
    value = table.get(key)
    return {name: str(text) for name, text in value.items()} if isinstance(value, dict) else {}


def _integer(table: JSONObject, key: str, default: int) -> int:
    value = table.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
