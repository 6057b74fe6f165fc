"""The model providers of a configuration, and the key that each of them is called with."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from codexteam.config.layers import LayerKind, MergedLayers, resolve_path
from codexteam.config.settings import McpPlace, McpServerSettings, ProviderSettings
from codexteam.config.toml_file import read_bytes
from codexteam.core.ids import JSONObject, JSONValue
from codexteam.errors import ConfigError

_SECRET_NAME = re.compile(r"API[_-]?KEY|SECRET|TOKEN|PASSWORD", re.IGNORECASE)


def build_server(name: str, table: JSONObject, base: Path, *, place: McpPlace | None = None) -> McpServerSettings:
    """Return one server of a table that has been checked; its `cwd` starts from `base`, its `place` is the user's word."""
    startup = _number(table, "startup_timeout_sec")
    if startup is None and (milliseconds := _number(table, "startup_timeout_ms")) is not None:
        startup = milliseconds / 1000
    tool = _number(table, "tool_timeout_sec")
    cwd = _text(table, "cwd")
    enabled_tools = table.get("enabled_tools")
    return McpServerSettings(
        id=name,
        command=_text(table, "command"),
        args=_list(table, "args"),
        env=_map(table, "env"),
        env_vars=_variables(table),
        cwd=resolve_path(cwd, base) if cwd else None,
        url=_text(table, "url"),
        bearer_token_env_var=_text(table, "bearer_token_env_var"),
        http_headers=_map(table, "http_headers"),
        env_http_headers=_map(table, "env_http_headers"),
        enabled=table.get("enabled") is not False,
        required=table.get("required") is True,
        startup_timeout_seconds=10.0 if startup is None else startup,
        tool_timeout_seconds=60.0 if tool is None else tool,
        enabled_tools=_list(table, "enabled_tools") if isinstance(enabled_tools, list) else None,
        disabled_tools=_list(table, "disabled_tools"),
        place=McpPlace.HOST if _text(table, "url") else place or McpPlace.SANDBOX,
    )


def place_of(name: str, merged: MergedLayers) -> McpPlace | None:
    """Return where `[codexteam.mcp_servers.NAME]` puts a server, if it does. What a project says of it runs inside."""
    place = merged.get("codexteam", "mcp_servers", name, "place")
    if isinstance(place, str) and not is_of_project(name, merged):
        return McpPlace(place)
    return None


def is_of_project(name: str, merged: MergedLayers) -> bool:
    """Return whether a project's file has a word in how a server is started."""
    origins = [merged.origin(("mcp_servers", name, key)) for key in merged.table("mcp_servers", name)]
    return any(origin is not None and origin.kind is LayerKind.PROJECT for origin in origins)


def is_secret_name(name: str) -> bool:
    """Return whether a variable is one of those that hold secrets, by its name."""
    return _SECRET_NAME.search(name) is not None


def secrets_of(server: McpServerSettings) -> tuple[str, ...]:
    """Return the secrets that stand in a server's table itself: in its `env`, and in headers."""
    named = {**server.env, **server.http_headers}
    return tuple(value for name, value in named.items() if is_secret_name(name) or name.lower() == "authorization")


def refuse_missing_command(server: McpServerSettings, environment: Mapping[str, str], place: str) -> None:
    """Stop for a required server whose program is not there: it could never start.

    Raises:
        ConfigError: It is not found.
    """
    if not (server.required and server.enabled and server.command and server.place is McpPlace.HOST):
        return  # what a sandbox has is known once there is one
    folder = server.cwd or Path()
    path = environment.get("PATH", "")
    found = shutil.which(server.command, path=path) or (folder / server.command).is_file()
    if not found:
        raise ConfigError(
            f"{place}: the required MCP server `{server.id}`: there is no program {server.command}",
            hint="install it, or remove `required = true`",
        )


def _variables(table: JSONObject) -> tuple[str, ...]:
    value = table.get("env_vars")
    found = []
    for item in value if isinstance(value, list) else ():
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            found.append(str(item["name"]))
    return tuple(found)


