"""The MCP servers of a configuration."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from codexteam.config.layers import resolve_path
from codexteam.config.settings import McpServerSettings
from codexteam.core.json_types import JSONObject
from codexteam.errors import ConfigError


def build_server(name: str, table: JSONObject, base: Path) -> McpServerSettings:
    """Give one server of a table that has been checked; its `cwd` starts from `base`."""
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
    )


def refuse_missing_command(server: McpServerSettings, environment: Mapping[str, str], place: str) -> None:
    """Stop for a required server whose program is not there: it could never start.

    Raises:
        ConfigError: It is not found.
    """
    if not (server.required and server.enabled and server.command):
        return
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


def _text(table: JSONObject, key: str) -> str | None:
    value = table.get(key)
    return value if isinstance(value, str) else None


def _number(table: JSONObject, key: str) -> float | None:
    value = table.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _list(table: JSONObject, key: str) -> tuple[str, ...]:
    value = table.get(key)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _map(table: JSONObject, key: str) -> dict[str, str]:
    value = table.get(key)
    return {name: str(text) for name, text in value.items()} if isinstance(value, dict) else {}