def _number(table: JSONObject, key: str) -> float | None:
    value = table.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _list(table: JSONObject, key: str) -> tuple[str, ...]:
    value = table.get(key)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _map(table: JSONObject, key: str) -> dict[str, str]:
    value = table.get(key)
    return {name: str(text) for name, text in value.items()} if isinstance(value, dict) else {}


#: Ids that no `[model_providers.<id>]` may take.
RESERVED_PROVIDERS = ("openai", "ollama", "lmstudio")
#: Ids that need no table; `replay` plays back a recording.
BUILT_IN_PROVIDERS = (*RESERVED_PROVIDERS, "amazon-bedrock", "amazon-bedrock-runtime", "replay")

_OPENAI_URL = "https://api.openai.com/v1"
_LOCAL_URLS = {"ollama": ("Ollama", "http://localhost:11434/v1"), "lmstudio": ("LM Studio", "http://localhost:1234/v1")}


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The key for the built-in provider, and what the user should know of where it came from."""

    token: str | None
    notice: str = ""
    chatgpt_login: Path | None = None
    """The file of a ChatGPT login, where there is no key."""

    def __repr__(self) -> str:
        """Return whether there is a key, never which."""
        return f"Credentials(token={'...' if self.token else None})"


def find_credentials(environment: Mapping[str, str], home: Path) -> ProviderKey:
    """Return the OpenAI key: `CODEX_API_KEY`, else auth.json of Codex's home, else `OPENAI_API_KEY`.

    Raises:
        ConfigError: auth.json cannot be read.
    """
    if environment.get("CODEX_API_KEY"):
        return ProviderKey(environment["CODEX_API_KEY"])
    path = home / "auth.json"
    content = read_bytes(path)
    auth = _auth_json(path, content) if content is not None else {}
    stored = auth.get("OPENAI_API_KEY")
    if isinstance(stored, str) and stored and auth.get("auth_mode", "apikey") == "apikey":
        return ProviderKey(stored)
    if environment.get("OPENAI_API_KEY"):
        return ProviderKey(
            environment["OPENAI_API_KEY"],
            "the key in OPENAI_API_KEY is used, as nothing else is set up; Codex would not use it",
        )
    if auth.get("tokens"):
        return ProviderKey(None, chatgpt_login=path)
    return ProviderKey(None)


def _auth_json(path: Path, content: bytes) -> JSONObject:
    try:
        # given bytes, the parser would take a byte order mark and UTF-16, which Codex does not
        data: JSONValue = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # the parser's message may quote the file, and the file is a secret
        raise ConfigError(f"{path}: not JSON", hint="log in again with codex login --with-api-key") from error
    return data if isinstance(data, dict) else {}


def build_providers(
    merged: MergedLayers, environment: Mapping[str, str], credentials: ProviderKey, replay_file: Path | None
) -> dict[str, ProviderSettings]:
    """Return every provider by its id, with its key where there is one."""
    openai = ProviderSettings(
        id="openai",
        name="OpenAI",
        base_url=merged.text("openai_base_url") or _OPENAI_URL,
        api_key_help="Set CODEX_API_KEY or OPENAI_API_KEY, or store a key with codex login --with-api-key.",
        bearer_token=credentials.token,
        requires_openai_auth=True,
        chatgpt_login=credentials.chatgpt_login,
    )
    providers = {"openai": openai}
    for name, (title, url) in _LOCAL_URLS.items():
        providers[name] = ProviderSettings(id=name, name=title, base_url=url)
    if replay_file is not None:
        providers["replay"] = ProviderSettings(id="replay", name="Replay", base_url="", replay_file=replay_file)
    for name in merged.table("model_providers"):
        own = _provider(name, merged.table("model_providers", name), environment)
        if own.requires_openai_auth and own.bearer_token is None:
            own = replace(own, bearer_token=credentials.token, chatgpt_login=credentials.chatgpt_login)
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
